"""What one sitting may use."""

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024**2


class Limits(BaseModel):
    """Seconds and bytes that one submission may use on one BadNet; part of every record."""

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
    memory_bytes: int = Field(default=6 * 1024 * MIB, gt=0)
    """Resident memory of the whole process tree."""
    scratch_bytes: int = Field(default=1024 * MIB, gt=0)
    """Files in the private /tmp."""
    log_bytes: int = Field(default=MIB, gt=0)
    """Kept of what the submission prints; the rest is read and thrown away."""
