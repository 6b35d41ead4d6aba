"""How reading a model or a submission's own code fails inside the sandbox: one line, with the stage it failed at."""

import re

COLOURS = re.compile("\x1b\\[[0-9;]*m")


class ModelError(Exception):
    """A failure told in one line: which file, which value, and the fix.

    stage: "load" (a model file), "import" (the submission's code), "construct" (its class), "repair" (a defense at
    work) or "answer" (images were asked about).
    """

    def __init__(self, message: str, *, stage: str = "load") -> None:
        super().__init__(message)
        self.stage = stage


def in_one_line(error: BaseException, limit: int = 300) -> str:
    """A library's exception as "Type: message", on one line, at most `limit` characters of message."""
    message = one_line(str(error), limit)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def one_line(text: str, limit: int = 300) -> str:
    """A text on one line, without colours; of a longer one the beginning and, as the cause stands there, the end."""
    line = " ".join(COLOURS.sub("", text).split())
    if len(line) <= limit:
        return line
    start = limit // 3
    return f"{line[:start]} … {line[start + 3 - limit :]}"
