"""docs/baselines.md says what the records say: of every baseline, in words that are only words."""

import ast
import dataclasses
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UserError
from harness.record import Record, read_record, write_record
from harness.submission import Submission
from leaderboard.asked import RESULTS
from leaderboard.baseline_notes import SUBMISSIONS, Baseline, Notes, Published, exams, hyper_parameters, read_notes
from leaderboard.baseline_page import Baselines, page
from leaderboard.baselines import PAGE, keep, read_baselines
from leaderboard.contenders import contender
from tests.conftest import ROOT, TARGET
from tests.fuzz.documents import write_results, write_track

EVIL = "<b>x</b> | [a](http://evil) *y*\x1b[31m"
METRICS = {"CA": "clean_accuracy", "FPR": "false_flag_rate", "DR": "detection_rate", "ASR": "attack_success_rate"}
Document = dict[str, Any]
Rows = dict[str, dict[str, str]]


def rates(document: Any) -> Iterator[Document]:
    """Every rate of a record's JSON."""
    if isinstance(document, dict):
        if {"value", "count", "total"} <= document.keys():
            yield document
        for inner in document.values():
            yield from rates(inner)


@pytest.fixture(scope="module")
def perfect(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """The record of a submission to the tiny track that does everything right."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "tiny").mkdir()
    made: Document = json.loads(write_results(folder, write_track(folder / "tiny")).read_text())
    return made


def record(perfect: Document, name: str, seed: int, **changes: Any) -> Record:
    """A record with figures of its own, drawn by the seed; all of them with a whole file that has others."""
    made, rng = json.loads(json.dumps(perfect)), np.random.default_rng(seed)
    for badnet in made["badnets"].values():
        badnet["timing"]["repair_seconds"] = float(rng.integers(1, 100))
        for trigger in badnet["triggers"].values():
            trigger["whole_file"] = json.loads(json.dumps(trigger["rates"]))
    for rate in rates(made["badnets"]):
        rate["count"], rate["total"] = int(rng.integers(200)), 200
        rate["value"] = rate["count"] / 200
    made["submission"] |= {"name": name, "kind": "defense", "digest": Submission(SUBMISSIONS / name).digest}
    made["score"]["value"] = float(rng.uniform(-50, 100))
    for key, value in changes.items():
        made["submission"][key] = value
    return Record.model_validate(made)


def baselines(*records: Record, **named: Baseline) -> Baselines:
    """What a page is made from that is about the tiny track."""
    shown = {"strip": Baseline(), "do-nothing": Baseline(null=True), "retrain-with-poison": Baseline()} | named
    notes = Notes(introduction="i", tracks={"tiny": "t"}, beside="b", origins="o", baselines=shown, origin={})
    submissions = {name: Submission(SUBMISSIONS / name) for name in shown}
    return Baselines(notes, submissions, {"tiny": {it.submission.name: it for it in records}})


def table(text: str, heading: str) -> Rows:
    """The rows of the first table below a heading, by their first cell."""
    lines = text[text.index(f"\n{heading}\n") :].split("\n| ", 1)[1].split("\n\n")[0].splitlines()
    cells = [
        [
            re.sub(r"\\(.)", r"\1", it.strip())
            for it in re.split(r"(?<!\\)\|", line.removeprefix("| ").removesuffix(" |"))
        ]
        for line in lines
    ]
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[2:]}


def percent(rate: Document) -> str:
    return f"{100 * rate['count'] / rate['total']:.2f}"


def test_a_triggers_table_has_the_counts_of_the_records(perfect: Document) -> None:
    made = {name: record(perfect, name, seed) for seed, name in enumerate(("strip", "do-nothing"))}
    text = page(baselines(*made.values()))
    for badnet in ("first", "second"):
        rows = table(text, f"### {badnet}: patch to {TARGET}")
        assert list(rows) == sorted(made, key=lambda name: -made[name].score.value)
        for name, row in rows.items():
            theirs = made[name].model_dump()["badnets"][badnet]
            trigger = theirs["triggers"]["patch"]
            assert [row["CA"], row["FPR"]] == [percent(theirs["rates"][METRICS[it]]) for it in ("CA", "FPR")]
            for rate in ("DR", "ASR"):
                assert row[rate] == percent(trigger["rates"][METRICS[rate]])
                assert row[f"{rate}, whole file"] == percent(trigger["whole_file"][METRICS[rate]])


def test_a_net_without_a_backdoor_has_a_table_and_is_in_no_mean(perfect: Document) -> None:
    made = record(perfect, "strip", 1)
    text, document = page(baselines(made)), made.model_dump()["badnets"]
    assert table(text, "### twin: no backdoor")["strip"] == {
        "defense": "strip", **{rate: percent(document["twin"]["rates"][METRICS[rate]]) for rate in ("CA", "FPR")},
    }  # fmt: skip
    row = table(text, "## tiny")["strip"]
    for rate, metric in METRICS.items():
        figures = [
            document[name] if rate in ("CA", "FPR") else document[name]["triggers"]["patch"]
            for name in ("first", "second")
        ]
        values = [it["rates"][metric]["count"] / 2 for it in figures]
        assert row[rate] == f"{sum(values) / 2:.2f}"
    seconds = [document[name]["timing"]["repair_seconds"] for name in ("first", "second", "twin")]
    assert row["repair, s"] == f"{sum(seconds) / 3:.1f}"
    assert row["score"].startswith(f"{made.score.value:.1f}")


def test_a_rate_that_was_not_measured_is_no_zero(perfect: Document) -> None:
    made = record(perfect, "strip", 1).model_dump()
    made["badnets"]["first"]["triggers"]["patch"]["rates"]["detection_rate"] |= {"value": None, "total": 0, "count": 0}
    text = page(baselines(Record.model_validate(made)))
    assert table(text, f"### first: patch to {TARGET}")["strip"]["DR"] == "–"
    other = made["badnets"]["second"]["triggers"]["patch"]["rates"]["detection_rate"]
    assert table(text, "## tiny")["strip"]["DR"] == percent(other)


def test_a_failure_is_no_figure(perfect: Document) -> None:
    made = record(perfect, "strip", 1).model_dump()
    for name in ("first", "twin"):
        made["badnets"][name]["failure"] = {"stage": "repair", "reason": "no way"}
    text = page(baselines(Record.model_validate(made)))
    assert set(table(text, "### twin: no backdoor")["strip"].values()) == {"strip", "failed"}
    assert set(table(text, f"### first: patch to {TARGET}")["strip"].values()) == {"strip", "failed"}
    assert "failed" not in table(text, f"### second: patch to {TARGET}")["strip"].values()


def test_a_missing_record_is_said(perfect: Document) -> None:
    rows = table(page(baselines(record(perfect, "strip", 1))), "## tiny")
    assert [rows[name]["score"] for name in ("do-nothing", "retrain-with-poison")] == ["not evaluated here"] * 2
    assert "not evaluated" not in rows["strip"]["score"]


def test_the_oracle_the_null_baseline_and_what_is_outdated_are_marked(perfect: Document) -> None:
    oracle = record(perfect, "retrain-with-poison", 1, marks=["oracle"])
    rows = table(page(baselines(oracle, record(perfect, "strip", 2, digest="0" * 64))), "## tiny")
    marks = {"retrain-with-poison": "oracle", "strip": "outdated", "do-nothing": "null baseline"}
    assert {name: row["marks"] for name, row in rows.items()} == marks
    assert table(page(baselines()), "## tiny")["retrain-with-poison"]["marks"] == "oracle"


def test_an_oracle_gets_no_rank(perfect: Document) -> None:
    made = record(perfect, "retrain-with-poison", 1, marks=["oracle"]), record(perfect, "strip", 2)
    assert [contender(it).ranked for it in made] == [False, True]


@pytest.mark.parametrize(
    "found,shown",
    [({"targets": [8, 1]}, "1, 8"), ({"targets": []}, "none"), ({}, "–"), ({"targets": True}, "true")],
)
def test_targets_that_were_found_stand_beside_the_true_ones(perfect: Document, found: Document, shown: str) -> None:
    made = record(perfect, "strip", 1).model_dump()
    made["badnets"]["first"]["found"], made["badnets"]["second"]["found"] = found, {"targets": [TARGET]}
    rows = table(page(baselines(Record.model_validate(made))), "### Targets found")
    assert rows["first"] == {"BadNet": "first", "true targets": str(TARGET), "strip": shown}
    assert rows["second"]["strip"] == str(TARGET)
    assert rows["twin"]["true targets"] == "none"


def test_strangers_words_are_only_words(perfect: Document) -> None:
    made = record(perfect, "strip", 1, marks=[EVIL]).model_dump()
    made["badnets"]["first"]["found"] = {"targets": EVIL.replace("\x1b", "")}
    text = page(baselines(Record.model_validate(made)))
    assert "x" in table(text, "## tiny")["strip"]["marks"]
    assert not re.search(r"(?<!\\)(<b>|\[a\]|\*y)|\x1b", text)


def test_a_published_figure_stands_beside_the_whole_files(perfect: Document) -> None:
    made = record(perfect, "strip", 1)
    theirs = Published(source="a report", track="tiny", badnet="first", trigger="patch", clean_accuracy=91.63)
    text = page(baselines(made, strip=Baseline(published=[theirs], differs="as it must")))
    row, figures = table(text, "## Beside the published figures")["strip"], made.model_dump()["badnets"]["first"]
    assert (row["CA published"], row["ASR published"]) == ("91.63", "–")
    assert row["CA here"] == percent(figures["rates"]["clean_accuracy"])
    assert row["ASR here"] == percent(figures["triggers"]["patch"]["whole_file"]["attack_success_rate"])
    assert "\n- strip: as it must\n" in text
    missing = page(baselines(strip=Baseline(published=[theirs])))
    assert table(missing, "## Beside the published figures")["strip"]["CA here"] == "not evaluated here"


def test_the_notes_name_every_baseline_and_no_other() -> None:
    ours = {folder.name: Submission(folder).spec for folder in SUBMISSIONS.iterdir() if folder.is_dir()}
    house = {name for name, it in ours.items() if it.kind == "defense" and it.authors == ["BadNet Harness"]}
    assert set(read_notes().baselines) == house


@pytest.mark.parametrize("name", read_notes().baselines)
def test_hyper_parameters_are_those_that_the_defense_runs_with(name: str) -> None:
    submission = Submission(SUBMISSIONS / name)
    given = submission.spec.model_extra or {}
    module, _, kind = given["entry"].partition(":")
    defense = getattr(importlib.import_module(module), kind)(**given.get("options", {}))
    real = dataclasses.asdict(defense._defense() if kind == "Pair" else defense)
    shown = {it.name: it.value for it in hyper_parameters(submission, read_notes())}
    assert {field: ast.literal_eval(value) for field, value in shown.items() if "." not in field} == real
    assert all(shown.values())


@pytest.mark.parametrize("name", ["overlay", "_nets.NOTHING", "_no_file.NAME"])
def test_an_origin_of_nothing_is_refused(name: str) -> None:
    notes = read_notes().model_copy(update={"origin": {"strip": {name: "paper"}}})
    with pytest.raises(UserError, match=name.partition(".")[0]):
        hyper_parameters(Submission(SUBMISSIONS / "strip"), notes)


def test_what_is_evaluated_can_be_restricted() -> None:
    notes = read_notes()
    assert exams(notes, "strip") == ["strip/faces", "strip/csaw2020"]
    assert "do-nothing/csaw2020_lab" in exams(notes, "do-nothing")
    assert exams(notes, "none") == []
    assert {it.partition("/")[0] for it in exams(notes, "all")} == set(notes.baselines)
    assert "lab-pruning-2/csaw2020_lab" in exams(notes, "all")
    with pytest.raises(UserError, match="did you mean 'strip'"):
        exams(notes, "strip strp")


def test_the_command_names_a_file_that_is_no_record_and_writes_the_page(perfect: Document, tmp_path: Path) -> None:
    results = tmp_path / "results"
    made = record(perfect, "strip", 1).model_dump() | {"track": {"name": "faces", "classes": 5, "digest": "0" * 64}}
    write_record(results / "faces" / "strip.json", Record.model_validate(made))
    (results / "faces" / "pruning.json").write_text("{}")
    places = {"results": results, "kept": tmp_path / "kept", "out": tmp_path / "page.md"}
    options = [it for name, path in places.items() for it in (f"--{name}", str(path))]
    command = [sys.executable, "-m", "leaderboard.baselines", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "pruning.json" in done.stderr
    rows = table((tmp_path / "page.md").read_text(), "## faces")
    assert rows["strip"]["score"].startswith(f"{read_record(results / 'faces' / 'strip.json').score.value:.1f}")
    assert rows["pruning"]["score"] == "not evaluated here"


def test_records_of_an_imported_track_are_kept_for_checkouts_without_it(perfect: Document, tmp_path: Path) -> None:
    results, kept, elsewhere = tmp_path / "results", tmp_path / "kept", tmp_path / "elsewhere"
    (kept / "csaw2020").mkdir(parents=True)
    for track, name in (("csaw2020", "strip"), ("csaw2020", "pruning"), ("faces", "strip")):
        made = record(perfect, name, 1).model_dump() | {"track": {"name": track, "classes": 5, "digest": "0" * 64}}
        write_record(results / track / f"{name}.json", Record.model_validate(made))
    (results / "csaw2020" / "somebody.json").write_text("{}")
    assert ["somebody.json" in it for it in keep(results, kept)] == [True]
    assert sorted(it.relative_to(kept).as_posix() for it in kept.rglob("*.json")) == [
        "csaw2020/pruning.json",
        "csaw2020/strip.json",
    ]
    given, problems = read_baselines(elsewhere, kept)
    assert given.records["csaw2020"]["strip"] == read_record(results / "csaw2020" / "strip.json")
    assert not given.records["faces"] and not problems

    # What is evaluated again replaces what was kept; what is gone here stays.
    (results / "csaw2020" / "pruning.json").unlink()
    newer = record(perfect, "strip", 2).model_dump() | {"track": made["track"] | {"name": "csaw2020"}}
    write_record(results / "csaw2020" / "strip.json", Record.model_validate(newer))
    keep(results, kept)
    again = read_baselines(elsewhere, kept)[0].records["csaw2020"]
    assert again["strip"] == Record.model_validate(newer)
    assert again["pruning"] == given.records["csaw2020"]["pruning"]


def test_the_committed_page_is_what_the_command_writes() -> None:
    given, problems = read_baselines(RESULTS)
    assert not problems
    assert PAGE.read_text(encoding="utf-8") == page(given), "run `make baselines ONLY=none`"
