"""The invigilator's own limits, which no option of the command line reaches."""

from collections.abc import Callable
from pathlib import Path

from harness.invigilator import Invigilator, submission_seed
from harness.room import Candidate
from harness.sandbox import find_sandbox
from harness.sandbox.limits import Limits
from harness.track import Track

Write = Callable[..., Path]


def test_all_images_together_have_a_limit_of_their_own(tiny_track: Track, write_submission: Write) -> None:
    slow = "import time\nclass P:\n def __init__(self, b): pass\n def __call__(self, x): time.sleep(0.1); return [0] * len(x)"
    folder = write_submission("slow", 'kind = "predictor"\nentry = "p.py:P"', **{"p.py": slow})
    invigilator = Invigilator(find_sandbox("bubblewrap"), Limits(exam_seconds=1), batch=10)
    candidate = Candidate("predictor", {"entry": "p.py:P"}, folder)
    sitting = invigilator.sit(candidate, tiny_track, tiny_track.badnets["first"], seed=1)
    assert sitting.failure is not None
    assert sitting.failure.reason == "took longer than 1 s for all images together (--exam-seconds allows more)"
    assert (sitting.clean == -1).all()


def test_a_submissions_seed_says_nothing_about_the_secret_order() -> None:
    seeds = [submission_seed(order) for order in range(1000)]
    assert len(set(seeds)) == 1000
    assert submission_seed(7) == submission_seed(7)
    assert all(0 <= seed < 2**32 for seed in seeds)
