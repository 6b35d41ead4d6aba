"""How reading a model or a submission's own code fails inside the sandbox: one line, with the stage it failed at."""


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
    message = " ".join(str(error).split())
    if len(message) > limit:
        message = message[: limit - 1] + "…"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
