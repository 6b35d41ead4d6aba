"""How BadNets are made: one file per attack, one contract; training is shared code."""

import importlib
import pkgutil
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError
from harness.triggers import Portraits
from harness.wording import did_you_mean

SUPPORT = {"training", "make_badnets"}


class TrainingSet(NamedTuple):
    """What a net is trained on: images uint8 (n, H, W, C), labels int64 (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


class Attack(Protocol):
    """A frozen, keyword-only dataclass: its attributes are its hyper-parameters."""

    def poison(self, portraits: Portraits, rng: np.random.Generator) -> TrainingSet:
        """The training set that plants the backdoor, made of the attacker's own pictures."""


def attack_names() -> list[str]:
    """The attacks of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in SUPPORT)


def make_attack(name: str, **options: Any) -> Attack:
    """The attack of that name with these hyper-parameters; raises UserError that names the choices."""
    if name not in attack_names():
        raise UserError(f"attack {name!r}: no file reference_attacks/{name}.py; {did_you_mean(name, attack_names())}")
    attack: Attack = importlib.import_module(f"{__name__}.{name}").ATTACK(**options)
    return attack
