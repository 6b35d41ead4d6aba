"""The pages in a real browser, opened from disk: they sort, filter, open, ask for nothing from elsewhere, and can be used."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pytest

from leaderboard.site.building import build
from tests.fuzz.documents import write_results, write_track

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="there is no Chromium here: apt-get install chromium"
)
NAMES = ("alpha", "beta", "gamma")
SERIOUS = ("serious", "critical")
PAGES = (
    "index.html",
    "boards/tiny.html",
    "boards/tiny.by-asr.html",
    "badnets/tiny.first.html",
    "submissions/tiny.beta.html",
)


class Opened(NamedTuple):
    """A page, and what it said or asked for on the way."""

    page: "Page"
    told: list[str]
    asked: list[str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three submissions, of which each is worse than the one before."""
    folder = tmp_path_factory.mktemp("browser")
    for name in ("tiny", "results/tiny"):
        (folder / name).mkdir(parents=True)
    track = write_track(folder / "tiny")
    for number, name in enumerate(NAMES):
        write_results(folder / "results/tiny", track, name, wrong=np.arange(20) < 4 * number)
    assert build(folder / "site", [str(folder / "tiny")], folder / "results", folder / "runs").problems == []
    return folder / "site"


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium without a window; the sandbox that it would make for itself is not to be had for root."""
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: "Browser", site: Path) -> Iterator[Opened]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    told: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{site}/index.html")
    yield Opened(page, told, asked)
    assert told == []
    assert all(url.startswith((f"file://{site}/", "data:")) for url in asked), asked
    context.close()


def names(page: "Page") -> list[str]:
    return [it.strip() for it in page.locator("table.board").first.locator("tbody th a").all_inner_texts()]


def test_a_reader_learns_who_leads_and_how_to_see_it(opened: Opened) -> None:
    words = opened.page.inner_text("main")
    assert "alpha" in opened.page.inner_text("p.verdict")
    assert "make evaluate SUBMISSION=submissions/alpha TRACK=tiny" in words
    assert names(opened.page) == list(NAMES)


def test_a_click_or_a_key_on_a_heading_sorts(opened: Opened) -> None:
    heading = opened.page.locator("table.board thead th", has_text="score").first
    heading.click()
    playwright.expect(heading).to_have_attribute("aria-sort", "descending")  # the best first
    assert names(opened.page) == list(NAMES)
    heading.click()
    playwright.expect(heading).to_have_attribute("aria-sort", "ascending")
    assert names(opened.page) == list(reversed(NAMES))
    other = opened.page.locator("table.board thead th", has_text="submission").first
    other.locator("[role=button]").focus()
    opened.page.keyboard.press("Enter")
    playwright.expect(other).to_have_attribute("aria-sort", "ascending")
    opened.page.keyboard.press("Enter")
    playwright.expect(other).to_have_attribute("aria-sort", "descending")
    assert names(opened.page) == list(reversed(NAMES))


def test_words_in_the_filter_leave_what_has_them(opened: Opened) -> None:
    opened.page.get_by_label("Filter:").first.fill("gam")
    assert names(opened.page) == ["gamma"]
    opened.page.get_by_label("Filter:").first.fill("nobody")
    assert "No submission has these words" in opened.page.inner_text("table.board")


def test_a_submission_opens_and_leads_back(opened: Opened) -> None:
    page = opened.page
    page.locator("table.board").first.get_by_role("link", name="beta").click()
    assert page.inner_text("h1") == "beta"
    bars = page.locator(".bar").all()
    assert len(bars) == 5  # clean and poisoned images of two BadNets, clean ones of the twin
    assert all((bar.get_attribute("aria-label") or "").count("%") >= 1 for bar in bars)
    page.get_by_role("link", name="first", exact=True).first.click()
    assert page.inner_text("h1") == "first"
    assert page.evaluate("[...document.images].every(it => it.complete && it.naturalWidth > 0)")
    page.get_by_role("link", name="BadNet Harness").click()
    assert names(page) == list(NAMES)


def test_the_plot_shows_every_submission(opened: Opened) -> None:
    plot = opened.page.locator(".plot svg").first
    assert plot.get_attribute("role") == "img"
    assert opened.page.locator(".plot svg circle, .plot svg path[transform]").count() >= len(NAMES)
    box = plot.bounding_box()
    assert box and box["width"] > 500


def test_the_menu_opens_by_key(opened: Opened) -> None:
    opened.page.locator("nav summary").first.focus()
    opened.page.keyboard.press("Enter")
    opened.page.get_by_role("link", name="tiny, by ASR").click()
    assert "by ASR" in opened.page.inner_text("h1")
    assert "Lower is better" in opened.page.inner_text("main")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_a_screen_reader(
    opened: Opened, site: Path, name: str, scheme: Literal["light", "dark"]
) -> None:
    opened.page.emulate_media(color_scheme=scheme)
    opened.page.goto(f"file://{site}/{name}")
    for details in opened.page.locator("main details").all():
        details.evaluate("it => it.open = true")
    assert opened.told == []
    found = axe.Axe().run(opened.page).response["violations"]
    opened.told.clear()  # axe itself asks for the style sheet as data, which the page's policy refuses
    assert [(it["id"], it["nodes"][0]["html"]) for it in found if it["impact"] in SERIOUS] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_needs_no_sideways_scrolling_but_in_tables(opened: Opened, site: Path, name: str) -> None:
    opened.page.set_viewport_size({"width": 360, "height": 740})
    opened.page.goto(f"file://{site}/{name}")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_without_scripts_the_board_is_still_there(browser: "Browser", site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"file://{site}/index.html")
    assert names(page) == list(NAMES)
    context.close()
