"""The boards as LaTeX tables; the document needs the package booktabs."""

from collections.abc import Sequence

from leaderboard.boards import Board
from leaderboard.render import NUMERIC, cells, draws_in_words, headings, sections

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"\textquotedbl{}", "–": "--", "±": r"\ensuremath{\pm}", "≈": r"\ensuremath{\approx}", "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
}  # fmt: skip
UNKNOWN = "?"
"""For what a LaTeX of 1994 has no letter for."""

SUFFIX = ".tex"


def render(boards: Sequence[Board]) -> str:
    """One table for each division, in which a stranger's words are only words."""
    parts = []
    for title, measure, rows in sections(boards):
        names = headings(measure)
        sides = "".join("r" if name in NUMERIC else "l" for name in names)
        lines = [" & ".join(escape(word) for word in words) + r" \\" for words in (names, *map(cells, rows))]
        parts.append(
            "\n".join([
                r"\begin{table}", rf"\caption{{{escape(title)}. {escape(draws_in_words())}.}}", rf"\begin{{tabular}}{{{sides}}}",
                r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
            ])
        )  # fmt: skip
    return "\n".join(parts)


def escape(words: str) -> str:
    """Words without a meaning to LaTeX."""
    return "".join(SPECIAL.get(c, c if c.isascii() and c.isprintable() else UNKNOWN) for c in words)
