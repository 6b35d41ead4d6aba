"""Frames between host and worker: a bounded JSON header and raw array bytes over two pipes; nothing is ever unpickled.

A frame is `<header length: uint32><payload length: uint64><header: JSON><payload>`. The header is an object with a
`kind`; where an array follows it also has `array: {"dtype": ..., "shape": [...]}`.
"""

import json
import math
import os
import select
import struct
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PREFIX = struct.Struct("<IQ")
MAX_HEADER = 64 * 1024
DTYPES: dict[str, np.dtype[Any]] = {
    "uint8": np.dtype(np.uint8), "int64": np.dtype("<i8"), "float32": np.dtype("<f4"),
}  # fmt: skip
MAX_DIMENSIONS = 4


class ProtocolError(Exception):
    """The other side sent something that is not a frame, or a frame that was not due."""


class Frame(NamedTuple):
    """One message: its kind, its fields, and the array that came with it."""

    kind: str
    fields: dict[str, Any]
    array: NDArray[Any] | None = None


class Channel:
    """Sends and receives frames over a pair of pipe ends, each call with an optional deadline.

    Both descriptors are made non-blocking, so that a silent or a deaf other side can never hold up this one for longer
    than the deadline. Raises TimeoutError at the deadline, EOFError where the other side is gone, ProtocolError where
    what came is not a frame.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        for fd in (read_fd, write_fd):
            os.set_blocking(fd, False)

    def send(
        self,
        kind: str,
        fields: Mapping[str, Any] | None = None,
        array: NDArray[Any] | None = None,
        *,
        deadline: float | None = None,
    ) -> None:
        """Send one frame; `deadline` is a time of `time.monotonic()`."""
        header: dict[str, Any] = {**(fields or {}), "kind": kind}
        payload = memoryview(b"")
        if array is not None:
            array = np.ascontiguousarray(array)
            header["array"] = {"dtype": array.dtype.name, "shape": list(array.shape)}
            payload = memoryview(array.reshape(-1).view(np.uint8).data)
        text = json.dumps(header).encode()
        if len(text) > MAX_HEADER:
            raise ProtocolError(f"a header of {len(text)} bytes is longer than {MAX_HEADER}")
        self._write(memoryview(PREFIX.pack(len(text), len(payload)) + text), deadline)
        self._write(payload, deadline)

    def receive(self, *, max_payload: int, deadline: float | None = None) -> Frame:
        """Receive one frame whose array has at most `max_payload` bytes."""
        if deadline is not None and time.monotonic() > deadline:  # a flood of frames must not outrun the clock
            raise TimeoutError
        header_length, payload_length = PREFIX.unpack(self._read(PREFIX.size, deadline).data)
        if header_length > MAX_HEADER or payload_length > max_payload:
            raise ProtocolError(f"a frame of {header_length} + {payload_length} bytes is larger than allowed")
        return parse(bytes(self._read(header_length, deadline)), self._read(payload_length, deadline))

    def _write(self, data: memoryview, deadline: float | None) -> None:
        while data:
            try:
                data = data[os.write(self._write_fd, data) :]
            except BlockingIOError:
                _wait(self._write_fd, select.POLLOUT, deadline)
            except BrokenPipeError:
                raise EOFError("the other side is gone") from None

    def _read(self, length: int, deadline: float | None) -> NDArray[np.uint8]:
        data = np.empty(length, np.uint8)
        view = memoryview(data.data)
        while view:
            try:
                count = os.readv(self._read_fd, [view])
            except BlockingIOError:
                _wait(self._read_fd, select.POLLIN, deadline)
                continue
            if count == 0:
                raise EOFError("the other side is gone")
            view = view[count:]
        return data


def parse(header: bytes, payload: NDArray[np.uint8]) -> Frame:
    """Make a frame of header and payload; raises ProtocolError unless every part is as it should be."""
    try:
        fields = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("a header is not JSON") from error
    if not isinstance(fields, dict) or not isinstance(kind := fields.pop("kind", None), str):
        raise ProtocolError("a header without a kind")
    described = fields.pop("array", None)
    if described is None:
        if len(payload):
            raise ProtocolError("a payload that the header does not describe")
        return Frame(kind, fields)
    dtype, shape = _described(described)
    if math.prod(shape) * dtype.itemsize != len(payload):
        raise ProtocolError(f"an array of {shape} {dtype} does not have {len(payload)} bytes")
    try:
        return Frame(kind, fields, payload.view(dtype).reshape(shape))
    except ValueError as error:  # no bytes, and dimensions beyond what an array can have
        raise ProtocolError("an array with an impossible shape") from error


def _described(described: object) -> tuple[np.dtype[Any], tuple[int, ...]]:
    if not isinstance(described, dict):
        raise ProtocolError("an array that is not described by an object")
    dtype, shape = described.get("dtype"), described.get("shape")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ProtocolError(f"an array of another dtype than {' or '.join(DTYPES)}")
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_DIMENSIONS
        or not all(type(size) is int and 0 <= size < 2**40 for size in shape)
    ):
        raise ProtocolError("an array with an impossible shape")
    return DTYPES[dtype], tuple(int(size) for size in shape)


def _wait(fd: int, event: int, deadline: float | None) -> None:
    poll = select.poll()
    poll.register(fd, event)
    timeout = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
    if not poll.poll(timeout):
        raise TimeoutError
