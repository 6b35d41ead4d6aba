"""The organizer's choices are read from one file, and a wrong one is named."""

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.policy import read_policy
from harness.score import HALVES


def test_the_committed_policy_gives_halves() -> None:
    assert read_policy() == HALVES


def test_a_share_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("detection_share = 1")
    assert read_policy(tmp_path / "config.toml").detection_share == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("detection_share = 2", "must be 0..1"),
        ("detection_share = 'half'", "'half' is not a number"),
        ("detection_share = true", "True is not a number"),
        ("detection_shaer = 0.5", "did you mean 'detection_share'"),
        ("detection_share =", "cannot be read"),
    ],
)
def test_a_mistake_names_file_and_fix(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as error:
        read_policy(path)
    assert str(path) in str(error.value)
