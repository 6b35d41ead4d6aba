"""What a defense saved, as it comes out of the sandbox: a submission's table and files, of which nothing is believed."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tomli_w
from pydantic import ValidationError

from harness.conversation import Conversation, Misbehaviour
from harness.models.facts import tamed
from harness.wording import first_problem, harmless, one_of
from harness.worker.kinds import find_kind
from harness.worker.saving import PART

STAGE = "save"
KINDS = ("model", "pair", "predictor")
FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
REPORT = "report.json"
OWN_FILES = ("submission.toml", REPORT)
"""What the host writes beside them."""
MAX_FILES = 16
MAX_BYTES = 512 * 1024**2


class Fetched(NamedTuple):
    """What a submission is to say of the files: its kind and a BadNet's table.

    paths: the table's keys that begin with a file's name. options: the defense's, those that were left out too.
    """

    kind: str
    table: dict[str, Any]
    paths: tuple[str, ...]
    options: dict[str, Any]


def fetch(talk: Conversation, folder: Path, *, deadline: float, late: str) -> Fetched:
    """Have the worker save what it repaired, and write the files into `folder`; none of them is opened here.

    late: what is said of a worker that has not sent all by `deadline`. Raises Misbehaviour.
    """
    talk.say(STAGE, "save", {}, deadline=deadline, late=late)
    told = talk.hear(STAGE, "saved", deadline=deadline, late=late).fields
    try:
        sizes = _sizes(told.get("files"))
        fetched = Fetched(*_table(told, sizes), tamed(told.get("options")))
    except ValueError as error:
        raise Misbehaviour(STAGE, str(error)) from None
    for name, size in sizes.items():
        left = size
        with (folder / name).open("xb") as file:
            while left:
                part = talk.hear(STAGE, "part", deadline=deadline, late=late, max_payload=min(left, PART)).array
                if part is None or part.dtype != np.uint8 or not part.nbytes:
                    raise Misbehaviour(STAGE, f"sent no bytes where those of {name!r} were due")
                file.write(part.tobytes())
                left -= part.nbytes
    return fetched


def _sizes(files: Any) -> dict[str, int]:
    if not isinstance(files, list) or not 0 < len(files) <= MAX_FILES:
        raise ValueError(f"saved no files, or more than {MAX_FILES}")
    sizes: dict[str, int] = {}
    for file in files:
        name, size = file if isinstance(file, list) and len(file) == 2 else (file, None)
        if not isinstance(name, str) or not FILE_NAME.fullmatch(name) or name in OWN_FILES or name in sizes:
            raise ValueError(
                f"saved a file {harmless(repr(name), 60)}; a name has A-Z, a-z, 0-9, -, _ and ., and is not "
                f"{' or '.join(OWN_FILES)}"
            )
        if type(size) is not int or size < 0 or sum(sizes.values()) + size > MAX_BYTES:
            raise ValueError(f"saved more than {MAX_BYTES // 1024**2} MiB")
        sizes[name] = size
    return sizes


def _table(told: dict[str, Any], saved: Iterable[str]) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    name, table = told.get("submission_kind"), told.get("table")
    if name not in KINDS:
        raise ValueError(f"saved a submission of kind {harmless(repr(name), 60)}; {one_of(KINDS)}")
    try:
        if tamed(table) != table or not isinstance(table, dict):
            raise TypeError
        tomli_w.dumps(table)
    except (TypeError, ValueError):
        raise ValueError("its table holds what cannot stand in a submission.toml") from None
    kind = find_kind(name)
    try:
        options = kind.Options.model_validate(table)
    except ValidationError as error:
        raise ValueError(f"its table: {first_problem(error)}") from None
    files = kind.files(options)
    for key, path in files.items():
        if path not in saved or key not in table:
            raise ValueError(f"its table: {harmless(key, 60)}: names {harmless(repr(path), 60)}, which was not saved")
    return name, table, tuple(files)
