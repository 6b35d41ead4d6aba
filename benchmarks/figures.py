"""Figures of a benchmark and their budgets, as a table: a budget that is missed is shown, and fails nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from tabulate import tabulate

HEADERS = ("figure", "median", "lowest", "highest", "rounds", "budget", "")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One thing that was measured, once a round; `at_most` or `at_least` is its budget, which the median keeps or not."""

    name: str
    values: Sequence[float]
    unit: str = "s"
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        """The middle value: other work on the machine lengthens some rounds and not the median."""
        return median(self.values)

    @property
    def kept(self) -> bool | None:
        """Whether the median keeps the budget; None where there is none."""
        if self.at_most is not None:
            return self.median <= self.at_most
        return None if self.at_least is None else self.median >= self.at_least

    def row(self) -> tuple[str, ...]:
        """The cells of a table, in the order of HEADERS."""
        budget = ""
        for words, limit in (("at most", self.at_most), ("at least", self.at_least)):
            if limit is not None:
                budget = f"{words} {limit:g} {self.unit}".strip()
        middle, lowest, highest = (f"{x:.3f} {self.unit}".strip() for x in (self.median, *self._ends()))
        return (self.name, middle, lowest, highest, str(len(self.values)), budget, _verdict(self.kept))

    def _ends(self) -> tuple[float, float]:
        return min(self.values), max(self.values)


Tell = Callable[[str, Sequence[Figure]], None]
"""Shows figures below a title once all benchmarks are done, and keeps them with the benchmark's own result."""


def ratios(name: str, over: Sequence[float], under: Sequence[float], **budget: float) -> Figure:
    """over / under round by round, so that whatever slows a whole round down slows both."""
    return Figure(name=name, values=[a / b for a, b in zip(over, under, strict=True)], unit="", **budget)


def table(title: str, figures: Sequence[Figure]) -> str:
    """The figures as plain text."""
    rows = [figure.row() for figure in figures]
    return f"{title}\n{tabulate(rows, headers=HEADERS, disable_numparse=True)}"


def _verdict(kept: bool | None) -> str:
    return {True: "kept", False: "MISSED", None: ""}[kept]
