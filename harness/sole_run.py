"""One run at a time writes the results of a submission, and none writes over those of another."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import UserError
from harness.locks import Held, locked
from harness.record import read_record
from harness.submission import Submission
from harness.track import Track
from harness.wording import harmless


@contextmanager
def sole_run(submission: Submission, track: Track, *, lock: Path, record: Path) -> Iterator[None]:
    """Keep other processes from evaluating this submission into the same results.

    Raises UserError where one does already, and where the record to be replaced is another submission's.
    """
    try:
        with locked(lock):
            _refuse_taken_name(record, submission)
            yield
    except Held as holder:
        raise UserError(
            f"{submission.folder}: {submission.name!r} is being evaluated on track {track.name!r} by {holder}; "
            "wait until that has ended, or name other --results"
        ) from None


def _refuse_taken_name(path: Path, submission: Submission) -> None:
    """Raise UserError where the record names authors, and none of them is the submission's."""
    try:
        authors = read_record(path).submission.authors if path.exists() else []
    except UserError:  # damaged, or of another version: to be replaced
        return
    if authors and not set(authors) & set(submission.spec.authors):
        raise UserError(
            f"{path}: is the record of {harmless(', '.join(authors), 100)}, none of them among this submission's authors; "
            "choose another name, or move the record away"
        )
