"""The frames of a worker, as bytes that a fuzzer makes; imports nothing heavy, so that a guided fuzzer starts at once."""

import json
import os
from typing import Any

from harness.protocol import PREFIX, Channel

EXAMPLES: tuple[Any, ...] = (
    {"kind": "answers", "id": 3, "array": {"dtype": "int64", "shape": [5]}},
    {"kind": "batch", "array": {"dtype": "uint8", "shape": [0, 12, 10, 3]}},
    {"kind": "failure", "stage": "load", "reason": "words"},
    {"kind": "progress", "what": "words", "done": 1, "total": 2},
)
WHOLE, STREAM, ARRAY = b"\0", b"\1", b"\2"
SIZES = (0, 1, 2, 5, -1, 255, 2**16, 2**31, 2**32, 2**39, 2**40 - 1, 2**40, 2**63, 1.0, True, None)
TYPES = ("int64", "uint8", "object", "<i8", "", None)
PIPE_BYTES = 4096
"""What every pipe holds: it is filled before it is read."""


def whole(header: bytes, payload: bytes) -> bytes:
    """The input that stands for one frame with the right lengths; `STREAM` and any bytes stand for those bytes."""
    return WHOLE + bytes([min(255, len(payload))]) + payload[:255] + header


def read_frame(data: bytes) -> None:
    """Receive the frame that such an input stands for, from a worker that then ended."""
    mark, rest = data[:1], data[1:]
    if mark == WHOLE and rest:
        rest = _framed(rest[1 + rest[0] :], rest[1 : 1 + rest[0]])
    elif mark == ARRAY and len(rest) > 1:
        count = rest[1] % 6
        shape = [SIZES[byte % len(SIZES)] for byte in rest[2 : 2 + count]]
        described = {"dtype": TYPES[rest[0] % len(TYPES)], "shape": shape}
        rest = _framed(json.dumps({"kind": "answers", "array": described}).encode(), rest[2 + count :])
    (read, write), (deaf, mute) = os.pipe(), os.pipe()
    try:
        os.write(write, rest[:PIPE_BYTES])
        os.close(write)
        Channel(read, mute).receive(max_payload=4096)
    finally:
        for handle in (read, deaf, mute):
            os.close(handle)


def examples() -> list[bytes]:
    """Inputs that stand for frames with nothing wrong."""
    frames = [whole(json.dumps(it).encode(), bytes(40 if "id" in it else 0)) for it in EXAMPLES]
    return [*frames, STREAM + _framed(b'{"kind": "hello"}', b""), ARRAY + b"\1\2\2\3" + bytes(10)]


def _framed(header: bytes, payload: bytes) -> bytes:
    return PREFIX.pack(len(header), len(payload)) + header + payload
