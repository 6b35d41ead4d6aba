"""The two ways a command can fail: the user's input is wrong, or the machine let us down."""


class HarnessError(Exception):
    """A failure that is told in one line: what, which value, and the fix."""

    exit_code = 3


class UserError(HarnessError):
    """The user's input is wrong (exit code 2)."""

    exit_code = 2


class MachineError(HarnessError):
    """The machine failed: no sandbox, no disk, no memory (exit code 3)."""

    exit_code = 3
