"""The record: the JSON of one submission on one track. `docs/record.schema.json` is made from these models."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness.audits import Audits
from harness.errors import UserError
from harness.migrations import Damaged, TooNew, newest_form
from harness.models.facts import kept, tamed
from harness.plain_files import read_plain
from harness.record_checks import impossible
from harness.sitting import write_whole
from harness.track import InsidePath
from harness.wording import first_problem

SCHEMA_VERSION = 2
"""`harness/migrations` brings older ones here."""
MAX_RECORD = 8 * 1024**2


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RateRecord(_Part):
    """A share of images. Value and interval are null where nothing was measured."""

    value: float | None
    count: int
    total: int
    interval: tuple[float, float] | None
    """Wilson's, 95 %."""


def _possible(found: dict[str, Any]) -> dict[str, Any]:
    if found != kept(tamed(found)):
        raise ValueError("no evaluation would have kept that")
    return found


Found = Annotated[dict[str, Any], AfterValidator(_possible)]
Rates = dict[str, RateRecord]
"""By metric name: clean_accuracy, false_flag_rate, detection_rate, attack_success_rate, recovered_accuracy."""


class TriggerRecord(_Part):
    """What became of the images with one trigger."""

    target: int
    rates: Rates
    """Over the images that carry their trigger."""
    outcomes: dict[str, int | None]
    """How many were flagged, sent to the target, recovered, other or invalid; and how many were left out."""
    whole_file: Rates | None
    """Over all images of the file, comparable with published figures; null where all images carry their trigger."""
    without_trigger: int
    """Images of the file that carry no trigger."""


class ScoreRecord(_Part):
    """S = 100 (U + P - 1) and its parts; null for a clean twin, but for the utility."""

    value: float | None
    utility: float
    removal: float | None
    protection: float | None


class BaselineRecord(_Part):
    """The unrepaired BadNet on the same images."""

    clean_accuracy: float
    attack_success_rate: dict[str, float]


class LatencyRecord(_Part):
    """Seconds for one image sent alone."""

    p50: float
    p95: float
    p99: float
    images: int


class TimingRecord(_Part):
    """The host's clock readings; null where the submission did not get so far."""

    start_seconds: float | None
    load_seconds: float | None
    repair_seconds: float | None
    """Of a live defense, in place of load_seconds."""
    exam_seconds: float | None
    images_per_second: float | None
    """Over all batches but the first, which pays for warming up."""
    latency: LatencyRecord | None
    peak_memory_bytes: int | None


class AuditsRecord(Audits):
    """What was asked again, and what it says."""

    verdicts: list[str]
    """"stochastic", "batch-dependent", "base-rate-dependent": shown on the board where the submission did not declare it."""


class FailureRecord(_Part):
    """Why this BadNet got its worst case."""

    stage: str
    """submission, start, load, repair or answer."""
    reason: str


class BadNetRecord(_Part):
    """One submission on one BadNet."""

    score: ScoreRecord
    rates: Rates
    """Of clean images."""
    outcomes: dict[str, int]
    """How many clean images were answered right, wrong, flagged, or not validly."""
    triggers: dict[str, TriggerRecord]
    baseline: BaselineRecord
    timing: TimingRecord
    audits: AuditsRecord
    seed: str
    """Of the secret order, hexadecimal; the submission's own seed is made from it by `submission_seed`."""
    failure: FailureRecord | None
    notes: list[str] = []
    """What the harness noticed: an input scale that fits better, images on which a script crashed."""
    found: Found = {}
    """What a defense states that it found out, such as `targets`; nothing of more than 2,000 characters of JSON."""
    pictures: list[InsidePath] = []
    """What was drawn of it, "runs/<track>/<submission>/<badnet>/<name>.png": as seen from where the folder of runs lies."""


class SubmissionRecord(_Part):
    """Whose record this is."""

    name: str
    authors: list[str]
    description: str
    kind: str
    batch_mode: bool
    stochastic: bool
    marks: list[str] = []
    """Shown on the board: "unverified", "unsafe pickle", "oracle"."""
    digest: str


class TrackRecord(_Part):
    """What was asked."""

    name: str
    classes: int
    digest: str


class TrackScoreRecord(_Part):
    """The mean of S over the BadNets that have a backdoor."""

    value: float
    interval: tuple[float, float] | None
    """95 %, bootstrap over identities."""
    weakest: str
    """The BadNet with the lowest S."""
    draws: int
    seed: int
    detection_share: float


class Provenance(_Part):
    """All that one needs to ask the same again."""

    harness_version: str
    harness_digest: str
    commit: str | None
    """Null where the harness is not a git checkout."""
    dirty: bool | None
    """Whether the checkout had uncommitted changes."""
    python: str
    packages: dict[str, str]
    processor: str
    cores: int
    system: str
    sandbox: str
    gpu: list[str]
    """The GPUs that the submission could use; none unless `--gpu` was said."""
    limits: dict[str, float]
    jobs: int
    batch: int
    files: dict[str, str]
    """sha256 of the track's files that were used."""
    seed: str
    """"drawn" afresh and unknowable, "public" for the published order, or the number that the user chose."""
    started: str
    """UTC, ISO 8601."""
    answers: str
    """sha256 of the answers file that every figure was computed from."""


class Record(_Part):
    """The JSON of one submission on one track: outcomes, score, timing, provenance."""

    schema_version: int = Field(default=SCHEMA_VERSION, ge=SCHEMA_VERSION, le=SCHEMA_VERSION)
    submission: SubmissionRecord
    track: TrackRecord
    score: TrackScoreRecord
    badnets: dict[str, BadNetRecord]
    provenance: Provenance


def write_record(path: Path, record: Record) -> None:
    """Write the record, whole or not at all; raises MachineError."""
    write_whole(path, (record.model_dump_json(indent=1) + "\n").encode())


def read_record(path: Path) -> Record:
    """Read a record, of an older schema too; raises UserError that names the file and the first wrong key."""
    return parse_record(path, read_plain(path, MAX_RECORD))


def parse_record(path: Path, data: bytes) -> Record:
    """The record that the bytes of the file at `path` are; raises UserError as `read_record` does."""
    try:
        record = Record.model_validate_json(newest_form(data, SCHEMA_VERSION))
    except TooNew as version:
        raise UserError(
            f"{path}: schema_version: {version} is newer than this harness, which knows {SCHEMA_VERSION}; update it"
        ) from None
    except Damaged as version:
        raise UserError(
            f"{path}: is no record of its schema_version, {version}; evaluate the submission again"
        ) from None
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}; evaluate the submission again") from error
    if problem := impossible(data, record):
        raise UserError(f"{path}: {problem}; evaluate the submission again")
    return record


def schema() -> dict[str, Any]:
    """The record's JSON schema."""
    return Record.model_json_schema()
