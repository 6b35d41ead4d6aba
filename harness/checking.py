"""`badnet check`: the whole contract on 64 images, so that a mistake shows in seconds and not after an exam."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.console import Desk
from harness.engine import fitting_jobs, run_cells
from harness.evaluate import Settings, admit
from harness.images import ImageSet
from harness.invigilator import Invigilator
from harness.outcomes import INVALID
from harness.sitting import Sitting
from harness.submission import Submission
from harness.track import BadNet, Track

IMAGES = 64
SINGLES = 4
COLD = 4
POOR_ACCURACY = 0.5
COLD_MEANS = {
    "run cold": "the exam will be run that way throughout, which takes far longer; does the script keep state in files?",
    "nondeterministic": "two new processes differ too, so the script draws at random; seed it, or state stochastic = true",
}


class Finding(NamedTuple):
    """One thing worth saying: level is ok, warning or error."""

    level: str
    badnet: str
    words: str


class PracticeBadNet(BadNet):
    """A BadNet with 64 of its clean validation images for everything: nothing of the test is used up by a check."""

    def __init__(self, badnet: BadNet, folder: Path) -> None:
        """Write the few images below `folder`."""
        self.__dict__.update(badnet.__dict__)
        validation = ImageSet.load(badnet.validation_path)
        chosen = np.sort(np.random.default_rng(0).permutation(len(validation))[:IMAGES])
        few = ImageSet(images=validation.images[chosen], labels=validation.labels[chosen])
        self.validation_path = self.test_path = folder / badnet.name
        few.save(self.validation_path)
        self.poisoned = {}
        self.__dict__["test"] = few


def check(submission: Submission, track: Track, settings: Settings, desk: Desk) -> list[Finding]:
    """Load the submission for every BadNet and have it answer 64 clean validation images.

    A live defense also repairs with these 64 alone, so that its figures say little. Answers computed elsewhere are laid
    beside the published images and counted; how good they are is not said. Raises UserError for a wrong submission.toml,
    MachineError for a machine that cannot isolate; what goes wrong inside the sandbox is a finding.
    """
    candidates = admit(submission, track, settings, desk)
    invigilator = Invigilator(
        settings.invigilator.sandbox, settings.invigilator.limits, singles=SINGLES, cold=COLD, practice=True
    )
    reports = {name: desk.report(name) for name in candidates}
    findings = [
        Finding("warning", name, f"has no table [badnets.{name}]; it will be graded as the worst case")
        for name in track.badnets
        if name not in candidates
    ]

    def sit(name: str) -> Sitting:
        return invigilator.sit(candidates[name], track, practice[name], seed=0, report=reports[name])

    def finished(name: str, sitting: Sitting) -> None:
        labels = None if candidates[name].asking.public else practice[name].test.labels
        findings.extend(_findings(name, sitting, labels, track.classes))
        desk.done(name, "tried")

    jobs = fitting_jobs(settings.jobs, repairs=False)
    with TemporaryDirectory(prefix="badnet-check-") as folder:
        practice = {
            name: track.badnets[name] if it.asking.public else PracticeBadNet(track.badnets[name], Path(folder))
            for name, it in candidates.items()
        }
        run_cells(list(candidates), sit, jobs=jobs, finished=finished, cancel=invigilator.cancel)
    order = list(track.badnets)
    return sorted(findings, key=lambda finding: order.index(finding.badnet))


def _findings(name: str, sitting: Sitting, labels: NDArray[np.int64] | None, classes: int) -> list[Finding]:
    """labels: of the images that were asked; None for published images, whose answers a check only counts."""
    if sitting.failure:
        return [Finding("error", name, f"{sitting.failure.stage}: {sitting.failure.reason}")]
    answers = np.concatenate([sitting.clean, *sitting.poisoned.values()])
    found = [Finding("warning", name, words) for words in sitting.notes]
    cold = sitting.audits.cold
    if cold and cold.differed:
        words = f"{cold.differed} of {cold.images} answers differ where each image gets a new process"
        found.append(Finding("warning", name, f"{words}: {COLD_MEANS[cold.verdict]}"))
    for audit in (sitting.audits.alone, sitting.audits.again, sitting.audits.reordered):
        if audit and audit.changed:
            words = f"{audit.changed} of {audit.images} images, asked again, got another answer"
            found.append(Finding("warning", name, words))
    if sitting.audits.failed:
        found.append(Finding("error", name, f"asked again: {sitting.audits.failed}"))
    if invalid := int((answers == INVALID).sum()):
        found.append(Finding("error", name, f"{invalid} of {len(answers)} answers are not integers 0..{classes}"))
    if labels is None:
        return found or [Finding("ok", name, f"{len(answers):,} answers, one for each published image")]
    accuracy = float((answers == labels).mean())
    if accuracy < POOR_ACCURACY:
        flagged = int((answers == classes).sum())
        hint = f"; {flagged} of {len(answers)} clean images are flagged" if flagged > len(answers) // 2 else ""
        found.append(Finding("warning", name, f"clean accuracy is {100 * accuracy:.0f} % on validation images{hint}"))
    seconds = sitting.load_seconds if sitting.load_seconds is not None else sitting.repair_seconds
    return found or [Finding("ok", name, f"clean accuracy {100 * accuracy:.0f} %, ready after {seconds or 0:.1f} s")]
