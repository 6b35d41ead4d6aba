"""The wrapper that gives any repair the class N+1: where the repaired net disagrees with the BadNet, it flags."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import reference_defenses
from harness.models.any_model import load_badnet
from harness.models.contracts import BadNetView, Defense, Predictor, Progress, Validation
from harness.models.pair import PairPredictor
from harness.models.repaired import RepairedNet, RepairedPair
from harness.wording import did_you_mean, one_of


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Repairs the BadNet with another defense of this folder, and answers as the pair (B, B').

    Source: the labs of CSAW-HackML-2020, which combined a BadNet so with its pruned net (Liu, Dolan-Gavitt, Garg, RAID
    2018, arXiv:1805.12185).

    Differences from the paper: the repaired net does not answer alone; an input on which it disagrees with the BadNet
    is flagged.
    """

    of: str = "fine_pruning"
    """The defense that repairs: the name of its file."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """That defense's hyper-parameters; those left out keep their defaults."""

    def __post_init__(self) -> None:
        """Check the name and the options."""
        self._defense()

    def _defense(self) -> Defense:
        kind = _find(self.of)
        choices = [item.name for item in dataclasses.fields(kind)]
        for key in self.options:
            if key not in choices:
                raise ValueError(f"{self.of}: unknown option {key!r}; {one_of(choices)}")
        made: Defense = kind(**self.options)
        return made

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> Predictor:
        """Repair, and put the BadNet beside it."""
        repaired = self._defense().repair(badnet, validation, rng=rng, progress=progress)
        if isinstance(repaired, RepairedNet):
            return RepairedPair(repaired)
        return PairPredictor(load_badnet(badnet), repaired, flag=badnet.flag)


def _find(name: str) -> Any:
    names = [module.name for module in pkgutil.iter_modules(reference_defenses.__path__)]
    choices = [name for name in names if not name.startswith("_") and name != "pair"]
    if name not in choices:
        raise ValueError(f"of {name!r}: no such defense; {did_you_mean(name, choices)}")
    module = importlib.import_module(f"reference_defenses.{name}")
    own = (value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__)
    return next(value for value in own if dataclasses.is_dataclass(value) and hasattr(value, "repair"))
