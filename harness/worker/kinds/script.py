"""An unmodified command-line script, called for each image, or once with all of them in one .h5 file."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from harness.models.contracts import BadNetView, Predictor, Progress
from harness.wording import did_you_mean, one_of
from harness.worker.kinds._asking import Asking
from harness.worker.kinds._options import RelativePath, Strict
from harness.worker.scripts.runtimes import runtime_names
from harness.worker.scripts.template import PROVIDED, names_in

DESCRIPTION = "an unmodified command-line script, called for each image, or with one .h5 file"
NEEDS_TABLES = True
BATCH = 16
"""Images asked at a time: few, as a script may need seconds for each."""
__all__ = ["DESCRIPTION", "NEEDS_TABLES", "Options", "asking", "files", "load"]


def _pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"is no regular expression ({error})") from None
    return pattern


def _runtime(name: str) -> str:
    if name not in runtime_names():
        raise ValueError(f"no runtime {name!r}; {did_you_mean(name, runtime_names())}")
    return name


def _provided(name: str) -> str:
    if name not in PROVIDED:
        raise ValueError(f"{name!r} cannot be provided; {one_of(PROVIDED)}")
    return name


class Options(Strict):
    """How a script is called and what its answers look like."""

    command: Annotated[list[str], Field(min_length=1)]
    """The script's path, relative to `cwd`, and its arguments, with {image} or {h5}, {badnet}, {validation}, {out}."""
    cwd: RelativePath | Literal["."] = "."
    """The working directory, relative to the submission's folder."""
    runtime: Annotated[str, AfterValidator(_runtime)] = "keras3"
    """What `keras` and `tf.keras` are: "keras3" or "keras2"."""
    images: Literal["png", "jpeg"] = "png"
    """How {image} is encoded."""
    provide: dict[str, Annotated[str, AfterValidator(_provided)]] = Field(default_factory=dict)
    """Path that the script opens, relative to `cwd` -> "badnet", "validation", "image" or "h5"."""
    stdin: list[str] = Field(default_factory=list)
    """Lines for a script that asks."""
    pattern: Annotated[str, AfterValidator(_pattern)] | None = None
    """Where the answer stands in what is printed: the last match counts, or its last group."""
    flag: list[int | Literal["max"]] = Field(default_factory=list)
    """Values that mean the flag, beside N; "max": the highest value of a run."""

    @model_validator(mode="after")
    def _asks_for_images(self) -> "Options":
        if self.arguments[0].endswith(".ipynb"):
            raise ValueError("command: a notebook cannot be called; export its code: jupyter nbconvert --to script")
        if not self.arguments[0].endswith(".py"):
            raise ValueError(f"command: {self.arguments[0]!r} is no Python script; name the .py file first")
        asked = self.names | set(self.provide.values())
        if len(asked & {"image", "h5"}) != 1:
            found = "both {image} and {h5}" if "image" in asked else "neither {image} nor {h5}"
            raise ValueError(f"command: names {found}; put one of them where the script is given its images")
        if "max" in self.flag and not self.at_once:
            raise ValueError(
                'flag: "max" is the highest of many answers, and takes a script that reads {h5}; name the value'
            )
        return self

    @property
    def arguments(self) -> list[str]:
        """The command without the word "python"."""
        first = self.command[0]
        return self.command[1:] if re.fullmatch(r"python[\d.]*", first) and len(self.command) > 1 else self.command

    @property
    def names(self) -> set[str]:
        """The names in braces of command and stdin; raises ValueError for an unknown one."""
        return names_in([*self.command, *self.stdin])

    @property
    def at_once(self) -> bool:
        """Whether one call takes all images."""
        return "h5" in self.names | set(self.provide.values())

    @property
    def writes(self) -> bool:
        """Whether the answers are in a file that the script writes."""
        return "out" in self.names


def files(options: Options) -> dict[str, str]:
    """The script itself, and its working directory."""
    return {"cwd": options.cwd, "command": os.path.normpath(f"{options.cwd}/{options.arguments[0]}")}


def asking(options: Options) -> Asking:
    """Few images at a time and a sample by new processes; or all images at once.

    What the highest value of a run is, only a process that answered the whole exam knows.
    """
    if options.at_once:
        return Asking(whole=True, remembers="max" not in options.flag)
    return Asking(batch=BATCH, cold=True)


def load(options: Options, badnet: BadNetView, root: Path, *, seed: int, progress: Progress) -> Predictor:
    """Lay out the script's folder and try it on a validation image; raises ModelError with what its author can do."""
    from harness.worker.scripts.script import TRIALS, Script

    progress(f"starting {options.arguments[0]}", 0, 1)
    script = Script(options, badnet, root, seed=seed)
    images: Any = np.load(badnet.validation_path / "images.npy", mmap_mode="r")
    script.try_out(np.array(images[:TRIALS]))
    return script
