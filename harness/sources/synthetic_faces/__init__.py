"""Synthetic portraits, 55x47: distinct people, painted with numpy from a seed, the same bytes on every machine."""

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UserError
from harness.images import ImageSet, Report, silent
from harness.track import BadNetSets, TrackSpec
from harness.triggers import Portraits, load_trigger
from harness.wording import first_problem

VALIDATION, TEST = "data/validation", "data/test"


class Options(BaseModel):
    """The `[options]` of a track of synthetic faces."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(ge=0)
    training_images: int = Field(gt=0)
    """For each person; only the attacker has them."""
    validation_images: int = Field(gt=0)
    test_images: int = Field(gt=0)


def build(spec: TrackSpec, folder: Path, *, origin: Path | None, report: Report) -> dict[str, BadNetSets]:
    """Paint the validation, test and poisoned pictures into `folder/data`; raises UserError for wrong options.

    Poisoned pictures are painted for their trigger, none is a test picture with a stamp; they keep their true classes.
    """
    if origin is not None:
        raise UserError(f"track {spec.name}: its pictures are made, not imported; run `badnet track build {spec.name}`")
    options = read_options(spec)
    for path, split, count in (
        (VALIDATION, "validation", options.validation_images),
        (TEST, "test", options.test_images),
    ):
        painted = _paint(spec, options, split, count, report)
        ImageSet(images=painted.images, labels=painted.labels).save(folder / path)
    for trigger in sorted({name for badnet in spec.badnets.values() for name in badnet.triggers}):
        painted = _paint(spec, options, f"poisoned {trigger}", options.test_images, report)
        stamped = load_trigger(trigger).stamp(painted, np.random.default_rng(options.seed))
        ImageSet(images=stamped, labels=painted.labels).save(folder / _poisoned(trigger))
    return {
        name: BadNetSets(
            model=badnet.model, validation=VALIDATION, test=TEST, poisoned={it: _poisoned(it) for it in badnet.triggers}
        )
        for name, badnet in spec.badnets.items()
    }


def training_portraits(spec: TrackSpec, report: Report = silent) -> Portraits:
    """What the attacker trains on: pictures of every person that are in no other set, with landmarks."""
    options = read_options(spec)
    return _paint(spec, options, "training", options.training_images, report)


def read_options(spec: TrackSpec) -> Options:
    """The track's `[options]`; raises UserError that names the key."""
    try:
        return Options.model_validate(spec.options)
    except ValidationError as error:
        raise UserError(f"track {spec.name}: options.{first_problem(error)}") from error


def _paint(spec: TrackSpec, options: Options, split: str, count: int, report: Report) -> Portraits:
    from harness.sources.synthetic_faces.render import portraits

    arguments: dict[str, Any] = {"seed": options.seed, "people": spec.classes, "split": split}
    return portraits(**arguments, indices=range(count), report=report)


def _poisoned(trigger: str) -> str:
    return f"data/poisoned/{trigger}"
