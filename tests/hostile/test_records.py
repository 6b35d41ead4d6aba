"""Records, answers and tracks may come from strangers: whatever bytes they are, that ends in one line or in plain words."""

import io
import json
import os
import re
import shutil
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from harness.archives import load_arrays
from harness.errors import UserError
from harness.record import read_record
from harness.rescore import answers_path, rescore
from harness.sitting import save_arrays
from harness.track import Track
from leaderboard.asked import Request, answer, render
from tests.fuzz.documents import write_results, write_track

Run = Callable[..., CompletedProcess[str]]
PART = "records and tracks"
REPLACED = "\N{REPLACEMENT CHARACTER}"
WORDS = "\x1b[31mred\x1b[0m [bold]x[/bold] | <script>alert(1)</script> [a](http://evil) www.evil.com \x07"
"""Escape codes, rich markup, a column, HTML and links."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A track and, below `results/tiny`, the record `mine` of it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "tiny").mkdir()
    write_results(folder / "results" / "tiny", write_track(folder / "tiny"))
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def record(place: Path) -> Path:
    return place / "results" / "tiny" / "mine.json"


def row(does: str, words: str, *values: Any) -> Any:
    return pytest.param(*values, words, marks=pytest.mark.threat(PART, does=does, outcome=f"refused: {words}"), id=does)


def one_line(caught: pytest.ExceptionInfo[UserError]) -> str:
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 1000
    return line


def edit(path: Path, keys: str, value: Any) -> None:
    """Set `a.b.c` of a JSON file."""
    document = json.loads(path.read_text())
    *above, last = keys.split(".")
    inner = document
    for key in above:
        inner = inner[key]
    inner[last] = value
    if value is None:
        del inner[last]
    path.write_text(json.dumps(document))


RECORDS = [
    row("sends a record that is no text", "Invalid JSON", lambda data: b"\xff\xfe" * 100),
    row("nests lists 1,000,000 deep", "Invalid JSON: recursion limit", lambda data: b"[" * 1_000_000),
    row("writes a count of 100,000 digits", "number out of range", lambda data: data.replace(b"2000", b"9" * 100_000)),
    row("writes one of 4,000 digits", "score.draws: is no count", lambda data: data.replace(b"2000", b"9" * 4000)),
    row("writes a score of 1e999", "score.value: inf is no figure", lambda data: scored(data, b"1e999")),
    row("writes a score of NaN", "score.value: nan is no figure", lambda data: scored(data, b"NaN")),
    row("writes two scores", "value: stands there twice", lambda data: scored(data, b'1, "value": 100')),
    row("writes half a surrogate pair", "Invalid JSON", lambda data: data.replace(b'"A"', b'"\\ud800"')),
    row("sends 9 MiB", "larger than 8192 KiB", lambda data: data + b" " * 9 * 1024**2),
    row("cuts it short", "Invalid JSON", lambda data: data[: len(data) // 2]),
    row("sends nothing", "Invalid JSON", lambda data: b""),
    row("sends a list", "Input should be an object", lambda data: b"[]"),
]


def scored(data: bytes, value: bytes) -> bytes:
    assert data.count(b'"score": {\n  "value": 100.0') == 1
    return data.replace(b'"score": {\n  "value": 100.0', b'"score": {\n  "value": ' + value)


@pytest.mark.parametrize("change, words", RECORDS)
def test_a_record_that_is_none(change: Callable[[bytes], bytes], words: str, record: Path) -> None:
    record.write_bytes(change(record.read_bytes()))
    with pytest.raises(UserError) as caught:
        read_record(record)
    assert words in one_line(caught)


@pytest.mark.parametrize("make, words", [
    row("puts a folder in a record's place", "is a folder, not a file", Path.mkdir),
    row("puts a pipe there", "is a pipe, not a file", os.mkfifo),
    row("puts a link to /dev/zero there", "is a device, not a file", lambda path: path.symlink_to("/dev/zero")),
])  # fmt: skip
def test_what_stands_in_place_of_a_record(make: Callable[[Path], None], words: str, record: Path) -> None:
    record.unlink()
    make(record)
    with pytest.raises(UserError) as caught:
        read_record(record)
    assert words in one_line(caught)


EDITS = [
    row("leaves a BadNet out of the record", "has no badnets.second", "badnets.second", None),
    row("writes a seed that is no number", "badnets.first.seed: is no hex", "badnets.first.seed", "0x; import os"),
    row("writes a seed of 10,000 digits", "badnets.first.seed: is no hex", "badnets.first.seed", "f" * 10_000),
    row("takes less than no time", "repair_seconds: is no time", "badnets.first.timing.repair_seconds", -5.0),
    row("takes longer than the world is old", "start_seconds: is no time", "badnets.first.timing.start_seconds", 1.7e308),
    row("writes negative counts", "count: is no count", "badnets.first.rates.clean_accuracy.count", -1),
    row("writes a negative target", "target: is no count", "badnets.first.triggers.patch.target", -1),
    row("names another weakest BadNet", "score.weakest: is no BadNet", "score.weakest", "nothing"),
    row("names the clean twin as the weakest", "score.weakest: is no BadNet", "score.weakest", "twin"),
    row("invents a metric", "badnets.first.rates.x\\ny: is no metric", "badnets.first.rates.x\ny", {
        "value": 1.0, "count": 1, "total": 1, "interval": None}),
    row("has billions of images asked again", "audits.again.images: is more than", "badnets.first.audits.again", {
        "images": 10**12, "changed": 10**11, "clean": None, "poisoned": None}),
    row("names a track by a path", "track.name: is no name", "track.name", "../../tmp/evil"),
    row("names a submission by a path", "submission.name: is no name", "submission.name", "../../README"),
    row("names a submission with escape codes", "submission.name: is no name", "submission.name", WORDS),
    row("names a kind with escape codes", "submission.kind: is no name", "submission.kind", WORDS),
]  # fmt: skip


@pytest.mark.parametrize("keys, value, words", EDITS)
def test_a_record_that_was_edited(keys: str, value: Any, words: str, record: Path, place: Path) -> None:
    edit(record, keys, value)
    with pytest.raises(UserError) as caught:
        rescore(record, str(place / "tiny"))
    assert words.replace("\\n", " ") in one_line(caught)


@pytest.mark.threat(PART, does="hands in an edited record to be rescored", outcome="one line, exit code 2")
def test_an_edited_record_is_one_line_on_the_command_line(record: Path, place: Path, badnet: Run) -> None:
    edit(record, "badnets.second", None)
    done = badnet("rescore", record, "--track", place / "tiny")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "has no badnets.second" in done.stderr


def packed(**members: bytes) -> bytes:
    """A zip of these files, whatever they are."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def headed(header: str, data: bytes = b"") -> bytes:
    """A .npy file with this header."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]


def bomb() -> bytes:
    """Half a megabyte that becomes 513 MiB."""
    return packed(**{f"{i}.npy": b"\0" * 171 * 1024**2 for i in range(3)})


def overlapping() -> bytes:
    """A thousand names for the same 10 MiB."""
    data = packed(x=b"\0" * 10 * 1024**2)
    start = data.index(b"PK\1\2")
    end = data.index(b"PK\5\6")
    entries = data[start:end] * 1000
    return data[:start] + entries + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1000, 1000, len(entries), start, 0)


STATES_99 = "{'descr': '<f8', 'fortran_order': False, 'shape': (99,), }\n"
ARCHIVES = [
    row("packs 513 MiB of zeros", "are more than answers can be", bomb),
    row("gives one packed file a thousand names", "are more than answers can be", overlapping),
    row("packs 10,001 arrays", "10,001 arrays of", lambda: packed(**{f"{i}.npy": b"" for i in range(10_001)})),
    row("packs a pickle", "'a' is no row of numbers", lambda: packed(a=npy(np.array([{}])))),
    row("sends a bare pickle", "not a zip file", lambda: b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    row("sends a bare .npy", "not a zip file", lambda: npy(np.zeros(3))),
    row("states more numbers than there are", "3 numbers, and states 99", lambda: packed(a=headed(STATES_99, bytes(24)))),
    row("packs a table", "'a' is no row of numbers", lambda: packed(a=npy(np.zeros((2, 2))))),
    row("packs text", "'a' is no row of numbers", lambda: packed(a=npy(np.array(["x"])))),
    row("packs code in a header", "'a' is no row of numbers", lambda: packed(a=headed("__import__('os').abort()"))),
    row("packs no array", "'a' is no array", lambda: packed(a=b"x")),
    row("packs by another method", "packed in another way", lambda: packed(a=b"x" * 99).replace(b"\x08\0", b"\x0c\0")),
    row("locks it with a password", "encrypted", lambda: packed(a=b"x").replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1")),
    row("cuts the file short", "not a zip file", lambda: packed(a=b"x" * 99)[:-30]),
    row("spoils a byte", "cannot be read", lambda: flipped(packed(a=npy(np.arange(99))), 80)),
    row("sends 10 GiB", "10,240 MiB, and 32 are allowed", lambda: None),
]  # fmt: skip


@pytest.mark.parametrize("make, words", ARCHIVES)
def test_answers_that_are_none(make: Callable[[], bytes | None], words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    data = make()
    path.write_bytes(data or b"")
    if data is None:
        os.truncate(path, 10 * 1024**3)
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            load_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 32 * 1024**2
    finally:
        tracemalloc.stop()
    assert words in one_line(caught)


@pytest.mark.threat(
    PART, does="packs an array named ../../../x", outcome="harmless: nothing is written, the name means nothing"
)
def test_names_in_an_archive_are_no_paths(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(packed(**{"../../../x.npy": npy(np.zeros(3))}))
    assert load_arrays(tmp_path / "x.npz").keys() == {"../../../x"}
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


ANSWERS = [
    row("leaves answers out", "has no first/poisoned/patch", "first/poisoned/patch", None),
    row("sends answers that are no integers", "first/clean has float64(20,)", "first/clean", np.zeros(20)),
    row("sends fewer answers than images", "first/clean has int32(3,)", "first/clean", np.zeros(3, np.int32)),
    row("leaves the clock readings out", "first/batch_seconds holds no clock", "first/batch_seconds", None),
    row("sends readings that are nan", "first/single_seconds holds no", "first/single_seconds", np.array([np.nan])),
    row("sends negative ones", "first/single_seconds holds no", "first/single_seconds", np.array([-1.0])),
    row("sends more batches than times", "first has other batches", "first/batch_images", np.ones(9, np.int64)),
]


@pytest.mark.parametrize("name, array, words", ANSWERS)
def test_answers_that_do_not_fit(name: str, array: Any, words: str, record: Path, place: Path) -> None:
    arrays = load_arrays(answers_path(record))
    arrays[name] = array
    edit(
        record,
        "provenance.answers",
        save_arrays(answers_path(record), {k: v for k, v in arrays.items() if v is not None}),
    )
    with pytest.raises(UserError) as caught:
        rescore(record, str(place / "tiny"))
    assert words in one_line(caught)


@pytest.mark.threat(
    PART,
    does="forges the unrepaired BadNet's answers so that no draw has a score",
    outcome="shown as a problem, not ranked",
)
@pytest.mark.parametrize("right", [0, 1], ids=["none", "one person"])
@pytest.mark.parametrize("name", ["clean", "poisoned/patch"])
def test_an_unrepaired_badnet_that_is_none(name: str, right: int, record: Path, place: Path) -> None:
    arrays = load_arrays(answers_path(record))
    forged = arrays[f"first/baseline/{name}"].copy()
    forged[right:] = -1 if name == "clean" else 0
    edit(record, "provenance.answers", save_arrays(answers_path(record), arrays | {f"first/baseline/{name}": forged}))
    with pytest.raises(UserError, match="the unrepaired BadNet first is right, or fooled, on next to no") as caught:
        answer(place / "results", Request([str(place / "tiny")]))
    one_line(caught)


@pytest.mark.threat(
    PART, does="forges authors, marks and reasons of escape codes, markup, HTML and links", outcome="plain words"
)
def test_a_strangers_words_are_only_words(record: Path, place: Path, badnet: Run) -> None:
    for keys in ("submission.authors", "submission.marks", "badnets.first.notes"):
        edit(record, keys, [WORDS])
    for keys in ("submission.description", "provenance.commit"):
        edit(record, keys, WORDS)
    edit(record, "badnets.first.failure", {"stage": WORDS, "reason": WORDS})
    edit(record, "badnets.first.outcomes", {WORDS: 1})
    boards, problems = answer(place / "results", Request([str(place / "tiny")]))
    assert ([len(board.rows) for board in boards], problems) == ([1], [])
    page = render(boards, "markdown")
    assert f"{REPLACED}\\[31mred" in page
    assert not {"\x1b", "\x07"} & set(page)
    assert not re.search(r"(?<!\\)([<\[|]script|(?<!\\)<|\]\(|://)", page)
    assert "www." not in page
    shown = badnet("leaderboard", "--track", place / "tiny", "--results", place / "results").stdout
    assert "[bold]" in shown.replace("\n", "")
    rescored = badnet("rescore", record, "--track", place / "tiny")
    assert rescored.returncode == 2
    assert not {"\x1b", "\x07"} & set(shown + rescored.stdout + rescored.stderr)


@pytest.mark.threat(
    PART, does="hands in a second record of somebody's submission", outcome="shown as a problem, not ranked"
)
def test_a_second_record_of_one_submission_is_not_ranked(record: Path, place: Path) -> None:
    shutil.copy(record, record.with_name("mine-again.json"))
    boards, problems = answer(place / "results", Request([str(place / "tiny")]))
    assert [row.submission for board in boards for row in board.rows] == ["mine"]
    assert len(problems) == 1
    assert "mine-again.json: is a record of submission 'mine'; name it mine.json" in problems[0]


@pytest.mark.threat(PART, does="hands in a record of an easier track", outcome="shown as a problem, not ranked")
def test_a_record_of_another_track_is_not_ranked(record: Path, place: Path) -> None:
    edit(record, "track.name", "easier")
    with pytest.raises(UserError, match="is a record of track 'easier'"):
        answer(place / "results", Request([str(place / "tiny")]))


@pytest.mark.threat(PART, does="names a record's file with escape codes", outcome="shown as a problem, without them")
def test_a_record_whose_name_acts_on_a_terminal(record: Path, place: Path, badnet: Run) -> None:
    shutil.copy(record, record.with_name("\x1b[2J.json"))
    told = badnet("leaderboard", "--track", place / "tiny", "--results", place / "results").stderr
    assert f"{REPLACED}[2J.json: is a record of" in told
    assert "\x1b" not in told


TRACKS = [
    row("names a BadNet by a path", "badnets.../x.[key]: String should match", '[badnets."../x"]\nmodel = "x.h5"'),
    row("names a BadNet with escape codes", "String should match", '[badnets."\\u001b[2J"]\nmodel = "x.h5"'),
    row("names a trigger by a path", "String should match", '[badnets.b]\nmodel = "x.h5"\ntriggers."../x".target = 1'),
    row("takes a model from above its folder", "badnets.b.model: Value error, must be a path inside",
        '[badnets.b]\nmodel = "../x.h5"'),
    row("takes /etc/shadow for a model", "must be a path inside the track", '[badnets.b]\nmodel = "/etc/shadow"'),
    row("aims a trigger beyond the classes", "target: 5 is no class; 0..4", '[badnets.b]\nmodel = "x.h5"\ntriggers.t.target = 5'),
    row("nests lists 100,000 deep in track.toml", "not valid TOML", "x = " + "[" * 100_000),
    row("writes a key of 100,000 parts in track.toml", "more than 100 dots", "a." * 100_000 + "a = 1"),
]  # fmt: skip


@pytest.mark.parametrize("toml, words", TRACKS)
def test_a_hostile_track(toml: str, words: str, tmp_path: Path) -> None:
    head = 'name = "t"\ntitle = "t"\nclasses = 5\nshape = [1, 1, 3]\nsource = "csaw_h5"\n'
    (tmp_path / "track.toml").write_text(head + toml)
    with pytest.raises(UserError) as caught:
        Track(tmp_path)
    assert words in one_line(caught)


MANIFESTS = [
    row(
        "takes test images from above its folder",
        "badnets.first.test: Value error, must be",
        "badnets.first.test",
        "../x",
    ),
    row("has /etc/shadow digested", "must be a path inside the track", "files", {"/etc/shadow": "0"}),
    row("has a file above its folder digested", "must be a path inside the track", "files", {"a/../../x": "0"}),
    row(
        "has poisoned images of no trigger", "track.toml has no trigger 'x'", "badnets.first.poisoned", {"x": "data/x"}
    ),
    row(
        "names a trigger by a path in the manifest", "String should match", "badnets.first.poisoned", {"../x": "data/x"}
    ),
]


@pytest.mark.parametrize("keys, value, words", MANIFESTS)
def test_a_hostile_manifest(keys: str, value: Any, words: str, place: Path) -> None:
    edit(place / "tiny" / "manifest.json", keys, value)
    with pytest.raises(UserError) as caught:
        Track(place / "tiny").changed_files()
    assert words in one_line(caught)


@pytest.mark.threat(PART, does="titles a track with escape codes", outcome="shown without them")
def test_a_title_is_harmless(place: Path) -> None:
    path = place / "tiny" / "track.toml"
    path.write_text(path.read_text().replace("five bright", "\\u001b[31mfive bright"))
    assert Track(place / "tiny").spec.title == f"{REPLACED}[31mfive bright stripes"
