"""Which defense is to repair which BadNets, and with what options: what `badnet defend` is told."""

import ast
import json
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import UserError
from harness.submission import FILE, Submission
from harness.track import Track
from harness.wording import did_you_mean, harmless

KIND = "defense"
DEFENSES = Path(__file__).resolve().parent.parent / "reference_defenses"


class Defender(NamedTuple):
    """A defense by name, the folder with its own code (None: a reference defense), and its table for each BadNet."""

    name: str
    folder: Path | None
    tables: Mapping[str, dict[str, Any]]


def find_defender(name: str, track: Track, badnets: Sequence[str], options: Sequence[str]) -> Defender:
    """The reference defense of that name, or that of a submission's folder, for these BadNets of the track; none: for all.

    options: "name=value" each; they win over those of the folder. Raises UserError.
    """
    for badnet in badnets:
        if badnet not in track.badnets:
            raise UserError(
                f"--badnet {harmless(badnet, 60)!r}: track {track.name!r} has no such BadNet; "
                f"{did_you_mean(badnet, track.badnets)}"
            )
    chosen = [badnet for badnet in track.badnets if badnet in badnets or not badnets]
    own = dict(option_of(words) for words in options)
    if entry := _reference_entry(name):
        return Defender(name, None, {badnet: {"entry": entry, "options": own} for badnet in chosen})
    submission = _submission(name)
    tables = {it: table.model_dump(mode="json") for it, table in submission.tables(track.spec.badnets).items()}
    if any(tables[badnet].get("oracle") for badnet in chosen):
        raise UserError(
            f"{submission.path}: oracle = true: sees what no competitor has, so that nothing can be handed in; "
            "`badnet evaluate` examines it"
        )
    return Defender(
        submission.name,
        submission.folder,
        {badnet: {**tables[badnet], "options": tables[badnet]["options"] | own} for badnet in chosen},
    )


def defender_names() -> list[str]:
    """The reference defenses, as people type them."""
    return sorted(path.stem.replace("_", "-") for path in DEFENSES.glob("*.py") if not path.name.startswith("_"))


def option_of(words: str) -> tuple[str, Any]:
    """An option given as "name=value": the value as TOML has it, else as text. Raises UserError."""
    name, equals, value = words.partition("=")
    if not equals or not name.isidentifier():
        raise UserError(f"--option {harmless(words, 80)!r}: write it as name=value")
    with suppress(ValueError, TypeError, RecursionError):
        tables = tomllib.loads(f"value = {value}")
        json.dumps(tables, allow_nan=False)  # what the sandbox can be told
        if tables.keys() == {"value"}:
            return name, tables["value"]
    return name, value


def _reference_entry(name: str) -> str | None:
    """The entry of a reference defense, found without importing it: its file's one public class with a `repair`."""
    if name.replace("_", "-") not in defender_names():
        return None
    module = name.replace("-", "_")
    path = DEFENSES / f"{module}.py"
    classes = [it for it in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(it, ast.ClassDef)]
    found = [it.name for it in classes if not it.name.startswith("_") and _repairs(it)]
    if len(found) != 1:
        raise UserError(f"{path}: has {len(found)} public classes with a repair method; one is expected")
    return f"{DEFENSES.name}.{module}:{found[0]}"


def _repairs(made: ast.ClassDef) -> bool:
    return any(isinstance(it, ast.FunctionDef) and it.name == "repair" for it in made.body)


def _submission(name: str) -> Submission:
    if not (Path(name) / FILE).is_file():
        raise UserError(
            f'{harmless(name, 80)!r}: no such defense, nor a folder whose {FILE} says kind = "{KIND}"; '
            f"{did_you_mean(name, defender_names())}"
        )
    submission = Submission(Path(name))
    if submission.spec.kind != KIND:
        raise UserError(f'{submission.path}: kind: {submission.spec.kind!r} repairs nothing; name one of kind "{KIND}"')
    return submission
