"""The page of a submission: what became of every kind of image, times, audits, provenance, and how to do it again."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from harness.outcomes import METRICS
from harness.record import BadNetRecord, RateRecord, Record
from harness.tables import COMPANY
from harness.wording import harmless
from leaderboard.boards import Board, Scope, Wanted

SHORT = 120
"""Characters of a finding that a page shows; the record has them all."""
CLEAN_PARTS = ("correct", "wrong", "flagged", "invalid")
POISONED_PARTS = ("flagged", "recovered", "other", "target", "invalid")
"""Outcomes from best to worst, as the bars have them."""


def submission_page(record: Record, made: Mapping[Wanted, Board], pictures: Mapping[str, str]) -> dict[str, Any]:
    """What the page shows. pictures: as the record names them -> their addresses."""
    name, track = record.submission.name, record.track.name
    rows = {it: row for it, board in made.items() if (row := board.by_name.get(name))}
    standing = [{"title": it.scope.title, "by": it.measure, "row": row, "board": made[it]} for it, row in rows.items()]
    return {
        "track": track,
        "submission": record.submission,
        "authors": harmless(", ".join(record.submission.authors), 300),
        "description": harmless(record.submission.description, 1000),
        "row": rows[Wanted(Scope(track))],
        "standing": standing,
        "badnets": [_badnet(badnet, it, pictures) for badnet, it in record.badnets.items()],
        "provenance": _provenance(record),
        "reproduce": f"make evaluate SUBMISSION=submissions/{name} TRACK={track}",
        "rescore": f"badnet rescore leaderboard/results/{track}/{name}.json",
        "commit": record.provenance.commit,
    }


def _badnet(name: str, it: BadNetRecord, pictures: Mapping[str, str]) -> dict[str, Any]:
    bars = [_bar("clean images", it.outcomes, CLEAN_PARTS, tones={"flagged": "alarm"})]
    bars += [
        _bar(f"{trigger} to class {found.target}", found.outcomes, POISONED_PARTS)
        for trigger, found in it.triggers.items()
    ]
    rates = {"clean images": it.rates, **{trigger: found.rates for trigger, found in it.triggers.items()}}
    return {
        "name": name,
        "score": it.score,
        "failure": it.failure and {"stage": harmless(it.failure.stage, 40), "reason": harmless(it.failure.reason)},
        "notes": [harmless(note) for note in it.notes],
        "bars": bars,
        "twin": not it.triggers,
        "rates": [_rate(of, metric, rate) for of, found in rates.items() for metric, rate in found.items()],
        "timing": _timing(it),
        "audits": _audits(it),
        "found": {
            key: harmless(words, SHORT) for key, value in it.found.items() if len(words := json.dumps(value)) <= SHORT
        },
        "pictures": [
            {"address": pictures[path], "name": path.rsplit("/", 1)[-1]} for path in it.pictures if path in pictures
        ],
    }


def _bar(
    what: str,
    outcomes: Mapping[str, int | None],
    parts: tuple[str, ...],
    tones: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    counts = {part: outcomes.get(part) or 0 for part in parts}
    total = sum(counts.values())
    shares = [
        {"kind": part, "tone": tones.get(part, part), "count": count, "percent": 100 * count / total}
        for part, count in counts.items()
        if count and total
    ]
    words = ", ".join(f"{it['kind']} {it['percent']:.1f} %" for it in shares)
    return {"what": what, "total": total, "shares": shares, "words": words or "no image"}


def _rate(of: str, metric: str, rate: RateRecord) -> dict[str, Any]:
    return {
        "of": of, "title": METRICS[metric].title, "count": rate.count, "total": rate.total,
        "value": None if rate.value is None else 100 * rate.value,
        "interval": rate.interval and [100 * bound for bound in rate.interval],
    }  # fmt: skip


def _timing(it: BadNetRecord) -> list[tuple[str, str]]:
    timing = it.timing
    seconds = {
        "start": timing.start_seconds, "load": timing.load_seconds, "repair": timing.repair_seconds, "exam": timing.exam_seconds,
    }  # fmt: skip
    shown = [(what, f"{value:.1f} s") for what, value in seconds.items() if value is not None]
    if timing.images_per_second is not None:
        shown.append(("images a second", f"{timing.images_per_second:,.0f}"))
    if timing.latency is not None:
        shown.append(("one image alone, median", f"{1000 * timing.latency.p50:.1f} ms"))
        shown.append(("one image alone, slowest of a hundred", f"{1000 * timing.latency.p99:.1f} ms"))
    if timing.peak_memory_bytes is not None:
        shown.append(("peak memory", f"{timing.peak_memory_bytes / 1e6:,.0f} MB"))
    return shown


def _audits(it: BadNetRecord) -> list[tuple[str, str]]:
    shown = []
    for name, words in COMPANY.items():
        audit = getattr(it.audits, name)
        if audit is not None:
            shown.append(
                (
                    words if words.startswith("asked") else f"asked {words}",
                    f"{audit.changed:,} of {audit.images:,} answers changed",
                )
            )
    if it.audits.cold is not None:
        shown.append(
            (
                "asked in new processes",
                f"{it.audits.cold.verdict}: {it.audits.cold.differed} of {it.audits.cold.images} differed",
            )
        )
    if it.audits.failed:
        shown.append(("audit failed", harmless(it.audits.failed, 200)))
    return shown


def _provenance(record: Record) -> list[tuple[str, str]]:
    it = record.provenance
    facts = {
        "examined": it.started, "harness": it.harness_version, "commit": it.commit or "not from a git checkout",
        "checkout": {None: "", True: "had uncommitted changes", False: "as committed"}[it.dirty],
        "submission's digest": record.submission.digest, "track's digest": record.track.digest,
        "answers' digest": it.answers, "sandbox": it.sandbox, "order of the images": it.seed, "python": it.python,
        "packages": ", ".join(f"{name} {version}" for name, version in it.packages.items()),
        "processor": f"{it.processor}, {it.cores} cores", "system": it.system, "GPU": ", ".join(it.gpu) or "none",
        "limits": ", ".join(f"{name} {value:,.10g}" for name, value in it.limits.items()),
    }  # fmt: skip
    return [(name, harmless(str(value), 400)) for name, value in facts.items() if value]
