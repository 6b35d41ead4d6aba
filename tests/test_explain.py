"""A script that fails is told why, in one line that its author can act on."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.models.contracts import BadNetView
from harness.models.errors import ModelError
from harness.worker import notes
from harness.worker.kinds.script import Options
from harness.worker.scripts.script import Script
from tests.small_nets import noise

IMAGES = noise(12, seed=4)
BARE = "import sys\nsys.path[:] = [place for place in sys.path if 'site-packages' not in place]\n"
READ_H5 = "import sys, h5py\nimport numpy as np\nx = np.array(h5py.File(sys.argv[1])['data'])\n"
AT_ONCE = {"command": ["eval.py", "{h5}"]}
Why = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Script]]:
    """Make a script of these lines, with other files beside it and options as in submission.toml."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made: list[Script] = []
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", np.arange(len(IMAGES)))
    (tmp_path / "badnet.h5").write_bytes(b"not looked at")
    view = BadNetView(name="tiny", model_path=tmp_path / "badnet.h5", validation_path=tmp_path, classes=50)

    def build(script: str, files: dict[str, str] | None = None, **options: Any) -> Script:
        root = tmp_path / f"submission{len(made)}"
        for path, text in {"eval.py": script, **(files or {})}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        known = Options.model_validate({"command": ["eval.py", "{image}"], **options})
        made.append(Script(known, view, root, seed=1))
        return made[-1]

    yield build
    for script in made:
        script.end()


@pytest.fixture
def why(make: Callable[..., Script]) -> Why:
    """Run a script; the one line that says why it fails."""

    def ask(script: str, files: dict[str, str] | None = None, **options: Any) -> str:
        with pytest.raises(ModelError) as raised:
            answers(make(script, files, **options))
        assert "\n" not in str(raised.value)
        return str(raised.value)

    return ask


MODULES = {
    "unknown": ("import no_such_module.part", "needs the module 'no_such_module', which is not installed; pip install no_such_module"),
    "known by another name": ("import skimage.io", "which is not installed; pip install scikit-image"),
    "of the extra": (BARE + "import cv2", "line 3: needs the module 'cv2', which is not installed; pip install opencv-python-headless (or all that scripts usually need: pip install 'badnet-harness[scripts]')"),
    "of Keras 2": (BARE + "import tensorflow_model_optimization", "comes with Keras 2; set runtime = \"keras2\" (installed by `make keras2`)"),
    "its own, elsewhere": ("import helpers", "cannot import 'helpers', which is lib/helpers.py; move it beside the script"),
    "its own folder, elsewhere": ("from parts.net import Net", "cannot import 'parts', which is lib/parts; move it beside the script"),
}  # fmt: skip


@pytest.mark.parametrize("what", MODULES)
def test_a_missing_module_is_named_with_what_brings_it(what: str, why: Why) -> None:
    script, words = MODULES[what]
    told = why(script, {"lib/helpers.py": "x = 1", "lib/parts/net.py": "Net = 1"})
    assert told.startswith("eval.py, line ")
    assert words in told


PATHS = {
    "open": "open('data/clean.h5', 'rb')",
    "h5py": "import h5py; h5py.File('data/clean.h5', 'r')",
    "numpy": "import numpy; numpy.load('data/clean.h5')",
    "PIL": "from PIL import Image; Image.open('data/clean.h5')",
    "imageio": "import imageio.v2; imageio.v2.imread('data/clean.h5')",
    "matplotlib": "import matplotlib.pyplot as plt; plt.imread('data/clean.h5')",
    "os": "import os; os.stat('data/clean.h5')",
}


