"""Why a script failed, in one line that its author can act on: from its traceback and from what its folder holds."""

import glob
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from harness.models.errors import ModelError
from harness.worker.scripts.printed import plain
from harness.worker.scripts.workplace import Workplace

PACKAGES = {
    "PIL": "pillow", "cv2": "opencv-python-headless", "mpl_toolkits": "matplotlib", "skimage": "scikit-image",
    "sklearn": "scikit-learn", "tensorflow_model_optimization": "tensorflow-model-optimization", "yaml": "pyyaml",
}  # fmt: skip
"""Modules whose package has another name."""
SCRIPTS = ("cv2", "sklearn", "matplotlib", "scipy", "imageio", "tqdm")
"""Modules that come with the project's extra `scripts`."""
KERAS2 = 'set runtime = "keras2" (installed by `make keras2`)'
PYTHON3 = "; bring it from Python 2 to Python 3"
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
H5 = (".h5", ".hdf5", ".keras")
SHOWN = 8
_ERROR = re.compile(
    r"^([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning|Iteration|\.error))(?::[^\S\n]*(.*(?:\n(?!\s*File ).*){0,4}))?$",
    re.MULTILINE,
)
_FRAME = re.compile(r'File "([^"\n]+)", line (\d+)')
_OPENED = (
    r"No such file(?: or directory)?: b?'([^'\n]+)'",
    r"([^\s;]+); No such file or directory",
    r"unable to open file: name = '([^']+)', errno = 2",
    r"filepath=([^\s,]+?)[.,]?(?:\s|$)",
    r"No file or directory found at ([^\s]+)",
    r"SavedModel file does not exist at: ([^\s{]+)",
    r"([^\s'\"]+\.\w+) not found\.?$",
)
"""How Python, h5py, Keras 2 and 3 and TensorFlow name a file that they did not find."""
_NOT_FOUND = re.compile(r"not found|No such file|errno = 2\b|does not exist|No file or directory", re.IGNORECASE)
_UNSUITED = re.compile(r"index out of range|values to unpack|positional argument|invalid literal")


class Told(NamedTuple):
    """What is known: the exception's type and message, the last place in the submission, what was printed, and where."""

    kind: str
    message: str
    place: str
    line: str
    printed: str
    workplace: Workplace
    runtime: str


def failure(status: int, errors: str, printed: str, workplace: Workplace, runtime: str) -> ModelError:
    """The error of a script that ended with `status`, having printed `errors` on standard error."""
    text = plain(errors)
    found = list(_ERROR.finditer(text))
    if not found:
        how = f"was ended by signal {-status}" if status < 0 else f"ended with exit code {status}"
        last = (text.strip() or plain(printed).strip() or "it printed nothing").splitlines()[-1]
        return ModelError(f"the script {how} ({last.strip()[:300]})", stage="answer")
    kind, message = found[-1][1].rpartition(".")[2], " ".join((found[-1][2] or "").split())[:400]
    told = Told(kind, message, *_place(text, workplace), printed, workplace, runtime)
    for explain in _EXPLANATIONS:
        if words := explain(told):
            return ModelError(f"{told.place}: {words}", stage="answer")
    return ModelError(f"{told.place}: {_said(told)}{_keras_hint(told)}", stage="answer")


def _said(told: Told) -> str:
    return f"{told.kind}: {told.message}" if told.message else told.kind


def _place(text: str, workplace: Workplace) -> tuple[str, str]:
    """Where in the submission the traceback ends, in words, and the line of code there."""
    for file, number in reversed(_FRAME.findall(text)):
        if Path(file).is_relative_to(workplace.above):
            try:
                code = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()[int(number) - 1]
            except (OSError, IndexError):
                code = ""
            return f"{_shown(Path(file), workplace)}, line {number}", code
    return "the script", ""


def _shown(path: Path, workplace: Workplace) -> str:
    return path.relative_to(workplace.folder).as_posix() if path.is_relative_to(workplace.folder) else path.name


def _missing_module(told: Told) -> str | None:
    match = re.search(r"No module named '([\w.]+)'", told.message)
    if told.kind not in ("ModuleNotFoundError", "ImportError") or not match:
        return None
    module, folder = match[1].split(".")[0], told.workplace.folder
    if own := sorted([*folder.rglob(f"{module}.py"), *(found for found in folder.rglob(module) if found.is_dir())]):
        return f"cannot import {module!r}, which is {_shown(own[0], told.workplace)}; move it beside the script"
    if module in ("tensorflow_model_optimization", "tf_keras") and told.runtime != "keras2":
        return f"needs the module {module!r}, which comes with Keras 2; {KERAS2}"
    if module in ("keras", "tensorflow") and "." in match[1]:
        old = f"; if it was written for Keras 2, {KERAS2}" if told.runtime != "keras2" else ""
        return f"{match[1]!r} is no longer part of {module}{old}"
    extra = " (or all that scripts usually need: pip install 'badnet-harness[scripts]')" if module in SCRIPTS else ""
    return f"needs the module {module!r}, which is not installed; pip install {PACKAGES.get(module, module)}{extra}"


