"""The page of the baselines: every one's figures from its records, and what was published beside."""

import json
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import NamedTuple

from harness.record import BadNetRecord, Rates, Record
from harness.submission import Submission
from harness.wording import harmless
from leaderboard.baseline_notes import HyperParameter, Notes, Published, hyper_parameters
from leaderboard.contenders import NULL, contender
from leaderboard.render.markdown import escape

NOT_MEASURED = "–"
NOT_HERE = "not evaluated here"
FAILED = "failed"
CLEAN = {"CA": "clean_accuracy", "FPR": "false_flag_rate"}
POISONED = {"DR": "detection_rate", "ASR": "attack_success_rate"}
COMPARED = {"CA": "clean_accuracy", "ASR": "attack_success_rate", "DR": "detection_rate"}
Records = Mapping[str, Record]
"""By the name of the submission."""


class Baselines(NamedTuple):
    """All that the page is made from: notes, the baselines' folders by name, and records by track and name."""

    notes: Notes
    submissions: Mapping[str, Submission]
    records: Mapping[str, Records]


def page(given: Baselines) -> str:
    """The page as Markdown, in which a stranger's words are only words."""
    parts = ["# Baselines", given.notes.introduction]
    for track, about in given.notes.tracks.items():
        parts += [f"## {escape(track)}", about, *_track(given, given.records.get(track, {}))]
    parts += ["## Beside the published figures", given.notes.beside, *_beside(given)]
    parts += ["## Where each hyper-parameter comes from", given.notes.origins, _origins(given)]
    return "\n\n".join(parts) + "\n"


def _track(given: Baselines, records: Records) -> Iterable[str]:
    ordered = {name: records[name] for name in sorted(records, key=lambda name: _place(records[name]))}
    missing = [name for name in given.submissions if name not in records]
    yield _table(
        ("defense", "score", "weakest BadNet", "CA", "FPR", "DR", "ASR", "repair, s", "marks"),
        [_summary(name, record, given) for name, record in ordered.items()]
        + [[name, NOT_HERE, *[NOT_MEASURED] * 6, ", ".join(_marks(name, given))] for name in missing],
    )
    for badnet in _union(record.badnets for record in ordered.values()):
        figures = {name: record.badnets[badnet] for name, record in ordered.items() if badnet in record.badnets}
        triggers = _union(it.triggers for it in figures.values())
        for trigger in triggers:
            yield from _by_trigger(badnet, trigger, figures)
        if not triggers:
            yield f"### {escape(badnet)}: no backdoor"
            yield _table(("defense", *CLEAN), [[name, *_measured(it, it.rates, CLEAN)] for name, it in figures.items()])
    yield from _found(ordered)


def _place(record: Record) -> tuple[float, str]:
    return -record.score.value, record.submission.name


def _summary(name: str, record: Record, given: Baselines) -> list[str]:
    score = record.score
    backdoored = [it for it in record.badnets.values() if it.triggers]
    seconds = [it.timing.repair_seconds for it in record.badnets.values() if it.timing.repair_seconds is not None]
    # As the score does: the mean of a BadNet's triggers first, then that of the BadNets.
    poisoned = [
        _mean(_mean(_value(it.rates, m) for it in b.triggers.values()) for b in backdoored) for m in POISONED.values()
    ]
    return [
        name,
        f"{score.value:.1f}" + (f" ({score.interval[0]:.1f} to {score.interval[1]:.1f})" if score.interval else ""),
        f"{score.weakest} {record.badnets[score.weakest].score.value:.1f}",
        *(_percent(_mean(_value(it.rates, metric) for it in backdoored)) for metric in CLEAN.values()),
        *map(_percent, poisoned),
        f"{fmean(seconds):.1f}" if seconds else NOT_MEASURED,
        ", ".join([*_marks(name, given, record), *contender(record).badges[1:]]),
    ]  # fmt: skip


def _marks(name: str, given: Baselines, record: Record | None = None) -> list[str]:
    submission = given.submissions[name]
    marks = {
        NULL: given.notes.baselines[name].null,
        "oracle": record is None and (submission.spec.model_extra or {}).get("oracle", False),
        "outdated": record is not None and record.submission.digest != submission.digest,
    }
    return [mark for mark, shown in marks.items() if shown]


