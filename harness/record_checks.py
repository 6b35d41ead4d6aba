"""What a record must be beyond the types of its values, before anything of it is shown, ranked or computed with."""

import json
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.outcomes import METRICS
from harness.track import NAME
from harness.wording import harmless

if TYPE_CHECKING:
    from harness.record import Record

SEED = r"[0-9a-f]{1,40}"
CLOCKS = {"start_seconds", "load_seconds", "repair_seconds", "exam_seconds"}
LONGEST = 1e9
MOST_ASKED_AGAIN = 100_000
"""Images of one audit: the exact tests that a rescoring repeats take a second for so many, and hours for millions."""


def impossible(data: bytes, record: "Record") -> str | None:
    """The first thing that no evaluation would have written, as "key: what"; None where there is none.

    data: the record's JSON, which may say the same key twice: a reader would see one value, the board another.
    """
    try:
        json.loads(data, object_pairs_hook=_once)
    except _Twice as key:
        return f"{harmless(str(key), 60)}: stands there twice"
    return next((f"{harmless(key, 100)}: {what}" for key, what in _problems(record)), None)


class _Twice(Exception):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(key)
        found[key] = value
    return found


def _problems(record: "Record") -> Iterator[tuple[str, str]]:
    names = {"submission.name": record.submission.name, "submission.kind": record.submission.kind}
    names |= {"track.name": record.track.name} | {f"badnets.{name}": name for name in record.badnets}
    names |= {f"badnets.{of}.triggers.{name}": name for of, it in record.badnets.items() for name in it.triggers}
    yield from ((key, "is no name of a-z, 0-9, - and _") for key, name in names.items() if not re.fullmatch(NAME, name))
    for name, badnet in record.badnets.items():
        if not re.fullmatch(SEED, badnet.seed):
            yield f"badnets.{name}.seed", "is no hexadecimal number"
        audits = {audit: counts for audit, counts in badnet.audits.model_dump().items() if isinstance(counts, dict)}
        for audit in (audit for audit, counts in audits.items() if counts["images"] > MOST_ASKED_AGAIN):
            yield f"badnets.{name}.audits.{audit}.images", f"is more than {MOST_ASKED_AGAIN:,}"
        for clock, seconds in badnet.timing.model_dump(include=CLOCKS).items():
            if seconds is not None and not 0 <= seconds <= LONGEST:
                yield f"badnets.{name}.timing.{clock}", "is no time"
        rates = [badnet.rates, *(it.rates for it in badnet.triggers.values())]
        rates += [it.whole_file for it in badnet.triggers.values() if it.whole_file]
        for metric in {metric for given in rates for metric in given} - METRICS.keys():
            yield f"badnets.{name}.rates.{metric}", "is no metric"
    weakest = record.badnets.get(record.score.weakest)
    if weakest is None or weakest.score.value is None:
        yield "score.weakest", "is no BadNet with a score"
    if found := _impossible_number(record.model_dump(exclude={"badnets": {"__all__": {"found"}}})):
        yield found.key, found.what


class _Found(NamedTuple):
    key: str
    what: str


def _impossible_number(value: Any) -> _Found | None:
    """The first count below 0, or figure that is no finite number; a board reads a thousand records, so this is quick."""
    if isinstance(value, dict | list | tuple):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if not isinstance(inner, str) and (found := _impossible_number(inner)):
                return _Found(f"{name}.{found.key}".rstrip("."), found.what)
    elif isinstance(value, float):
        if not math.isfinite(value):
            return _Found("", f"{value} is no figure")
    elif isinstance(value, int) and not 0 <= value < 2**63:
        return _Found("", "is no count")
    return None