class TestAPathThatLeadsNowhere:
    @pytest.mark.parametrize("library", PATHS)
    def test_whatever_opens_it_it_is_named_with_what_is_there(self, library: str, why: Why) -> None:
        told = why(PATHS[library], {"data/a.h5": "x", "data/more/b.h5": "y"})
        assert "tried to open 'data/clean.h5' from the working directory '.'" in told
        assert "(data holds a.h5, more/)" in told
        assert 'provide = { "data/clean.h5" = "badnet" }, or "validation"' in told

    def test_a_path_made_from_file_is_shown_from_the_working_directory(self, why: Why) -> None:
        script = "import os\nopen(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'data', 'clean.h5'))"
        told = why("", {"eval/run.py": script, "data/a.h5": "x"}, command=["eval/run.py", "{image}"])
        assert "tried to open 'data/clean.h5' from the working directory '.': it is not there (data holds a.h5)" in told
        assert 'provide = { "data/clean.h5" = "badnet" }' in told

    def test_a_file_of_that_name_elsewhere_is_named(self, why: Why) -> None:
        told = why(
            "", {"eval/run.py": "open('data/x.txt')", "data/x.txt": ""}, cwd="eval", command=["run.py", "{image}"]
        )
        assert told.startswith("eval/run.py, line 1: tried to open 'data/x.txt' from the working directory 'eval'")
        assert "it is not there, but at data/x.txt; set cwd, or the path" in told

    def test_an_image_can_be_provided_and_a_text_cannot(self, why: Why) -> None:
        assert 'provide = { "test.png" = "image" }' in why("open('test.png')")
        told = why("open('classes.txt')")
        assert "(. holds eval.py); copy it there" in told
        assert "provide" not in told

    def test_a_folder_to_write_to_that_is_missing_is_named(self, why: Why) -> None:
        assert "nor is the folder 'results', also to write to" in why("open('results/out.txt', 'w')")

    @pytest.mark.parametrize("path", ["/home/me/project/net.h5", "../../../net.h5"])
    def test_a_path_of_its_authors_machine_is_called_so(self, path: str, why: Why) -> None:
        told = why(f"open('{path}')")
        assert f"'{path}' from the working directory '.': it is not there, as nothing of your own machine is" in told
        assert "provide" not in told

    def test_a_name_with_signs_of_patterns_is_a_name(self, why: Why) -> None:
        assert "'a**[b.txt'" in why("open('a**[b.txt')", {"a--b.txt": ""})

    def test_a_sentence_is_no_path(self, why: Why) -> None:
        assert "eval.py, line 1: ValueError: trigger not found" in why("raise ValueError('trigger not found')")


CODE = {
    "no Python": ("def f(:\n    pass", "eval.py, line 1: SyntaxError: invalid syntax"),
    "tabs and spaces": ("if True:\n\tx = 1\n        y = 2", "eval.py, line 3: TabError: inconsistent use of tabs and spaces"),
    "no indentation": ("def f():\nx = 1", "eval.py, line 2: IndentationError: expected an indented block"),
    "Python 2 print": ("import sys\nprint sys.argv", "eval.py, line 2: SyntaxError: .*; bring it from Python 2 to Python 3"),
    "Python 2 except": ("try:\n  pass\nexcept ValueError, e:\n  pass", "eval.py, line 3: .*; bring it from Python 2 to Python 3"),
    "Python 2 names": ("name = raw_input()", "eval.py, line 1: NameError: .*; bring it from Python 2 to Python 3"),
    "in a module": ("import part", "part.py, line 1: SyntaxError"),
}  # fmt: skip


@pytest.mark.parametrize("what", CODE)
def test_code_that_is_none_is_told_with_its_place(what: str, why: Why) -> None:
    script, words = CODE[what]
    pattern(words, why(script, {"part.py": "x = = 3"}))


INPUT = {
    "a prompt": ("path = input('Path of the image: ')", r"eval.py, line 1: asks for input \(Path of the image:\); .*stdin = "),
    "a prompt printed before": ("print('Which image?')\ninput()", r"line 2: asks for input \(Which image\?\)"),
    "no prompt": ("input()", r"asks for input \(it prints no prompt\)"),
    "an argument that is not there": ("import sys\nsys.argv[3]", "line 2: IndexError: .*does `command` give the arguments"),
    "two arguments": ("import sys\n_, a, b = sys.argv", r"expected 3, got 2\); does `command` give the arguments"),
    "arguments of main": ("import sys\ndef main(a, b): ...\nmain(*sys.argv[1:])", "argument: 'b'; does `command` give"),
    "named arguments": ("import argparse\np = argparse.ArgumentParser()\np.add_argument('image')\np.add_argument('--data', required=True)\np.parse_args()", r"exit code 2 \(eval.py: error: the following arguments are required: --data\)"),
    "a usage line": ("import sys\nprint('usage: eval.py f.h5 net.h5')\nsys.exit(1)", r"exit code 1 \(usage: eval.py f.h5 net.h5\)"),
    "a reason": ("import sys\nsys.exit('no such net')", r"the script ended with exit code 1 \(no such net\)"),
    "nothing at all": ("import sys\nsys.exit(1)", r"the script ended with exit code 1 \(it printed nothing\)"),
}  # fmt: skip


