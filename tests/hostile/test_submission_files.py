"""A submission's folder and its submission.toml are read on the host: whatever they hold, that ends in one line."""

import os
import socket
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.record import read_record
from harness.sole_run import sole_run
from harness.submission import Submission
from tests.fuzz.documents import write_results, write_track

PART = "submission files"
GIB = 1024**3
CODE = 'name = "mine"\nkind = "predictor"\nentry = "p.py:P"\n'
MODEL = 'name = "mine"\nkind = "model"\n'
REPLACED = "\N{REPLACEMENT CHARACTER}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A submission with nothing wrong."""
    made = tmp_path / "mine"
    made.mkdir()
    (made / "submission.toml").write_text(CODE)
    (made / "p.py").write_text("P = int")
    Submission(made).tables(["first"])
    return made


def refused(folder: Path) -> str:
    """The line that refuses a submission, wherever a command opens it: words alone, and few."""
    with pytest.raises(UserError) as caught:
        Submission(folder).tables(["first", "second"])
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 1000
    return line.removeprefix(f"{folder}/submission.toml: ").removeprefix(f"{folder}: ")


def row(does: str, words: str, *values: Any) -> Any:
    return pytest.param(*values, words, marks=pytest.mark.threat(PART, does=does, outcome=f"refused: {words}"), id=does)


TOML = [
    row("nests lists 100,000 deep", "not valid TOML", CODE + "x = " + "[" * 100_000),
    row("nests tables 60 deep", "nested more than 32 deep", f"{CODE}[{'.'.join('a' * 60)}]"),
    row("writes a key of 100,000 parts", "more than 100 dots", f"{CODE}{'a.' * 100_000}a = 1"),
    row("writes an integer of 100,000 digits", "not valid TOML", f"{CODE}x = {'9' * 100_000}"),
    row("writes it in hexadecimal", "an integer of more than 64 bits", f"{CODE}x = 0x{'f' * 100_000}"),
    row("gives a hyper-parameter that is nan", "options.x: nan is no number", f"{CODE}options.x = nan"),
    row("gives one that is infinite", "options.x.1: -inf is no number", f"{CODE}options.x = [1, -inf]"),
    row("writes 20,000 keys", "k0: unknown key", CODE + "\n".join(f"k{i} = 1" for i in range(20_000))),
    row("writes a key with escape codes", f"{REPLACED}[31m{REPLACED}: unknown key", f'{CODE}"\\u001b[31m\\u0007" = 1'),
    row("names a BadNet with escape codes", f"badnets.{REPLACED}[2J:", f'{CODE}[badnets."\\u001b[2J"]'),
    row("writes a key __class__", "__class__: unknown key", f"{CODE}__class__ = 1"),
    row("names a file with a NUL byte", f"no file 'm{REPLACED}.h5'", f'{MODEL}model = "m\\u0000.h5"\n[badnets.first]'),
    row("names a file x.**", "no file 'x.**'", f'{MODEL}model = "x.**"\n[badnets.first]'),
    row("names a file of 5,000 letters", "no file 'xxx", f'{MODEL}model = "{"x" * 5000}"\n[badnets.first]'),
    row("names a track by a path", "track: String should match", f'{CODE}track = "/tmp/evil"'),
    row("names itself ../../README", "name: String should match", CODE.replace("mine", "../../README")),
    row("names itself as another does, in capitals", "name: String should match", CODE.replace("mine", "MINE")),
]


@pytest.mark.parametrize("toml, words", TOML)
def test_a_hostile_submission_toml(toml: str, words: str, folder: Path) -> None:
    (folder / "submission.toml").write_text(toml)
    assert words in refused(folder)


BYTES = [
    row("writes bytes that are no UTF-8", "not UTF-8 (byte 8)", b'name = "\xff\xfe"'),
    row("writes NUL bytes", "not valid TOML", b'name = "\0\0"'),
    row("writes half a surrogate pair", "not UTF-8", b'name = "\xed\xa0\x80"'),
    row("writes it as an escape", "not valid TOML", b'name = "\\ud800"'),
]


@pytest.mark.parametrize("data, words", BYTES)
def test_a_submission_toml_that_is_no_text(data: bytes, words: str, folder: Path) -> None:
    (folder / "submission.toml").write_bytes(data)
    assert words in refused(folder)


