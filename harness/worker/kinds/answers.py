"""Answers that were computed elsewhere, for the images that `badnet track publish` wrote."""

from pathlib import Path, PurePosixPath
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from harness.models.contracts import Answers, BadNetView, Images, Predictor, Progress
from harness.models.errors import ModelError
from harness.worker.kinds._asking import Asking
from harness.worker.kinds._integers import ENDINGS, read_integers
from harness.worker.kinds._options import RelativePath, Strict
from harness.worker.notes import note

DESCRIPTION = "whole numbers computed elsewhere for the published order of the images; shown as unverified, not ranked"
NEEDS_TABLES = True


def _readable(path: str) -> str:
    if PurePosixPath(path).suffix not in ENDINGS:
        raise ValueError(f"must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    return path


class Options(Strict):
    """A file of answers, and which of them flag."""

    answers: Annotated[RelativePath, AfterValidator(_readable)]
    """`.npy`, or text in `.csv` or `.txt`: one whole number an image, in the published order."""
    flag: list[int] = Field(default_factory=list)
    """Values that mean the flag, beside N."""


def files(options: Options) -> dict[str, str]:
    """The file of answers."""
    return {"answers": options.answers}


def asking(options: Options) -> Asking:
    """All at once, in the published order: only together can the answers be counted."""
    return Asking(whole=True, public=True, marks=("unverified",))


def load(options: Options, badnet: BadNetView, root: Path, *, seed: int, progress: Progress) -> Predictor:
    """Read the answers; raises ModelError where the file does not hold whole numbers."""
    progress(f"reading {options.answers}", 0, 1)
    numbers = read_integers(root / options.answers)
    answers = np.where(np.isin(numbers, options.flag), badnet.flag, numbers)
    odd, counts = np.unique(answers[(answers < 0) | (answers > badnet.flag)], return_counts=True)
    if len(odd):
        most = counts.argmax()
        note(
            f"{options.answers}: {counts[most]:,} answers are {odd[most]}, neither a class nor the flag {badnet.flag}; "
            f"where that means the flag, state flag = [{odd[most]}]"
        )
    return Precomputed(answers, options.answers, badnet.name)


class Precomputed:
    """Gives the answers of a file to all images at once."""

    def __init__(self, answers: NDArray[np.int64], file: str, badnet: str) -> None:
        self._answers = answers
        self._file = file
        self._badnet = badnet

    def __call__(self, images: Images) -> Answers:
        """The answers; raises ModelError where there are more or fewer than images."""
        if len(images) != len(self._answers):
            raise ModelError(
                f"{self._file}: {len(self._answers):,} answers for {len(images):,} images; answer each image of "
                f"{self._badnet}.h5 once, in its order (`badnet track publish` writes it anew)",
                stage="answer",
            )
        return self._answers
