"""A record as a table for the terminal, and as Markdown."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rich import box
from rich.markup import escape
from rich.table import Table
from tabulate import tabulate

from harness.audits import Flags
from harness.grading import grade_badnet
from harness.record import AuditsRecord, BadNetRecord, RateRecord, Record
from harness.sitting import Sitting
from harness.track import Track
from harness.wording import harmless

HEADINGS = ("BadNet", "CA", "FPR", "DR", "ASR", "RA", "U", "R", "P", "S")
MEANINGS = """CA clean accuracy, FPR false-flag rate, DR N+1 detection rate,
ASR attack success rate, RA recovered accuracy, all in %;
U utility kept, R attack removed, P protection; S = 100 (U + P - 1)"""
COMPANY = {
    "all_clean": "all clean",
    "mostly_clean": "mostly clean",
    "alone": "alone",
    "reordered": "in another order",
    "duplicates": "beside copies",
    "again": "asked the same again",
    "same_seed": "from the same seed",
}
"""The audits in words; the two mixes first."""
NOT_MEASURED = "–"


class Row(NamedTuple):
    """One line of the table: a BadNet's own figures, or those of one of its triggers."""

    badnet: str
    depth: int
    cells: tuple[str, ...]


def rows(record: Record) -> Iterator[Row]:
    """The lines of a record's table: each BadNet, then its triggers, each with its whole file where that differs."""
    for name, badnet in record.badnets.items():
        yield _row(name, 0, name, _own(badnet))
        for trigger, figures in badnet.triggers.items():
            yield _row(name, 1, f"{trigger} -> {figures.target}", _rates(figures.rates))
            if figures.whole_file:
                yield _row(name, 2, "whole file", _rates(figures.whole_file))


def table(record: Record) -> Table:
    """The record for a terminal of 80 columns or more."""
    marks = f" ({', '.join(record.submission.marks)})" if record.submission.marks else ""
    made = Table(
        title=f"{record.submission.name} on {record.track.name}{marks}", title_justify="left", header_style="bold",
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for number, heading in enumerate(HEADINGS):
        if number == 0:
            made.add_column(heading, overflow="fold", min_width=16)
        else:
            made.add_column(heading, justify="right", no_wrap=True, min_width=5)
    for row in rows(record):
        failed = record.badnets[row.badnet].failure is not None
        made.add_row(
            "  " * row.depth + escape(row.cells[0]),
            *row.cells[1:],
            style="red" if failed else ("bold", "", "dim")[row.depth],
        )
    return made


def failures(record: Record) -> Iterator[str]:
    """One line for each BadNet that the submission failed on."""
    for name, badnet in record.badnets.items():
        if badnet.failure:
            reason = harmless(badnet.failure.reason, 300)
            yield f"{name} is graded as its worst case: {badnet.failure.stage}: {reason}"


def notes(record: Record) -> Iterator[str]:
    """What the harness noticed, one line each; the same words of several BadNets once."""
    said: dict[str, list[str]] = {}
    for name, badnet in record.badnets.items():
        cold = badnet.audits.cold
        if cold and cold.differed:
            words = f"{cold.differed} of {cold.images} answers differed in new processes: {cold.verdict}"
            said.setdefault(words, []).append(name)
        for words in audited(badnet.audits):
            said.setdefault(words, []).append(name)
        for words in badnet.notes:
            said.setdefault(harmless(words, 300), []).append(name)
    return (f"{', '.join(names)}: {words}" for words, names in said.items())


def audited(audits: AuditsRecord) -> Iterator[str]:
    """What the verdicts of the audits rest on, in one line, and why audits failed, in another."""
    if audits.verdicts:
        company = [(words, getattr(audits, name)) for name, words in COMPANY.items()]
        changed = [f"{audit.changed} of {audit.images} {words}" for words, audit in company if audit]
        rates = [
            f"{rate} {_percent(flags.exam, flags)} -> {_percent(flags.again, flags)} {words}"
            for rate, kind in (("FPR", "clean"), ("DR", "poisoned"))
            for words, audit in company[:2]
            if audit and (flags := getattr(audit, kind))
        ]
        figures = ", ".join([f"answers changed for {', '.join(changed)}", *rates]) if changed else "in new processes"
        yield f"{', '.join(audits.verdicts)}: {figures}"
    if audits.failed:
        yield f"audit failed: {harmless(audits.failed, 300)}"


def _percent(count: int, flags: Flags) -> str:
    return f"{100 * count / flags.images:.1f} %"


def markdown(record: Record) -> str:
    """The record's table as Markdown."""
    return tabulate(
        [("&nbsp;&nbsp;" * row.depth + row.cells[0], *row.cells[1:]) for row in rows(record)],
        headers=HEADINGS, tablefmt="github", disable_numparse=True,
        colalign=("left", *["right"] * (len(HEADINGS) - 1)),
    )  # fmt: skip


def verdict(record: Record) -> str:
    """The score in one line."""
    score = record.score
    interval = f" ({score.interval[0]:.1f} to {score.interval[1]:.1f})" if score.interval else ""
    weakest = record.badnets[score.weakest].score.value
    return f"score {score.value:.1f}{interval}, weakest {score.weakest} {weakest:.1f}"


def _own(badnet: BadNetRecord) -> dict[str, str]:
    score = badnet.score
    return {
        **_rates(badnet.rates),
        "U": _figure(score.utility, 3),
        "R": _figure(score.removal, 3),
        "P": _figure(score.protection, 3),
        "S": _figure(score.value, 1),
    }


def _row(badnet: str, depth: int, first: str, figures: dict[str, str]) -> Row:
    return Row(badnet, depth, (first, *(figures.get(heading, "") for heading in HEADINGS[1:])))


ABBREVIATIONS = {
    "clean_accuracy": "CA",
    "false_flag_rate": "FPR",
    "detection_rate": "DR",
    "attack_success_rate": "ASR",
    "recovered_accuracy": "RA",
}


def _rates(rates: dict[str, RateRecord]) -> dict[str, str]:
    return {
        ABBREVIATIONS[name]: NOT_MEASURED if rate.value is None else f"{100 * rate.value:.2f}"
        for name, rate in rates.items()
    }


def _figure(value: float | None, digits: int) -> str:
    return NOT_MEASURED if value is None else f"{value:.{digits}f}"


def baseline_table(track: Track, measured: Mapping[str, Sitting]) -> Table:
    """Clean accuracy and attack success of the unrepaired BadNets."""
    made = Table(title=f"unrepaired BadNets of {track.name}", title_justify="left", header_style="bold")
    for heading in ("BadNet", "CA", "trigger", "target", "ASR", "whole file"):
        made.add_column(heading, justify="left" if heading in ("BadNet", "trigger") else "right")
    for name, badnet in track.badnets.items():
        record = grade_badnet(badnet, track.classes, measured[name], measured[name])
        made.add_row(name, _rates(record.rates)["CA"], "" if record.triggers else NOT_MEASURED)
        for trigger, figures in record.triggers.items():
            whole = _rates(figures.whole_file)["ASR"] if figures.whole_file else ""
            made.add_row("", "", trigger, str(figures.target), _rates(figures.rates)["ASR"], whole)
    return made