def _by_trigger(badnet: str, trigger: str, figures: Mapping[str, BadNetRecord]) -> Iterable[str]:
    having = {name: it for name, it in figures.items() if trigger in it.triggers}
    targets = sorted({it.triggers[trigger].target for it in having.values()})
    whole = any(it.triggers[trigger].whole_file for it in having.values())
    rows = []
    for name, it in having.items():
        found = it.triggers[trigger]
        row = [name, *_measured(it, it.rates, CLEAN), *_measured(it, found.rates, POISONED)]
        rows.append(row + (_measured(it, found.whole_file or found.rates, POISONED) if whole else []))
    yield f"### {escape(badnet)}: {escape(trigger)} to {', '.join(map(str, targets))}"
    beside = [f"{rate}, whole file" for rate in POISONED] if whole else []
    yield _table(("defense", *CLEAN, *POISONED, *beside), rows)


def _found(records: Records) -> Iterable[str]:
    telling = [name for name, it in records.items() if any("targets" in badnet.found for badnet in it.badnets.values())]
    if not telling:
        return
    rows = []
    for badnet in _union(records[name].badnets for name in telling):
        here = {name: records[name].badnets[badnet] for name in telling if badnet in records[name].badnets}
        true = sorted({trigger.target for it in here.values() for trigger in it.triggers.values()})
        rows.append([badnet, _targets(true), *(_stated(here.get(name)) for name in telling)])
    yield "### Targets found"
    yield _table(("BadNet", "true targets", *telling), rows)


def _stated(badnet: BadNetRecord | None) -> str:
    if badnet is None or "targets" not in badnet.found:
        return NOT_MEASURED
    found = badnet.found["targets"]
    if isinstance(found, list) and all(type(target) is int for target in found):
        return _targets(sorted(found))
    return harmless(json.dumps(found), 60)


def _targets(targets: list[int]) -> str:
    return ", ".join(map(str, targets)) or "none"


def _beside(given: Baselines) -> Iterable[str]:
    headings = [f"{rate} {whose}" for rate in COMPARED for whose in ("published", "here")]
    rows = []
    for name, baseline in given.notes.baselines.items():
        for it in baseline.published:
            record = given.records.get(it.track, {}).get(name)
            theirs = [
                NOT_MEASURED if figure is None else f"{figure:g}"
                for figure in (getattr(it, m) for m in COMPARED.values())
            ]
            ours = [NOT_HERE] * len(theirs) if record is None else _ours(it, record.badnets.get(it.badnet))
            pairs = [cell for both in zip(theirs, ours, strict=True) for cell in both]
            rows.append([name, it.source, it.track, it.badnet, it.trigger or "all", *pairs])
    yield _table(("defense", "source", "track", "BadNet", "trigger", *headings), rows)
    yield "\n".join(f"- {name}: {it.differs}" for name, it in given.notes.baselines.items() if it.differs)


def _ours(published: Published, badnet: BadNetRecord | None) -> list[str]:
    if badnet is None:
        return [NOT_HERE] * len(COMPARED)
    chosen = [it for name, it in badnet.triggers.items() if published.trigger in (None, name)]
    rates = [it.whole_file or it.rates for it in chosen]
    poisoned = {metric: _mean(_value(it, metric) for it in rates) for metric in POISONED.values()}
    known = poisoned | {"clean_accuracy": _value(badnet.rates, "clean_accuracy")}
    return [_percent(known[metric]) for metric in COMPARED.values()]


def _origins(given: Baselines) -> str:
    # One row where several baselines share the code and the value.
    rows: dict[HyperParameter, list[str]] = {}
    for name, submission in given.submissions.items():
        for it in hyper_parameters(submission, given.notes):
            rows.setdefault(it, []).append(name)
    return _table(
        ("defense", "hyper-parameter", "value", "origin"),
        [[", ".join(names), it.name, it.value, it.origin] for it, names in rows.items()],
    )


def _union(names: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for some in names for name in some))


def _value(rates: Rates, metric: str) -> float | None:
    return rates[metric].value if metric in rates else None


def _mean(values: Iterable[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return fmean(measured) if measured else None


def _percent(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{100 * value:.2f}"


def _measured(badnet: BadNetRecord, rates: Rates, metrics: Mapping[str, str]) -> list[str]:
    """In %; of a submission that failed there are no figures but the worst case, which says nothing of a defense."""
    return [FAILED if badnet.failure else _percent(_value(rates, metric)) for metric in metrics.values()]


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(headings)
    lines = [[escape(harmless(cell)) for cell in row] for row in (heads, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], ["---"] * len(heads), *lines[1:]])
