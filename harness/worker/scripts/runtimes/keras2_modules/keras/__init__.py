"""Stands in for `keras`: every `keras.x` is the module `tf_keras.x`, Keras 2 under its present name."""

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

OLD, NEW = "keras.", "tf_keras."


class _Renamed(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Answer for submodules of keras that tf_keras has."""
        if not fullname.startswith(OLD):
            return None
        try:
            importlib.import_module(NEW + fullname.removeprefix(OLD))
        except ModuleNotFoundError:
            return None
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module of tf_keras; its own specification is put back at once, as `import` would replace it."""
        module = importlib.import_module(NEW + spec.name.removeprefix(OLD))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to run."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


sys.meta_path.insert(0, _Renamed())
sys.modules["keras"] = importlib.import_module("tf_keras")
