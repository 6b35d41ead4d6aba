"""Every format of the board: complete, the same each time, and inert whatever strangers call themselves."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from leaderboard.asked import format_for, formats, render
from leaderboard.boards import Board, Field
from leaderboard.columns import VERSION
from leaderboard.measures import MEASURES, score
from leaderboard.render.markdown import escape
from leaderboard.verdict import verdict
from tests.conftest import ROOT
from tests.made_boards import Skill, board, board_of, contender, field, key

HOSTILE = (
    "=cmd|' /C calc'!A0 \x1b[31m <script>alert(1)</script>", "[x](https://evil.example) |",
    "$\\input{/etc/passwd}$ \u202e\n\r%&_#~^{}`",
)  # fmt: skip
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1")


@pytest.fixture(scope="module")
def made() -> Board:
    """Two divisions, one that is not ranked."""
    skills = {"good": Skill(0.97, 0.95, 0.01), "fair": Skill(), "live": Skill(), "oracle": Skill(1, 1, 0)}
    return board(field(key(each=20), skills, live={"kind": "defense"}, oracle={"badges": ("model", "oracle")}))


@pytest.fixture(scope="module")
def hostile() -> Board:
    return board_of([contender("team", badges=("model", *HOSTILE, *FORMULAS))])


@pytest.mark.parametrize("format_name", formats())
def test_every_format_has_every_submission_and_is_the_same_each_time(made: Board, format_name: str) -> None:
    text = render([made], format_name)
    assert all(row.submission in text for row in made.rows)
    assert render([made], format_name) == text
    assert text.endswith("\n")


@pytest.mark.parametrize("format_name", formats())
def test_every_format_shows_every_measure_and_no_board_at_all(made: Board, format_name: str) -> None:
    one = field(key(), {"good": Skill(), "fair": Skill()})
    for measure in MEASURES.values():
        assert "good" in render([board(one, measure)], format_name)
    render([], format_name)


@pytest.mark.parametrize("format_name", formats())
def test_no_format_lets_control_characters_through(hostile: Board, format_name: str) -> None:
    assert not {"\x1b", "\r", "\u202e", "\t"} & set(render([hostile], format_name))


def test_csv_is_read_back_and_no_cell_is_a_formula(made: Board, hostile: Board) -> None:
    [good] = [row for row in csv.DictReader(io.StringIO(render([made], "csv"))) if row["submission"] == "good"]
    assert (good["rank"], good["rank_best"], good["rank_worst"], good["division"]) == ("1", "1", "1", "repaired model")
    assert float(good["score"]) == pytest.approx(made.by_name["good"].value)
    assert float(good["score_low"]) < float(good["score"]) < float(good["score_high"])
    assert (good["next"], good["version"]) == ("fair", str(VERSION))
    [row] = csv.DictReader(io.StringIO(render([hostile], "csv")))
    for name, cell in row.items():
        assert not cell.startswith(("=", "+", "@", "\t")), (name, cell)
        assert not cell.startswith("-") or float(cell) < 0, (name, cell)
    worst = board_of([contender("team", badges=(badge,)) for badge in FORMULAS])
    for row in csv.DictReader(io.StringIO(render([worst], "csv"))):
        assert re.match(r"'[=+@-]", row["badges"])


def test_a_badge_is_one_cell_wherever_a_spreadsheet_parts_them() -> None:
    text = render([board_of([contender("team", badges=("model", "=1+1", "a;=2"))])], "csv")
    [row] = csv.DictReader(io.StringIO(text))
    assert row["badges"] == "model;'=1+1;a,=2"
    assert not [cell for line in csv.reader(io.StringIO(text), delimiter=";") for cell in line if cell.startswith("=")]


@pytest.mark.parametrize("words", ["__x__", "_x_", "a _b_ c", "___", "_[x]_"])
def test_underscores_give_no_emphasis(words: str) -> None:
    assert MarkdownIt().renderInline(escape(words)) == words


@pytest.mark.parametrize(
    "output,format_name",
    [(None, "terminal"), ("x.md", "markdown"), ("x.CSV", "csv"), ("x.json", "json"), ("x.tex", "latex"),
     ("x.txt", "text"), ("x", "text"), ("x.pdf", "text")],
)  # fmt: skip
def test_a_files_name_asks_for_its_format(output: str | None, format_name: str) -> None:
    assert format_for(Path(output) if output else None) == format_name


def test_json_has_the_columns_that_the_documentation_names(made: Board) -> None:
    page = json.loads(render([made], "json"))
    assert (page["version"], page["draws"], page["confidence"]) == (VERSION, 2000, 0.95)
    [one] = page["boards"]
    assert (one["measure"], one["higher_is_better"]) == ("score", True)
    documented = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/leaderboard.md").read_text(), re.MULTILINE)
    for row in one["rows"]:
        assert list(row) == documented


def test_json_is_ascii(hostile: Board) -> None:
    assert render([hostile], "json").isascii()


def test_latex_has_no_command_but_its_own(hostile: Board) -> None:
    text = render([hostile], "latex")
    commands = set(re.findall(r"\\[a-zA-Z]+", text))
    assert commands <= {
        "\\begin", "\\end", "\\caption", "\\toprule", "\\midrule", "\\bottomrule", "\\textbackslash", "\\textasciitilde",
        "\\textasciicircum", "\\textless", "\\textgreater", "\\textbar", "\\textquotedbl", "\\textasciigrave",
        "\\textquotesingle", "\\ensuremath", "\\pm", "\\approx",
    }  # fmt: skip
    assert "\\textbackslash{}input\\{/etc/passwd\\}" in text
    rows = [line for line in text.splitlines() if line.startswith(("1 ", "–", "--"))]
    assert [len(re.findall(r"(?<!\\)&", line)) for line in rows] == [10]


def test_markdown_has_no_tag_link_or_column_of_a_stranger(hostile: Board) -> None:
    text = render([hostile], "markdown")
    assert not re.search(r"(?<!\\)<|(?<!\\)\]\(|https?:(?!\\)//", text)
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {12}


@pytest.mark.parametrize(
    "skills,words",
    [
        ({"good": Skill(0.97, 0.95, 0.01), "poor": Skill(0.9, 0.1, 0.8)}, r"^good leads poor by [\d.]+ points \(.*\): the lead is real\.$"),
        ({"a": Skill(), "b": Skill()}, r"^[ab] is ahead of [ab] by .* may be chance: the first rank is open between 2 submissions\.$"),
        ({"only": Skill()}, r"^only is the only one ranked, with [\d.]+\.$"),
    ],
)  # fmt: skip
def test_the_verdict_says_who_leads_and_whether_that_is_real(skills: dict[str, Skill], words: str) -> None:
    assert re.match(words, verdict(board(field(key(each=10), skills)).rows, score))


@pytest.mark.parametrize(
    "names,words",
    [
        ("ab", "a and b"),
        ("abcd", "a, b, c and d"),
        ("abcde", "a, b, c, d and 1 other"),
        ("abcdef", "a, b, c, d and 2 others"),
    ],
)
def test_those_who_are_equal_share_the_first_rank(names: str, words: str) -> None:
    one = field(key(), {"a": Skill()})
    alike = Field(
        track="made", key=one.key, contenders=[contender(name) for name in names], packed=np.repeat(one.packed, len(names), axis=0)
    )  # fmt: skip
    rows = board(alike).rows
    assert verdict(rows, score) == f"{words} share the first rank, with {rows[0].value:.1f}."


def test_nobody_leads_where_nobody_is_ranked() -> None:
    nobody = board(field(key(), {"a": Skill()}, a={"badges": ("model", "oracle")}))
    assert verdict(nobody.rows, score) == "Nobody is ranked here yet."
