"""What one sitting may use."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UserError
from harness.wording import did_you_mean, first_problem

MIB = 1024**2
GIB = 1024 * MIB
SHARED_MEMORY = 64 * MIB
"""Of a sandbox's own /dev/shm."""


class Limits(BaseModel):
    """Seconds, bytes and numbers that one submission may use on one BadNet; part of every record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_seconds: float = Field(default=120, gt=0)
    """Until the worker answers: interpreter and harness code."""
    load_seconds: float = Field(default=600, gt=0)
    """Until the model is loaded."""
    repair_seconds: float = Field(default=3600, gt=0)
    """Until a defense has repaired the BadNet."""
    batch_seconds: float = Field(default=120, gt=0)
    """For one batch."""
    exam_seconds: float = Field(default=7200, gt=0)
    """For all batches together."""
    cpu_seconds: float = Field(default=24 * 3600, gt=0)
    """Of all cores together, from the start to the end."""
    memory_bytes: int = Field(default=6 * GIB, gt=0)
    """Resident memory of the whole process tree."""
    scratch_bytes: int = Field(default=GIB, gt=0)
    """Files in the private /tmp, all together and each."""
    processes: int = Field(default=2048, gt=0)
    """Processes and threads at the same time."""
    open_files: int = Field(default=1024, ge=64)
    """Files, pipes and sockets that one process has open."""
    log_bytes: int = Field(default=MIB, ge=1024)
    """Kept of what the submission prints; the rest is read and thrown away."""

    @property
    def memory_exceeded(self) -> str:
        """What is said of a submission that used more memory."""
        return f"used more than {self.memory_bytes / GIB:.3g} GiB of memory"

    def of_a_process(self, *, counts_anew: bool) -> dict[str, int]:
        """What the kernel can count for each process. counts_anew: a user's processes are counted for the sandbox alone."""
        kernel = {"core_bytes": 0, "file_bytes": self.scratch_bytes, "open_files": self.open_files}
        return kernel | ({"processes": self.processes} if counts_anew else {})


def limits_of(given: list[str], **known: float) -> Limits:
    """The usual limits, but for those known and those given as "name=number"; raises UserError that names the key."""
    values: dict[str, Any] = dict(known)
    for words in given:
        name, _, number = words.partition("=")
        if name not in Limits.model_fields:
            raise UserError(f"--limit {words!r}: no such limit; {did_you_mean(name, Limits.model_fields)}")
        values[name] = number
    try:
        return Limits.model_validate(values)
    except ValidationError as error:
        raise UserError(f"--limit {first_problem(error)}") from error
