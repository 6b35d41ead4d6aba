"""A record as a table for the terminal, and as Markdown."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table
from tabulate import tabulate

from harness.grading import grade_badnet
from harness.record import BadNetRecord, RateRecord, Record, TriggerRecord
from harness.sitting import Sitting
from harness.track import Track
from harness.wording import harmless

HEADINGS = ("BadNet", "trigger", "CA", "FPR", "DR", "ASR", "RA", "U", "R", "P", "S")
MEANINGS = (
    "CA clean accuracy, FPR false-flag rate, DR N+1 detection rate, ASR attack success rate, RA recovered accuracy (%); "
    "U utility kept, R attack removed, P protection; S = 100 (U + P - 1)"
)
NOT_MEASURED = "–"


class Row(NamedTuple):
    """One line of the table: a BadNet with one of its triggers."""

    badnet: str
    cells: tuple[str, ...]
    note: str


def rows(record: Record) -> Iterator[Row]:
    """The lines of a record's table: each BadNet's own figures stand on its first line."""
    for name, badnet in record.badnets.items():
        note = f"{badnet.failure.stage}: {harmless(badnet.failure.reason, 200)}" if badnet.failure else ""
        triggers = list(badnet.triggers.items()) or [(NOT_MEASURED, None)]
        for number, (trigger, figures) in enumerate(triggers):
            own = _own(badnet) if number == 0 else {}
            cells = {"BadNet": name if number == 0 else "", "trigger": trigger, **own, **_of_trigger(figures)}
            yield Row(name, tuple(cells.get(heading, "") for heading in HEADINGS), note if number == 0 else "")
            if figures and figures.whole_file:
                whole = {"trigger": "  whole file", **_rates(figures.whole_file)}
                yield Row(name, tuple(whole.get(heading, "") for heading in HEADINGS), "")


def table(record: Record) -> Table:
    """The record for a terminal."""
    made = Table(title=f"{record.submission.name} on {record.track.name}", title_justify="left", header_style="bold")
    for number, heading in enumerate(HEADINGS):
        made.add_column(heading, justify="left" if number < 2 else "right", no_wrap=True)
    before = None
    for row in rows(record):
        if before not in (None, row.badnet):
            made.add_section()
        made.add_row(*(escape(cell) for cell in row.cells), style="red" if record.badnets[row.badnet].failure else None)
        before = row.badnet
    return made


def markdown(record: Record) -> str:
    """The record's table as Markdown."""
    return tabulate(
        [row.cells for row in rows(record)], headers=HEADINGS, tablefmt="github", disable_numparse=True,
        colalign=("left", "left", *["right"] * (len(HEADINGS) - 2)),
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


def _of_trigger(figures: TriggerRecord | None) -> dict[str, str]:
    return _rates(figures.rates) if figures else dict.fromkeys(("DR", "ASR", "RA"), NOT_MEASURED)


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
        accuracy = _rates(record.rates)["CA"]
        for trigger, figures in record.triggers.items():
            whole = _rates(figures.whole_file)["ASR"] if figures.whole_file else ""
            made.add_row(name, accuracy, trigger, str(figures.target), _rates(figures.rates)["ASR"], whole)
            name, accuracy = "", ""
        if not record.triggers:
            made.add_row(name, accuracy, NOT_MEASURED, "", "", "")
    return made
