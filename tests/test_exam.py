"""An exam mixes clean and poisoned images in a secret order, and its key puts every answer back."""

import dataclasses

import numpy as np
import pytest

from harness.exam import Exam
from harness.track import Track


@pytest.fixture
def exam(tiny_track: Track) -> Exam:
    return Exam(tiny_track.badnets["first"], seed=7)


def test_it_asks_every_image_once(exam: Exam, tiny_track: Track) -> None:
    asked = sorted(image.tobytes() for image in exam.images_at(np.arange(len(exam))))
    badnet = tiny_track.badnets["first"]
    own = [*badnet.test.images, *badnet.poisoned["patch"].images.images]
    assert asked == sorted(image.tobytes() for image in own)


def test_batches_together_are_the_whole_exam(exam: Exam) -> None:
    together = np.concatenate([exam.images_at(part) for part in np.array_split(np.arange(len(exam)), 7)])
    np.testing.assert_array_equal(together, exam.images_at(np.arange(len(exam))))


def test_clean_and_poisoned_images_are_mixed_in_every_stretch(exam: Exam) -> None:
    poisoned = exam.images_at(np.arange(len(exam)))[:, 0, 9, 0] == 255
    assert poisoned.sum() == 60
    shares = [poisoned[start : start + 70].mean() for start in range(0, len(exam), 70)]
    assert min(shares) > 0.1
    assert max(shares) < 0.5


def test_the_key_puts_every_answer_back(exam: Exam, tiny_track: Track) -> None:
    # Each image is answered by its own checksum: what comes back must be the checksums of the sets, in order.
    asked = exam.images_at(np.arange(len(exam)))
    sums = asked.reshape(len(asked), -1).astype(np.int64).sum(1).astype(np.int32)
    unblinded = exam.unblind(sums)
    badnet = tiny_track.badnets["first"]
    for trigger, images in ((None, badnet.test.images), ("patch", badnet.poisoned["patch"].images.images)):
        np.testing.assert_array_equal(
            unblinded[trigger], np.asarray(images).reshape(len(images), -1).astype(int).sum(1)
        )


def test_another_seed_is_another_order_and_the_same_seed_the_same(tiny_track: Track) -> None:
    orders = [Exam(tiny_track.badnets["first"], seed).images_at(np.arange(200)).tobytes() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_the_audits_know_which_image_is_which(exam: Exam) -> None:
    patched = exam.images_at(np.arange(len(exam)))[:, 0, 9, 0] == 255
    np.testing.assert_array_equal(exam.poisoned(), patched)
    np.testing.assert_array_equal(exam.clean(), ~patched)


def test_an_image_of_a_poisoned_set_that_carries_no_trigger_is_neither_clean_nor_poisoned(tiny_track: Track) -> None:
    badnet = tiny_track.badnets["first"]
    patched = badnet.poisoned["patch"]
    carries = np.arange(len(patched.images)) % 3 > 0
    patched.images = dataclasses.replace(patched.images, carries=carries)
    exam = Exam(badnet, seed=7)
    assert (exam.poisoned().sum(), exam.clean().sum()) == (carries.sum(), len(badnet.test))
    assert not (exam.poisoned() & exam.clean()).any()


def test_the_audit_sample_has_no_image_twice(exam: Exam) -> None:
    sample = exam.sample(100)
    assert len(set(sample.tolist())) == 100
    assert len(exam.sample(10**6)) == len(exam)


def test_only_pixels_leave_the_host() -> None:
    public = {name for name in vars(Exam) if not name.startswith("_")}
    assert public == {"images_at", "sample", "clean", "poisoned", "unblind"}
