"""How a kind of submission is to be asked; most are asked in batches of the harness's own choice."""

from typing import NamedTuple


class Asking(NamedTuple):
    """What a kind's `asking(options)` says; a kind without that function has these defaults."""

    batch: int | None = None
    """Images at a time; None: as the harness likes."""
    whole: bool = False
    """All images at once: a script that reads one file."""
    cold: bool = False
    """The predictor has a method `cold`, which answers each image in a new process: a sample of images goes there too."""
    remembers: bool = False
    """Code of the submission's own runs, or its file can hold a state, so that it could answer an image again as it did
    before whatever the batch: what is asked again goes to a new process."""
    public: bool = False
    """Answers were computed elsewhere, for the published order: nothing can be asked twice, or verified."""
    isolated: bool = False
    """Must not run without isolation, whatever the user says."""
    oracle: bool = False
    """Is given a share of the exam's poisoned images, without targets or labels."""
    marks: tuple[str, ...] = ()
    """What the board shows beside the submission."""
