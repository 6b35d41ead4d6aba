"""The table of docs/security.md: one row a test, made from a run of the hostile suite."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

BEGIN = "<!-- made by `make security`: do not edit -->"
END = "<!-- end -->"


class Row(NamedTuple):
    """One line of the table: a heading, what a stranger does, and what comes of it."""

    part: str
    does: str
    outcome: str


def table(rows: Mapping[Row, str]) -> str:
    """Markdown: a heading for each part in the order of its first row, and the result of every row's test."""
    parts = list(dict.fromkeys(row.part for row in rows))
    lines = []
    for part in parts:
        lines += [
            f"### {part[0].upper()}{part[1:]}",
            "",
            "| a stranger | what comes of it | test |",
            "| --- | --- | --- |",
        ]
        lines += [
            f"| {_cell(row.does)} | {_cell(row.outcome)} | {result} |"
            for row, result in rows.items()
            if row.part == part
        ]
        lines.append("")
    return "\n".join(lines)


def put_into(page: Path, made: str) -> None:
    """Replace what stands between the two marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{made}{END}{rest.partition(END)[2]}")


def _cell(words: str) -> str:
    for character, harmless in (("|", "\\|"), ("<", "&lt;"), ("`", "'")):
        words = words.replace(character, harmless)
    return words
