"""Options that several verbs share, and the settings that they amount to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.evaluate import Settings

RESULTS = Path(__file__).resolve().parent.parent / "leaderboard" / "results"

TrackName = Annotated[str, typer.Option("--track", help="A track of datasets/, or a folder with a track.toml.")]
Results = Annotated[Path, typer.Option("--results", help="Folder of records.")]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="BadNets at the same time; 2 unless said, 1 to repair.")
]
SandboxName = Annotated[
    str, typer.Option("--sandbox", help="bubblewrap, landlock, or unconfined: no isolation, marked as such.")
]
Gpu = Annotated[bool, typer.Option("--gpu", help="Let the submission use the machine's GPUs; recorded.")]
Limit = Annotated[
    list[str] | None,
    typer.Option("--limit", help="Any other limit, such as processes=256; docs/security.md has all.", metavar="NAME=N"),
]
Memory = Annotated[float, typer.Option("--memory", help="GiB that one submission may use.", min=0.1)]
RepairSeconds = Annotated[float, typer.Option("--repair-seconds", help="For a defense to repair one BadNet.", min=1)]
BatchSeconds = Annotated[float, typer.Option("--batch-seconds", help="For the answers to one batch.", min=0.1)]
ExamSeconds = Annotated[float, typer.Option("--exam-seconds", help="For all answers on one BadNet.", min=1)]


def settings_of(
    results: Path, jobs: int | None, sandbox: str, memory: float, seed: int | None = None, *,
    gpu: bool = False, limit: list[str] | None = None, cold: int | None = None, **seconds: float,
) -> "Settings":  # fmt: skip
    """The settings of a run; what is left out keeps its default. Raises UserError for an unknown sandbox or limit."""
    from harness.evaluate import Settings
    from harness.invigilator import COLD, Invigilator
    from harness.sandbox import find_sandbox
    from harness.sandbox.limits import MIB, limits_of

    limits = limits_of(limit or [], memory_bytes=int(memory * 1024) * MIB, **seconds)
    invigilator = Invigilator(find_sandbox(sandbox, gpu=gpu), limits, cold=COLD if cold is None else cold)
    return Settings(invigilator=invigilator, results=results, jobs=jobs, seed=seed)
