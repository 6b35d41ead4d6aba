"""A defense: code that repairs any BadNet from clean validation images, inside the sandbox."""

import dataclasses
from pathlib import Path

import numpy as np

from harness.models.contracts import BadNetView, Defense, Predictor, Progress
from harness.models.entries import load_entry
from harness.models.errors import ModelError, in_one_line
from harness.wording import did_you_mean, one_of
from harness.worker.kinds._asking import Asking
from harness.worker.kinds._options import CodeOptions
from harness.worker.kinds._options import code_files as files
from harness.worker.kinds._seeds import seed_everything

DESCRIPTION = "code that repairs a BadNet while the harness watches, also one that its author never saw"
NEEDS_TABLES = False

__all__ = ["DESCRIPTION", "NEEDS_TABLES", "Options", "asking", "files", "load"]


class Options(CodeOptions):
    """A defense, its hyper-parameters, and whether it is an oracle."""

    oracle: bool = False
    """Whether it is given a fifth of the poisoned images, which no competitor has: `badnet` is an OracleView."""


def asking(options: Options) -> Asking:
    """In batches; the submission's own code may do anything, remember too. An oracle is marked on the board."""
    return Asking(remembers=True, oracle=options.oracle, marks=("oracle",) if options.oracle else ())


def load(options: Options, badnet: BadNetView, root: Path, *, seed: int, progress: Progress) -> Predictor:
    """Repair the BadNet; raises ModelError (stage "import", "construct" or "repair")."""
    progress(f"loading {options.entry}", 0, 1)
    defense = construct(options, root)
    seed_everything(seed)
    try:
        predictor = defense.repair(badnet, badnet.validation(), rng=np.random.default_rng(seed), progress=progress)
    except ModelError as error:
        raise ModelError(f"{options.entry}: {error}", stage="repair") from error
    except Exception as error:  # strangers' code may raise anything
        raise ModelError(
            f"{options.entry}: repairing {badnet.name} failed ({in_one_line(error)})", stage="repair"
        ) from error
    if not callable(predictor):
        raise ModelError(f"{options.entry}: repair gave a {type(predictor).__name__}, no predictor", stage="repair")
    return predictor


def construct(options: Options, root: Path) -> Defense:
    """Build the defense with its hyper-parameters; raises ModelError for an unknown or refused one."""
    made = load_entry(options.entry, root)
    if not (isinstance(made, type) and dataclasses.is_dataclass(made)):
        raise ModelError(
            f"{options.entry}: is no dataclass; write a frozen dataclass with a repair method", stage="construct"
        )
    choices = [field.name for field in dataclasses.fields(made) if field.init]
    for key in options.options:
        if key not in choices:
            hint = did_you_mean(key, choices)
            more = "" if hint == one_of(choices) else f" ({one_of(choices)})"
            raise ModelError(f"{options.entry}: unknown option {key!r}; {hint}{more}", stage="construct")
    try:
        defense = made(**options.options)
    except Exception as error:  # a check of its own values may raise anything
        raise ModelError(f"{options.entry}: {in_one_line(error)}", stage="construct") from error
    if not isinstance(defense, Defense):
        raise ModelError(f"{options.entry}: has no repair method", stage="construct")
    return defense
