"""The worker's part in `badnet defend`: what a defense made goes to the host, file after file."""

import dataclasses
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from harness.models.contracts import Predictor
from harness.models.errors import ModelError, in_one_line
from harness.protocol import Channel, Frame
from harness.worker.kinds import defense

PART = 16 * 1024**2
"""Bytes of a file in one frame; both sides go by it."""


def send_saved(predictor: Predictor, start: Frame, channel: Channel) -> None:
    """Have the predictor save itself and send what a submission's table says of it, then its files; raises ModelError."""
    from harness.models.repaired import Saveable  # imports torch

    options = defense.Options.model_validate(start.fields["options"])
    if not isinstance(predictor, Saveable):
        raise ModelError(
            f"{options.entry}: cannot be saved: repair gave a {type(predictor).__name__}, which has no method save(folder)"
        )
    with TemporaryDirectory() as folder:
        try:
            saved = predictor.save(Path(folder))
        except ModelError as error:
            raise ModelError(f"{options.entry}: {error}") from error
        except Exception as error:  # strangers' code may raise anything
            raise ModelError(f"{options.entry}: saving failed ({in_one_line(error)})") from error
        files = sorted(Path(folder).iterdir())
        if odd := [path.name for path in files if path.is_symlink() or not path.is_file()]:
            raise ModelError(f"{options.entry}: saved {odd[0]!r}, which is no plain file")
        fields = {
            "submission_kind": saved["kind"],
            "table": saved["table"],
            "options": _as_used(options, Path(start.fields["root"])),
            "files": [[path.name, path.stat().st_size] for path in files],
        }
        channel.send("saved", json.loads(json.dumps(fields, default=str)))
        for path in files:
            with path.open("rb") as file:
                while part := file.read(PART):
                    channel.send("part", {}, np.frombuffer(part, np.uint8))


def _as_used(options: defense.Options, root: Path) -> dict[str, Any]:
    """Every hyper-parameter, those that were left out too."""
    made: Any = defense.construct(options, root)
    return dataclasses.asdict(made)