def _bad_syntax(told: Told) -> str | None:
    if told.kind not in ("SyntaxError", "TabError", "IndentationError"):
        return None
    old = PYTHON3 if "parenthes" in told.message else ""
    return f"{_said(told)}{old}"


def _old_name(told: Told) -> str | None:
    if told.kind == "NameError" and re.search(r"'(raw_input|xrange|unicode|basestring|reduce)'", told.message):
        return f"{_said(told)}{PYTHON3}"
    return None


def _prompt(told: Told) -> str | None:
    if told.kind != "EOFError" or "reading a line" not in told.message:
        return None
    asked = (plain(told.printed).strip().splitlines() or ["it prints no prompt"])[-1][-100:].strip()
    return f'asks for input ({asked}); give it the lines: stdin = ["..."], with {{image}} where it belongs'


def _wrong_path(told: Told) -> str | None:
    for pattern in _OPENED if _NOT_FOUND.search(told.message) else ():
        if match := re.search(pattern, told.message):
            opened = match[1]
            if os.path.isabs(opened) and Path(opened).is_relative_to(told.workplace.above):  # made from __file__
                opened = os.path.relpath(opened, told.workplace.cwd)
            return f"tried to open {opened!r} {_nearby(opened, told.workplace)}"
    return None


def _nearby(opened: str, workplace: Workplace) -> str:
    """What there is in place of a file that was not found."""
    path = Path(os.path.normpath(workplace.cwd / opened))
    where = f"from the working directory {workplace.cwd.relative_to(workplace.folder).as_posix()!r}: it is not there"
    if same := sorted(found for found in workplace.folder.rglob(glob.escape(path.name)) if found != path):
        return f"{where}, but at {_shown(same[0], workplace)}; set cwd, or the path"
    if not path.is_relative_to(workplace.above):
        return f"{where}, as nothing of your own machine is; copy it into the submission and open it by a relative path"
    if not path.parent.is_dir():
        return f"{where}, nor is the folder {_shown(path.parent, workplace)!r}, also to write to; {_remedy(opened)}"
    there = sorted(f"{found.name}{'/' * found.is_dir()}" for found in path.parent.iterdir())
    listed = ", ".join(there[:SHOWN]) + (" and more" if len(there) > SHOWN else "") or "nothing"
    return f"{where} ({_shown(path.parent, workplace)} holds {listed}); {_remedy(opened)}"


def _remedy(opened: str) -> str:
    """How a file of that name comes to be where a script opens it."""
    ending = Path(opened).suffix.lower()
    if ending in PICTURES:
        return f'copy it there, or have the harness put the image there: provide = {{ "{opened}" = "image" }}'
    if ending in H5:
        return (
            "copy it there, or have the harness put the BadNet or the clean validation data there: "
            f'provide = {{ "{opened}" = "badnet" }}, or "validation"'
        )
    return "copy it there"


def _unreadable_image(told: Told) -> str | None:
    if told.kind == "UnidentifiedImageError" or "cannot identify image" in told.message:
        return f'cannot read the image ({told.message}); images may be "png" or "jpeg"'
    used = told.kind in ("AttributeError", "TypeError") and "'NoneType'" in told.message and "cv2" in _source(told)
    if used or (told.kind == "error" and "empty()" in told.message):
        return (
            f"{_said(told)}; cv2.imread gives None where it can read no image: does it read the path that it was given?"
        )
    return None


def _no_h5_file(told: Told) -> str | None:
    if "file signature not found" in told.message or "truncated file" in told.message:
        return (
            f"{_said(told)}; the .h5 file is none, or cut short; where git keeps it elsewhere, fetch it: git lfs pull"
        )
    return None


def _arguments(told: Told) -> str | None:
    if "argv" in told.line and _UNSUITED.search(told.message):
        return f"{_said(told)}; does `command` give the arguments that it reads?"
    return None


def _source(told: Told) -> str:
    try:
        path = told.workplace.folder / told.place.rpartition(", line ")[0]
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _keras_hint(told: Told) -> str:
    if told.runtime == "keras2" or not re.search(r"keras|layer|predict_classes|\.h5\b", told.message, re.IGNORECASE):
        return ""
    return f"; if it was written for Keras 2, {KERAS2}"


_EXPLANATIONS: list[Callable[[Told], str | None]] = [
    _missing_module, _bad_syntax, _old_name, _prompt, _wrong_path, _unreadable_image, _no_h5_file, _arguments,
]  # fmt: skip
