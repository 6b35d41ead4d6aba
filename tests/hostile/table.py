"""The table of docs/security.md, made from a run of the hostile suite."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from leaderboard.render.markdown import escape

BEGIN = "<!-- made by `make security`: do not edit -->"
END = "<!-- end -->"


class Row(NamedTuple):
    """One line of the table: a heading, what a stranger does, and what comes of it."""

    part: str
    does: str
    outcome: str


def table(rows: Mapping[Row, str]) -> str:
    """Markdown: a heading for each part in the order of its first row; what is done in several sandboxes is one line."""
    lines = []
    for part in dict.fromkeys(row.part for row in rows):
        lines += [
            f"### {part[0].upper()}{part[1:]}",
            "",
            "| a stranger | what comes of it | test |",
            "| --- | --- | --- |",
        ]
        mine = {row: result for row, result in rows.items() if row.part == part}
        for does in dict.fromkeys(row.does for row in mine):
            outcomes = {row.outcome: result for row, result in mine.items() if row.does == does}
            results = ", ".join(dict.fromkeys(outcomes.values()))
            lines.append(f"| {escape(does)} | {escape('; '.join(outcomes))} | {results} |")
        lines.append("")
    return "\n".join(lines)


def put_into(page: Path, made: str) -> None:
    """Replace what stands between the two marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{made}{END}{rest.partition(END)[2]}")
