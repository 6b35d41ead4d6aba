"""Every reader of strangers' bytes gives a value or a refusal; `make fuzz` asks far more of the same questions."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.frames import ARRAY, SIZES
from tests.fuzz.targets import ALLOWED, Target, targets

NAMES = ("frames", "submission", "track", "manifest", "record", "answers")


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return targets(tmp_path_factory.mktemp("readers"))


def test_every_reader_is_tried(readers: dict[str, Target]) -> None:
    assert tuple(readers) == NAMES


@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_any_bytes_end_in_a_value_or_a_refusal(name: str, readers: dict[str, Target], data: st.DataObject) -> None:
    with contextlib.suppress(*ALLOWED):
        readers[name].read(data.draw(readers[name].strategy))


FOUND = {
    "an array without bytes, of dimensions that no array has": (
        "frames",
        ARRAY + bytes([0, 4, 0, *[SIZES.index(2**39)] * 3]),
    ),
    "a manifest that names a file of 5,000 letters": (
        "manifest",
        b'{"badnets": {}, "files": {"%s": "0"}}' % (b"x" * 5000),
    ),
    "a manifest that names a file within a file": ("manifest", b'{"badnets": {}, "files": {"track.toml/x": "0"}}'),
}
"""What fuzzing found once."""


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_once_stays_mended(what: str, readers: dict[str, Target]) -> None:
    name, data = FOUND[what]
    with contextlib.suppress(*ALLOWED):
        readers[name].read(data)
