"""Fuzzing of frames that follows which lines an input reaches; needs atheris: `python -m tests.fuzz.guided CORPUS`."""

import sys
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["harness.protocol"]):
    from harness.protocol import ProtocolError
    from tests.fuzz.frames import read_frame


def try_one(data: bytes) -> None:
    """Read one input; whatever it raises beyond the allowed ends the run."""
    with suppress(ProtocolError, EOFError, TimeoutError):
        read_frame(data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()
