"""What people wrote of the baselines (`baselines.toml`), and what their code says of their hyper-parameters."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UserError
from harness.submission import Submission
from harness.toml_files import read_toml
from harness.track import Name
from harness.wording import did_you_mean, first_problem, harmless

ROOT = Path(__file__).resolve().parent.parent
NOTES = Path(__file__).resolve().parent / "baselines.toml"
SUBMISSIONS = ROOT / "submissions"
DEFENSES = ROOT / "reference_defenses"
GUESS = "first guess, not tuned"
PAIR = "pair"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Published(_Strict):
    """What somebody reported of a system like ours on one BadNet, in %; None where they did not."""

    source: str
    track: Name = "csaw2020"
    badnet: Name
    trigger: Name | None = None
    """None: all of the BadNet's triggers together."""
    clean_accuracy: float | None = Field(default=None, ge=0, le=100)
    attack_success_rate: float | None = Field(default=None, ge=0, le=100)
    detection_rate: float | None = Field(default=None, ge=0, le=100)


class Baseline(_Strict):
    """What there is to say of one baseline."""

    null: bool = False
    """Whether it is there to score 0."""
    published: list[Published] = []
    differs: str = ""
    """Where and why our figures differ from those published; or of what there are none."""


class Notes(_Strict):
    """The whole of `baselines.toml`."""

    introduction: str
    tracks: dict[Name, str]
    """What to know of a track's figures."""
    beside: str
    """Why our figures differ from published ones, whatever the baseline."""
    origins: str
    """How hyper-parameters were chosen at all."""
    baselines: dict[Name, Baseline]
    """By the name of the submission."""
    origin: dict[str, dict[str, str]]
    """File of reference_defenses -> hyper-parameter -> where its value comes from. A hyper-parameter is a field of the
    defense, or `file.NAME`, a constant that another file of reference_defenses holds, or `file.Class.field`."""


class HyperParameter(NamedTuple):
    """A value that somebody had to choose, as Python writes it, and where it comes from."""

    code: str
    """The file of reference_defenses that it steers."""
    name: str
    value: str
    origin: str


def read_notes(path: Path = NOTES) -> Notes:
    """Read and check `baselines.toml`; raises UserError that names the key."""
    try:
        return Notes.model_validate(read_toml(path))
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from error


def exams(notes: Notes, only: str) -> list[str]:
    """What is to be evaluated, as "submission/track"; only: "all", "none", or names with spaces. Raises UserError."""
    chosen = {"all": list(notes.baselines), "none": []}.get(only, only.split())
    for name in chosen:
        if name not in notes.baselines:
            raise UserError(f"ONLY {harmless(name, 60)!r}: no such baseline; {did_you_mean(name, notes.baselines)}")
    return [
        f"{name}/{track}"
        for name in chosen
        for track in dict.fromkeys([*notes.tracks, *(it.track for it in notes.baselines[name].published)])
    ]


def hyper_parameters(submission: Submission, notes: Notes) -> list[HyperParameter]:
    """All hyper-parameters of a baseline; raises UserError where the notes name one that its code does not have.

    The code is parsed, never run: it imports frameworks.
    """
    given = submission.spec.model_extra or {}
    module, options = given["entry"].partition(":")[0].rpartition(".")[2], given.get("options", {})
    if module == PAIR:
        module, options = options["of"], options.get("options", {})
    origins = notes.origin.get(module, {})
    fields = {**_fields(_defense(_parsed(module))), **{name: repr(value) for name, value in options.items()}}
    elsewhere = {name: _constant(name) for name in origins if "." in name}
    for name in origins:
        if name not in fields and elsewhere.get(name) is None:
            choices = [*fields, *elsewhere]
            raise UserError(
                f"{NOTES.name}: origin.{module}.{name}: no such hyper-parameter; "
                f"{did_you_mean(name, [it for it in choices if it != name])}"
            )
    return [
        HyperParameter(module, name, value or "", origins.get(name, GUESS))
        for name, value in (fields | elsewhere).items()
    ]


def _parsed(module: str) -> ast.Module:
    path = DEFENSES / f"{module}.py"
    if not path.exists():
        raise UserError(f"{path}: no such file of reference_defenses; correct {NOTES.name} or submission.toml")
    return ast.parse(path.read_text(encoding="utf-8"))


def _defense(tree: ast.Module) -> ast.ClassDef:
    return next(it for it in tree.body if isinstance(it, ast.ClassDef) and "repair" in _methods(it))


def _methods(kind: ast.ClassDef) -> set[str]:
    return {it.name for it in kind.body if isinstance(it, ast.FunctionDef)}


def _fields(kind: ast.ClassDef) -> dict[str, str]:
    return dict(_assigned(kind.body))


def _constant(name: str) -> str | None:
    module, *inner = name.split(".")
    body: list[Any] = _parsed(module).body
    for kind in inner[:-1]:
        body = [line for it in body if isinstance(it, ast.ClassDef) and it.name == kind for line in it.body]
    return dict(_assigned(body)).get(inner[-1])


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Names with their values, of `name: type = value` and `NAME = value`."""
    for line in body:
        if isinstance(line, ast.AnnAssign) and line.value is not None:
            yield ast.unparse(line.target), ast.unparse(line.value)
        elif isinstance(line, ast.Assign):
            yield ast.unparse(line.targets[0]), ast.unparse(line.value)
