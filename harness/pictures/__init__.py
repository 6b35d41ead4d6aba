"""Pictures of what a defense found out: one file per kind of figure, each with `draw(figure, badnet)`.

The figures come from a stranger's code, checked by `harness.models.findings_frames`; the real triggers that are shown
beside them only the host knows.
"""

import importlib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from harness.models.findings import Figure
from harness.models.findings_frames import KINDS
from harness.sitting import Sitting, whole_file
from harness.submission import Submission
from harness.track import BadNet
from harness.wording import harmless

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

DOTS_PER_INCH = 100


class Kind(Protocol):
    """The module of one kind of figure."""

    def draw(self, figure: Figure, badnet: BadNet) -> "Canvas":
        """Draw the figure. badnet: whose it is, for its images."""


def with_pictures(sitting: Sitting, badnet: BadNet, submission: Submission, track: str, runs: Path) -> Sitting:
    """The sitting with its figures drawn below the folder `runs`, and their paths as seen from where that lies.

    Pictures of that BadNet that are there already are removed. A picture is never worth a record: whatever goes wrong
    becomes a note.
    """
    runs, pictures, notes = runs.resolve(), list[str](), list[str]()
    folder = pictures_folder(runs, track, submission.name) / badnet.name
    if folder.is_relative_to(submission.folder.resolve()):
        if sitting.figures:
            notes = ["no picture was drawn: --runs lies in the submission's own folder; name another one"]
        return replace(sitting, figures={}, notes=(*sitting.notes, *notes))
    try:
        for old in folder.glob("*.png"):
            old.unlink()
    except OSError as error:
        notes.append(f"old pictures cannot be removed ({error.strerror})")
    for name, figure in sitting.figures.items():
        path = folder / f"{name}.png"
        try:
            draw(figure, badnet, path)
        except Exception as error:  # noqa: BLE001 - drawing what a stranger measured may fail in any way
            words = str(error).replace(f"{folder}/", "") or type(error).__name__
            notes.append(f"picture {name!r} was not drawn: {harmless(words, 200)}")
        else:
            pictures.append(path.relative_to(runs.parent).as_posix())
    return replace(sitting, figures={}, pictures=tuple(pictures), notes=(*sitting.notes, *notes))


def pictures_folder(runs: Path, track: str, submission: str) -> Path:
    """Where the pictures of a submission are, in a folder for each BadNet."""
    return runs / track / submission


def draw(figure: Figure, badnet: BadNet, path: Path) -> None:
    """Draw one figure as a PNG, written whole or not at all; raises MachineError where `path` cannot be written."""
    kind = next(name for name, made in KINDS.items() if type(figure) is made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks, say
        drawn = cast(Kind, importlib.import_module(f"{__name__}.{kind}")).draw(figure, badnet)
        with whole_file(path) as beside:
            drawn.savefig(beside, format="png", dpi=DOTS_PER_INCH)
