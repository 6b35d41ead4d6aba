"""Frames arrive as they were sent, and whatever is not a frame is refused without harm."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from harness.protocol import MAX_HEADER, PREFIX, Channel, ProtocolError, parse


class Pair:
    """Two channels that face each other, and the raw end of one of them."""

    def __init__(self) -> None:
        to_b, from_b = os.pipe(), os.pipe()
        self.a, self.b = Channel(from_b[0], to_b[1]), Channel(to_b[0], from_b[1])
        self.raw_to_a, self.fds = from_b[1], [*to_b, *from_b]

    def close(self) -> None:
        for fd in self.fds:
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


arrays = st.one_of(
    st_numpy.arrays(np.uint8, st_numpy.array_shapes(min_dims=1, max_dims=4, min_side=0)),
    st_numpy.arrays(np.int64, st_numpy.array_shapes(min_dims=1, max_dims=2, min_side=0)),
)
fields = st.dictionaries(
    st.text(max_size=8).filter(lambda k: k not in ("kind", "array")), st.integers() | st.text(max_size=20), max_size=4
)


@given(kind=st.text(max_size=10), fields=fields, array=st.none() | arrays)
@settings(max_examples=60, deadline=None)
def test_a_frame_arrives_as_it_was_sent(kind: str, fields: dict[str, object], array: np.ndarray | None) -> None:
    pair = Pair()
    try:
        pair.a.send(kind, fields, array)
        frame = pair.b.receive(max_payload=10**6)
    finally:
        pair.close()
    assert (frame.kind, frame.fields) == (kind, fields)
    if array is None:
        assert frame.array is None
    else:
        assert frame.array is not None
        assert frame.array.dtype == array.dtype
        np.testing.assert_array_equal(frame.array, array)


def test_a_frame_larger_than_the_pipe_arrives_whole(pair: Pair) -> None:
    images = np.random.default_rng(0).integers(0, 256, (400, 55, 47, 3), dtype=np.uint8)
    sender = threading.Thread(target=pair.a.send, args=("batch", {}, images))
    sender.start()
    received = pair.b.receive(max_payload=images.nbytes).array
    sender.join()
    np.testing.assert_array_equal(received, images)


@given(data=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_end_in_a_frame_or_in_one_of_three_errors(data: bytes) -> None:
    pair = Pair()
    try:
        os.write(pair.raw_to_a, data)
        os.close(pair.raw_to_a)
        pair.a.receive(max_payload=100, deadline=time.monotonic() + 1)
    except (ProtocolError, EOFError, TimeoutError):
        pass
    finally:
        pair.close()


@given(
    header=st.recursive(
        st.none() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_json_header_is_parsed_or_refused(header: object) -> None:
    with contextlib.suppress(ProtocolError):
        parse(json.dumps(header).encode(), np.zeros(0, np.uint8))


@pytest.mark.parametrize(
    "described",
    [
        {"dtype": "object", "shape": [1]},
        {"dtype": "int64", "shape": [-1]},
        {"dtype": "int64", "shape": [2]},
        {"dtype": "int64", "shape": [1.0]},
        {"dtype": "int64", "shape": [True]},
        {"dtype": "int64", "shape": [1, 1, 1, 1, 1]},
        {"dtype": "int64", "shape": [2**70]},
        {"dtype": ["int64"], "shape": [1]},
        {"dtype": "int64"},
        [],
        "int64",
    ],
)
def test_an_array_that_is_not_what_its_header_says_is_refused(described: object) -> None:
    with pytest.raises(ProtocolError):
        parse(json.dumps({"kind": "answers", "array": described}).encode(), np.zeros(8, np.uint8))


@pytest.mark.parametrize("lengths", [(MAX_HEADER + 1, 0), (2, 101), (0xFFFFFFFF, 2**64 - 1)])
def test_lengths_beyond_the_bounds_are_refused_before_anything_is_allocated(
    pair: Pair, lengths: tuple[int, int]
) -> None:
    os.write(pair.raw_to_a, PREFIX.pack(*lengths))
    with pytest.raises(ProtocolError, match="larger than allowed"):
        pair.a.receive(max_payload=100)


def test_a_silent_and_a_deaf_other_side_end_at_the_deadline(pair: Pair) -> None:
    with pytest.raises(TimeoutError):
        pair.a.receive(max_payload=0, deadline=time.monotonic() + 0.05)
    with pytest.raises(TimeoutError):
        pair.a.send("batch", {}, np.zeros(4 * 2**20, np.uint8), deadline=time.monotonic() + 0.05)


def test_a_flood_of_frames_does_not_outrun_the_deadline(pair: Pair) -> None:
    pair.b.send("progress")
    with pytest.raises(TimeoutError):
        pair.a.receive(max_payload=0, deadline=time.monotonic() - 0.01)