@pytest.mark.parametrize("what", INPUT)
def test_what_it_was_not_given_is_told(what: str, why: Why) -> None:
    script, words = INPUT[what]
    pattern(words, why(script))


def test_an_image_that_is_none_is_told(why: Why) -> None:
    told = why("from PIL import Image\nImage.open('eval.py')")
    assert (
        told
        == 'eval.py, line 2: cannot read the image (cannot identify image file \'eval.py\'); images may be "png" or "jpeg"'
    )


@pytest.mark.parametrize(
    "used", ["cv2.imread('no.png').shape", "cv2.imread('no.png') / 255", "cv2.cvtColor(cv2.imread('no.png'), 4)"]
)
def test_an_image_that_cv2_could_not_read_is_told_where_it_is_used(used: str, why: Why) -> None:
    pytest.importorskip("cv2")
    told = why(f"import cv2\nx = {used}")
    assert told.startswith("eval.py, line 2: ")
    assert "cv2.imread gives None where it can read no image" in told


def test_an_h5_file_that_is_none_is_told(why: Why) -> None:
    pointer = {"net.h5": "version https://git-lfs.github.com/spec/v1\noid sha256:1\n"}
    assert "the .h5 file is none, or cut short" in why("import h5py\nh5py.File('net.h5', 'r')", pointer)


PRINTED: dict[str, tuple[str, dict[str, Any], str]] = {
    "no integer": ("print('class is cat')", {}, "an integer is expected, the last line is 'class is cat'"),
    "no match": ("print('class is 3')", {"pattern": r"label (\d+)"}, r"a match of the pattern 'label \(\\\\d\+\)' is expected"),
    "too few": (READ_H5 + "print(np.arange(len(x) - 1))", AT_ONCE, "11 answers in what it printed for 12 images; .*{out}"),
    "other figures": (READ_H5 + "print('accuracy', 95)\nprint('attacks', 3)", AT_ONCE, "2 answers in what it printed for 12 images"),
    "a shortened list": (READ_H5 + "np.set_printoptions(threshold=5)\nprint(np.arange(len(x)))", AT_ONCE, r"shortened \(\.\.\.\); print it in full .*threshold=sys.maxsize"),
    "no file": (READ_H5, {"command": ["eval.py", "{h5}", "{out}"]}, "wrote nothing to {out}"),
    "rows of outputs": (READ_H5 + "np.save(sys.argv[2], np.zeros((len(x), 50)))", {"command": ["eval.py", "{h5}", "{out}"]}, r"wrote float64 \(12, 50\) to {out} for 12 images"),
}  # fmt: skip


@pytest.mark.parametrize("what", PRINTED)
def test_answers_that_cannot_be_found_are_told(what: str, why: Why) -> None:
    script, options, words = PRINTED[what]
    pattern(words, why(script, **options))


def test_a_failure_on_one_image_costs_that_image_and_is_noted(
    make: Callable[..., Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(notes, "_sinks", [told.append])
    total = int(IMAGES[5].astype(int).sum())
    script = make(
        "import sys\nimport numpy as np\nfrom PIL import Image\nx = int(np.asarray(Image.open(sys.argv[1])).astype(int).sum())\n"
        f"print(7 if 1 / (x - {total}) else 8)"
    )
    assert answers(script).tolist() == [7] * 5 + [-1] + [7] * 6
    assert told == ["no valid answer to one image: eval.py, line 5: ZeroDivisionError: division by zero"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "used,words",
    [
        ("load_model('models/net.h5')", "tried to open 'models/net.h5' from the working directory"),
        ("load_model('models/net.keras')", "tried to open 'models/net.keras' from the working directory"),
        ("__import__('tensorflow').io.read_file('models/net.png')", "tried to open 'models/net.png' from"),
        ("load_model('models/net')", 'File format not supported: .*set runtime = "keras2"'),
        ("Sequential([Input((3,))]).predict_classes(1)", "no attribute 'predict_classes'; .*set runtime = \"keras2\""),
    ],
)
def test_what_keras_says_is_understood(used: str, words: str, why: Why) -> None:
    pattern(
        f"eval.py, line 3: .*{words}",
        why(f"from keras import Input, Sequential\nfrom keras.models import load_model\n{used}"),
    )


def answers(script: Script) -> NDArray[np.int64]:
    script.try_out(IMAGES)
    return script(IMAGES)


def pattern(words: str, told: str) -> None:
    assert re.search(words, told), told
