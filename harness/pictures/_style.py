"""How all pictures look: paper, ink, and one colour for what stands out."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

INK = "#22272e"
QUIET = "#8a939e"
LINES = "#e6e9ed"
USUAL = "#7390ad"
STANDS_OUT = "#c8402f"
BOUND = "#a06c00"
TITLE, WORDS, SMALL = 13, 11, 9.5
BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.8}
"""Of words that stand among dots."""


def paper(width: float, height: float) -> Figure:
    """An empty picture of that many inches."""
    return Figure(figsize=(width, height), facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.11, h_pad=0.09))


def words(text: str) -> str:
    """A stranger's text, in which no dollar begins a formula."""
    return text.replace("$", r"\$")


def axes(figure: Figure, title: str, x_label: str, y_label: str) -> Axes:
    """One plot with a title above and light lines behind."""
    made = figure.add_subplot()
    made.set_title(words(title), loc="left", fontsize=TITLE, color=INK, pad=14, wrap=True)
    made.set_xlabel(words(x_label), fontsize=WORDS, color=INK)
    made.set_ylabel(words(y_label), fontsize=WORDS, color=INK)
    made.spines[["top", "right"]].set_visible(False)
    made.spines[["left", "bottom"]].set_color(QUIET)
    made.tick_params(which="both", labelsize=SMALL, color=QUIET, labelcolor=INK)
    made.grid(axis="y", color=LINES, linewidth=0.8)
    made.set_axisbelow(True)
    return made


def whole_numbers(made: Axes) -> None:
    """Have only whole numbers stand below the x axis."""
    made.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9, steps=[1, 2, 5, 10]))


def logarithmic(made: Axes) -> None:
    """Let the y axis multiply, with plain numbers beside it."""
    made.set_yscale("log")
    made.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    made.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    made.yaxis.set_minor_formatter(FuncFormatter(lambda _value, _: ""))


def bound_across(made: Axes, value: float) -> Text:
    """A dashed line from left to right that says that it is the threshold."""
    made.axhline(value, color=BOUND, linewidth=1.3, linestyle=(0, (5, 3)), zorder=2)
    return made.annotate(
        f"threshold {value:.4g}", (1, value), xycoords=made.get_yaxis_transform(), xytext=(0, 5),
        textcoords="offset points", ha="right", fontsize=SMALL, color=BOUND, bbox=BEHIND, zorder=4,
    )  # fmt: skip


def beside(made: Axes, text: str, colour: str) -> None:
    """A few words at the right-hand end of the x axis' label."""
    made.annotate(
        text, (1, 0), xycoords="axes fraction", xytext=(0, -21), textcoords="offset points", ha="right", va="top",
        fontsize=WORDS, color=colour,
    )  # fmt: skip


def line_up(made: Axes, value: float, text: str, colour: str) -> None:
    """A dashed line from bottom to top with words at its upper end, on the side that has more room."""
    low, high = made.get_xlim()
    left = value > (low + high) / 2
    made.axvline(value, color=colour, linewidth=1.3, linestyle=(0, (5, 3)), zorder=3.5)
    made.annotate(
        text, (value, 1), xycoords=made.get_xaxis_transform(), xytext=(-5 if left else 5, -2),
        textcoords="offset points", ha="right" if left else "left", va="top", fontsize=SMALL, color=colour, bbox=BEHIND, zorder=4,
    )  # fmt: skip
