"""`badnet new`: a submission folder that is graded as it is, to begin from.

The starter of a kind is a folder of `harness/starters/`, found by its name. Its files are copied; in its submission.toml
$name, $track and $classes are filled in, and what stands from the line `[badnets.$badnet]` on is repeated for each
BadNet, with $badnet, $scale and the names of `MADE`.
"""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from harness.console import Desk
from harness.errors import MachineError, UserError
from harness.exam import PUBLIC_SEED, Exam
from harness.preparation import prepare
from harness.submission import FILE
from harness.track import NAME, BadNet, Track
from harness.wording import did_you_mean, harmless

ROOT = Path(__file__).resolve().parent.parent
STARTERS = Path(__file__).resolve().parent / "starters"
TABLE = "[badnets.$badnet]\n"


def starter_names() -> list[str]:
    """The kinds that have a starter, in alphabetical order."""
    return sorted(path.parent.name for path in STARTERS.glob(f"*/{FILE}"))


def valid_name(words: str) -> str:
    """The submission's name that is nearest to these words."""
    return re.sub(r"[^a-z0-9_-]+", "-", words.lower()).strip("-_")[:64] or "team-x"


def usual_folder(name: str) -> Path:
    """Where a submission of that name goes unless said: `submissions/` of this checkout, the current folder elsewhere."""
    here = Path.cwd()
    return Path("submissions" if here == ROOT else ROOT / "submissions" if here.is_relative_to(ROOT) else ".") / name


def start(name: str, kind: str, track: Track, folder: Path, desk: Desk) -> None:
    """Write a submission of that kind, with a table for each BadNet of the track, into the new folder `folder`.

    Raises UserError for a wrong name or kind, a folder that exists and a track that is not ready; MachineError where
    nothing can be written. What is written is there whole or not at all.
    """
    if not re.fullmatch(NAME, name):
        raise UserError(f"name {harmless(name, 80)!r}: use a-z, 0-9, - and _, at most 64; such as {valid_name(name)!r}")
    if kind not in starter_names():
        problem = f"{harmless(kind, 60)!r}: no such kind" if kind else "missing"
        raise UserError(f"--kind {problem}; {did_you_mean(kind, starter_names())}")
    if folder.exists():
        raise UserError(f"{folder}: is there already; choose another name, or a new folder with --out")
    prepare(track, desk.report(f"track {track.name}"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".badnet-new-", dir=folder.parent) as beside:
            made = Path(beside) / name
            made.mkdir()
            _fill(made, name, STARTERS / kind, track)
            made.rename(folder)
    except OSError as error:
        raise MachineError(f"{folder}: cannot be written ({error})") from error


def following(folder: Path, track: str) -> list[str]:
    """What was written, and the commands that come next. track: as the user named it."""
    return [f"written: {folder / FILE}, which says how to go on; then", *next_commands(folder, track)]


def next_commands(folder: Path, track: str) -> list[str]:
    """How a submission is checked and evaluated, an indented line each. track: as the user named it."""
    named = "" if re.fullmatch(NAME, track) else f" --track {shlex.quote(track)}"
    return [f"  badnet {verb} {shlex.quote(str(folder))}{named}" for verb in ("check", "evaluate")]


def _fill(folder: Path, name: str, starter: Path, track: Track) -> None:
    for path in starter.iterdir():
        if path.is_file() and path.name != FILE:
            shutil.copyfile(path, folder / path.name)
    head, table, rows = (starter / FILE).read_text(encoding="utf-8").partition(TABLE)
    common = {"name": name, "track": track.name, "classes": str(track.classes)}
    parts = [Template(head).substitute(common)]
    if table:
        template = Template(table + rows)
        wanted = MADE.keys() & set(template.get_identifiers())
        for badnet in track.badnets.values():
            own = {"badnet": badnet.name, "scale": f"{badnet.spec.scale:g}"}
            files = {it: MADE[it](folder, badnet, track) for it in wanted}
            parts.append(template.substitute(common | own | files))
    (folder / FILE).write_text("".join(parts), encoding="utf-8")


def _model(folder: Path, badnet: BadNet, track: Track) -> str:
    path = folder / f"{badnet.name}{badnet.model_path.suffix}"
    shutil.copyfile(badnet.model_path, path)
    return path.name


def _answers(folder: Path, badnet: BadNet, track: Track) -> str:
    path = folder / f"{badnet.name}.csv"
    path.write_text(f"{track.classes}\n" * len(Exam(badnet, PUBLIC_SEED)), encoding="utf-8")
    return path.name


MADE: dict[str, Callable[[Path, BadNet, Track], str]] = {"model": _model, "answers": _answers}
"""Names for which a file is made, whose name they stand for: the BadNet itself, and a flag for each published image."""