@pytest.mark.threat(
    PART, does="writes a submission.toml of 3 GiB", outcome="refused: larger than 256 KiB; no more is read"
)
def test_a_huge_submission_toml_is_not_read_whole(folder: Path) -> None:
    os.truncate(folder / "submission.toml", 3 * GIB)
    tracemalloc.start()
    try:
        assert "larger than 256 KiB" in refused(folder)
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024**2
    finally:
        tracemalloc.stop()


def a_link(to: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(to)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def a_device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("only root makes devices")


STRANGE = [
    row("puts a pipe into the folder", "'x' is a pipe, not a file; remove it", os.mkfifo),
    row("puts a socket there", "'x' is a socket, not a file", a_socket),
    row("puts a device there", "'x' is a device, not a file", a_device),
    row("links to a key of the host's user", "outside this folder", a_link("../id_rsa")),
    row("links to the kernel's log", "'x' is a link to '/proc/kmsg', outside this folder", a_link("/proc/kmsg")),
    row("links to /dev/zero", "outside this folder", a_link("/dev/zero")),
    row("links to a folder of the host", "outside this folder", a_link("/etc")),
    row("links to the folder above its own", "outside this folder", a_link("..")),
    row("links to nothing", "'nowhere', where nothing is; remove it", a_link("nowhere")),
    row("links to itself", "where nothing is", a_link("x")),
    row("links to escape codes", f"'{REPLACED}[2J', where nothing is", a_link("\x1b[2J")),
]


@pytest.mark.parametrize("make, words", STRANGE)
def test_what_is_no_file(make: Callable[[Path], None], words: str, folder: Path) -> None:
    (folder.parent / "id_rsa").write_text("secret")
    make(folder / "x")
    assert words in refused(folder)


@pytest.mark.parametrize("make, words", [
    row("puts a pipe in place of submission.toml", "'submission.toml' is a pipe", os.mkfifo),
    row("puts a folder there", "submission.toml: is a folder, not a file", Path.mkdir),
    row("puts a link to /dev/zero there", "'submission.toml' is a link to '/dev/zero'", a_link("/dev/zero")),
])  # fmt: skip
def test_what_stands_for_submission_toml(make: Callable[[Path], None], words: str, folder: Path) -> None:
    (folder / "submission.toml").unlink()
    make(folder / "submission.toml")
    with pytest.raises(UserError) as caught:
        Submission(folder)
    assert words in str(caught.value)


@pytest.mark.threat(PART, does="links to the folder itself, without an end", outcome="harmless: no link is followed")
def test_a_link_that_goes_round_is_not_followed(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "round").symlink_to("../..")
    assert Submission(folder).digest


@pytest.mark.threat(PART, does="swaps a file for a link within the folder", outcome="another digest")
def test_a_link_counts_as_what_it_says(folder: Path) -> None:
    (folder / "q.py").write_text("Q = int")
    digests = {Submission(folder).digest}
    for target in ("p.py", "q.py"):
        (folder / "link").unlink(missing_ok=True)
        (folder / "link").symlink_to(target)
        digests.add(Submission(folder).digest)
    assert len(digests) == 3


@pytest.mark.threat(PART, does="puts a sparse model of 10 GiB", outcome="refused before it is read, with name and size")
def test_a_folder_that_is_too_large(folder: Path) -> None:
    (folder / "model.h5").touch()
    os.truncate(folder / "model.h5", 10 * GIB)
    assert "'model.h5' has 10.0 GiB, and all files together may have 4 GiB" in refused(folder)


@pytest.mark.threat(PART, does="spreads 10 GiB over ten sparse files", outcome="refused: all files together count")
def test_a_folder_of_files_that_are_too_large_together(folder: Path) -> None:
    for number in range(10):
        (folder / f"{number}.h5").touch()
        os.truncate(folder / f"{number}.h5", GIB)
    assert "all files together may have 4 GiB" in refused(folder)


@pytest.mark.threat(PART, does="puts 10,001 files", outcome="refused: too many")
def test_a_folder_of_too_many_files(folder: Path) -> None:
    (folder / "many").mkdir()
    for number in range(10_000):
        os.close(os.open(folder / "many" / str(number), os.O_CREAT | os.O_WRONLY))
    assert "more than 10,000 files and folders" in refused(folder)


@pytest.mark.threat(PART, does="nests folders deeper than a path may be long", outcome="refused: cannot be read")
def test_a_folder_without_a_bottom(folder: Path) -> None:
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(folder)
        for _ in range(20):
            os.mkdir("x" * 250)
            os.chdir("x" * 250)
        assert "cannot be read (File name too long)" in refused(folder)
    finally:
        for _ in range(20):
            os.chdir("..")
            os.rmdir("x" * 250)
        os.fchdir(before)
        os.close(before)


@pytest.mark.parametrize("name, words", [
    row("names a file with a line break", "'a b': a name with unprintable characters", b"a\nb"),
    row("names a file with escape codes", f"'{REPLACED}[2J': a name with", b"\x1b[2J"),
    row("names a file in bytes that are no UTF-8", f"'x{REPLACED}': a name with", b"x\xff"),
])  # fmt: skip
def test_a_name_that_cannot_be_printed(name: bytes, words: str, folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).touch()
    assert words in refused(folder)


@pytest.mark.threat(PART, does="names the whole folder with escape codes", outcome="refused, shown without them")
def test_a_folder_whose_name_acts_on_a_terminal(folder: Path, badnet: Callable[..., Any]) -> None:
    odd = folder.rename(folder.with_name("\x1b[2J"))
    done = badnet("evaluate", odd)
    assert done.returncode == 2
    assert f"{REPLACED}[2J': a name with unprintable characters; rename the folder" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.threat(PART, does="names a file with rich markup", outcome="shown as it is")
def test_markup_in_a_name_is_only_text(folder: Path, badnet: Callable[..., Any]) -> None:
    (folder / "[red]x.h5").touch()
    (folder / "submission.toml").write_text(f'{MODEL}[badnets.sunglasses]\nmodel = "[red]x.h5"')
    assert "'[red]x.h5' is empty" in badnet("check", folder).stderr


@pytest.mark.parametrize("change", [
    pytest.param(change, id=does, marks=pytest.mark.threat(PART, does=does, outcome="refused: changed; no record"))
    for does, change in {
        "swaps a file while it is examined": lambda path: (path / "p.py").write_text("P = set"),
        "adds one": lambda path: (path / "new").touch(),
        "removes one": lambda path: (path / "p.py").unlink(),
        "swaps one and sets the clock of the file back": lambda path: set_back(path / "p.py"),
    }.items()
])  # fmt: skip
def test_a_submission_that_changes_is_noticed(change: Callable[[Path], None], folder: Path) -> None:
    submission = Submission(folder)
    assert submission.digest
    submission.refuse_change()
    time.sleep(0.05)  # the kernel's clock for files ticks every few milliseconds
    change(folder)
    with pytest.raises(UserError, match="was changed while it was examined; evaluate it again"):
        submission.refuse_change()


def set_back(path: Path) -> None:
    before = path.stat()
    path.write_text("P = set")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat()[:8] == before[:8]


@pytest.mark.parametrize("authors, taken", [(["A", "new"], False), (["B"], True), ([], True)])
@pytest.mark.threat(PART, does="takes the name of somebody's record", outcome="refused, unless an author is the same")
def test_a_record_of_others_is_not_replaced(authors: list[str], taken: bool, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    track = write_track(tmp_path / "tiny")
    record = write_results(tmp_path / "results", track)  # by "A"
    (folder / "submission.toml").write_text(f"{CODE}authors = {authors}")
    run = sole_run(Submission(folder), track, lock=tmp_path / "lock", record=record)
    if not taken:
        with run:
            return
    with (
        pytest.raises(UserError, match="is the record of A, none of them among this submission's authors"),
        run,
    ):
        pass


@pytest.mark.threat(
    PART, does="gives a hyper-parameter of 100 KB", outcome="the worst case: its options cannot be sent"
)
def test_options_that_fit_into_no_frame_cost_the_submission_alone(
    folder: Path, tiny_track_folder: Path, tmp_path: Path, badnet: Callable[..., Any]
) -> None:
    (folder / "submission.toml").write_text(f'{CODE}options.x = "{"x" * 100_000}"')
    done = badnet("evaluate", folder, "--track", tiny_track_folder, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    failure = read_record(tmp_path / "tiny" / "mine.json").badnets["first"].failure
    assert failure is not None
    assert failure.reason.startswith("its options cannot be sent")


@pytest.mark.threat(PART, does="hides code in Python's cache, beside harmless sources", outcome="another digest")
def test_compiled_code_counts(folder: Path) -> None:
    before = Submission(folder).digest
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "predict.cpython-311.pyc").write_bytes(b"code")
    assert Submission(folder).digest != before
