"""Pickles of strangers, where the submission allows them: their classes are found, and failures told in one line."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.models.entries import load_entry, make_importable
from harness.models.errors import ModelError, in_one_line
from harness.models.settings import ModelSettings

NO_CLASS = re.compile(r"attribute '([\w.]+)' on <module '([\w.]+)'")


@contextmanager
def unpickling(path: Path, settings: ModelSettings) -> Iterator[None]:
    """While the file `path` is unpickled, find its classes in the submission; what goes wrong becomes a ModelError.

    Classes that lay in __main__ when they were pickled are those that `settings.custom_objects` names.
    """
    if settings.root is not None:
        make_importable(settings.root)
    main = vars(sys.modules["__main__"])
    named = {name: load_entry(entry, settings.root) for name, entry in settings.custom_objects.items()}
    hidden = {name: main[name] for name in named if name in main}
    main.update(named)
    try:
        yield
    except ModelError:
        raise
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{path.name}: needs the module {error.name!r}, which is neither in the submission nor installed; put its "
            "file into the submission's folder"
        ) from error
    except AttributeError as error:
        raise _no_class(path, error) from error
    except Exception as error:  # a stranger's pickle may raise anything
        raise ModelError(
            f"{path.name}: not a pickle, or cut short ({path.stat().st_size} bytes); save it again "
            f"({in_one_line(error, 150)})"
        ) from error
    finally:
        for name in named:
            del main[name]
        main.update(hidden)


def _no_class(path: Path, error: AttributeError) -> ModelError:
    found = NO_CLASS.search(str(error))
    if found is None:
        return ModelError(f"{path.name}: cannot be unpickled ({in_one_line(error)})")
    name, module = found.groups()
    if module.rpartition(".")[2] != "__main__":  # "harness.worker.__main__" where it was started by python -m
        return ModelError(f"{path.name}: needs the class {name!r} of {module}, which defines no such name")
    return ModelError(
        f"{path.name}: its class {name!r} was pickled from __main__, a script, and cannot be found; put the class into "
        f'a file and state custom_objects = {{ {name} = "model.py:{name}" }}, or submit a net\'s state dict with '
        f'architecture = "model.py:{name}"'
    )
