"""A script gives the same answers in the process that stays warm as in a new one for each image."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harness.models.contracts import BadNetView
from harness.models.errors import ModelError
from harness.worker import notes
from harness.worker.kinds.script import Options, asking, files
from harness.worker.scripts.pictures import encoded
from harness.worker.scripts.script import Script
from harness.worker.scripts.template import filled, names_in
from tests.small_nets import noise

N = 50
IMAGES = noise(12, seed=4)
EXPECTED = IMAGES.astype(np.int64).reshape(len(IMAGES), -1).sum(1) % N
READ = """
import sys
import numpy as np
from PIL import Image
answer = int(np.asarray(Image.open(sys.argv[1])).astype(np.int64).sum() % 50)
"""
Make = Callable[..., Script]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The notes that were sent to the host."""
    said: list[str] = []
    monkeypatch.setattr(notes, "_sinks", [said.append])
    return said


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A script of these lines in a folder of its own, with options as in submission.toml."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scripts: list[Script] = []
    validation = tmp_path / "validation"
    validation.mkdir()
    np.save(validation / "images.npy", IMAGES)
    np.save(validation / "labels.npy", np.arange(len(IMAGES)))
    model = tmp_path / "badnet.h5"
    model.write_bytes(b"not looked at")

    def build(script: str, *, seed: int = 5, extra: dict[str, str] | None = None, **options: Any) -> Script:
        root = tmp_path / f"root{len(scripts)}"
        for path, text in {"eval.py": script, **(extra or {})}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        view = BadNetView(name="tiny", model_path=model, validation_path=validation, classes=N)
        made = Options.model_validate({"command": ["eval.py", "{image}"], **options})
        scripts.append(Script(made, view, root, seed=seed))
        return scripts[-1]

    yield build
    for script in scripts:
        script.end()


def both(script: Script) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    script.try_out(IMAGES)
    return script(IMAGES), script.cold(IMAGES)


def agree(script: Script) -> bool:
    warm, cold = both(script)
    return bool(warm.tolist() == cold.tolist() == EXPECTED.tolist())


class TestTheSameAsANewProcess:
    def test_arguments_folder_and_output(self, make: Make) -> None:
        assert agree(make(READ + "assert sys.argv[0] == 'eval.py' and len(sys.argv) == 2\nprint(answer)"))

    def test_it_is_main_in_a_fresh_namespace(self, make: Make) -> None:
        lines = "assert 'left_over' not in globals()\nleft_over = 1\nif __name__ == '__main__':\n    print(answer)"
        assert agree(make(READ + lines))

    def test_it_finds_itself_by_file_and_by_main(self, make: Make) -> None:
        lines = "import os, __main__\nassert os.path.isabs(__file__) and __main__.answer == answer\nprint(answer)"
        assert agree(make(READ + lines))

    def test_modules_of_its_own_begin_anew(self, make: Make) -> None:
        lines = "import state\nassert state.seen == []\nstate.seen.append(1)\nfrom lib.deep import f\nprint(f(answer))"
        extra = {
            "state.py": "seen = []",
            "lib/__init__.py": "",
            "lib/deep.py": "count = 0\ndef f(x):\n    global count\n    count += 1\n    assert count == 1\n    return x",
        }
        assert agree(make(READ + lines, extra=extra))

    def test_what_it_changed_is_put_back(self, make: Make) -> None:
        lines = """
import os, random, warnings
assert "MINE" not in os.environ and os.path.basename(os.getcwd()) == "submission" and "/nowhere" not in sys.path
assert np.get_printoptions()["threshold"] == 1000 and np.geterr()["divide"] == "warn"
os.environ["MINE"] = "1"; os.chdir("/"); sys.path.insert(0, "/nowhere"); sys.argv.append("x")
np.set_printoptions(threshold=5); np.seterr(all="raise"); warnings.simplefilter("error"); warnings.filters.clear()
sys.stdout.write(str(answer)); sys.stdout = open(os.devnull, "w"); sys.stderr.close()
"""
        assert agree(make(READ + lines))

    def test_every_way_to_end(self, make: Make) -> None:
        for end in ("sys.exit()", "sys.exit(0)", "exit()", "quit()", "raise SystemExit", "sys.exit(None)"):
            assert agree(make(READ + f"print(answer)\n{end}\nprint(49)"))

    def test_output_that_bypasses_python(self, make: Make) -> None:
        assert agree(make(READ + "import os\nos.write(1, str(answer).encode())"))
        assert agree(
            make(READ + "import subprocess\nsubprocess.run([sys.executable, '-c', f'print({answer})'], check=True)")
        )

    def test_lines_that_it_asks_for(self, make: Make) -> None:
        lines = (
            READ.replace("sys.argv[1]", "input('2 images? path: ')")
            + "assert sys.stdin.read() == 'yes\\n'\nprint(answer)"
        )
        assert agree(make(lines, command=["eval.py"], stdin=["{image}", "yes"]))

    def test_a_sub_folder_as_working_directory(self, make: Make) -> None:
        lines = READ + "from helper import text\nprint(answer if open('../data/x.txt').read() == text else 0)"
        extra = {"my eval/eval.py": lines, "my eval/helper.py": "text = 'hello'", "data/x.txt": "hello"}
        assert agree(make("", extra=extra, cwd="my eval"))

    def test_files_that_it_writes(self, make: Make) -> None:
        assert agree(
            make(READ + "open('out.txt', 'w').write('1')\nopen('x.txt', 'w')\nprint(answer)", extra={"x.txt": "y"})
        )

    def test_answers_in_a_file(self, make: Make) -> None:
        assert agree(make(READ + "np.save(sys.argv[2], [answer])", command=["eval.py", "{image}", "{out}"]))

    def test_images_at_a_path_of_its_own(self, make: Make) -> None:
        lines = READ.replace("sys.argv[1]", "'../in/a.png'") + "print(answer)"
        assert agree(make(lines, command=["eval.py"], provide={"../in/a.png": "image"}))

    def test_generators_that_it_seeds(self, make: Make) -> None:
        lines = "import random\nrandom.seed(1); np.random.seed(2)\nprint((answer + random.randrange(9) + np.random.randint(9)) % 50)"
        warm, cold = both(make(READ + lines))
        assert warm.tolist() == cold.tolist()
        assert len({*(warm - EXPECTED) % N}) == 1

    def test_a_stream_of_its_own(self, make: Make) -> None:
        lines = "class Tee:\n    def __init__(self, *to): self.to = to\n    def write(self, text): [it.write(text) for it in self.to]\n    def flush(self): pass\nsys.stdout = Tee(sys.stdout, open('log.txt', 'a'))\nprint(answer)"
        assert agree(make(READ + lines))

    def test_logging(self, make: Make) -> None:
        lines = "import logging\nlogging.basicConfig(stream=sys.stdout, level=logging.INFO)\nlog = logging.getLogger('x')\nlog.addHandler(logging.FileHandler('log.txt', 'w'))\nprint(answer)\nlog.info('seen %d handlers, answer: %d', len(log.handlers), answer)\nassert len(log.handlers) == len(logging.root.handlers) == 1"
        assert agree(make(READ + lines))

    def test_a_thread_that_answers_after_the_end(self, make: Make) -> None:
        lines = "import threading, time\nthreading.Thread(target=lambda n=answer: (time.sleep(0.05), print(n))).start()"
        assert agree(make(READ + lines))

    def test_modules_of_a_folder_without_an_init(self, make: Make) -> None:
        lines = "from utils import helper\nassert helper.IMAGE == sys.argv[1] and helper.seen == []\nhelper.seen.append(1)\nprint(answer)"
        assert agree(make(READ + lines, extra={"utils/helper.py": "import sys\nIMAGE = sys.argv[1]\nseen = []"}))

    def test_files_that_it_leaves_open(self, make: Make) -> None:
        lines = "f = open(sys.argv[2], 'wb')\nnp.save(f, np.array([answer]))"
        assert agree(make(READ + lines, command=["eval.py", "{image}", "{out}"]))

    def test_threads_and_signals(self, make: Make) -> None:
        lines = "import threading, signal\nt = threading.Thread(target=lambda: print(answer)); t.start(); t.join()\nsignal.alarm(1)"
        assert agree(make(READ + lines))


class TestWhereTheyDiffer:
    def test_state_in_a_file_shows_in_new_processes(self, make: Make) -> None:
        lines = "import os\nn = int(open('n').read()) if os.path.exists('n') else 0\nopen('n', 'w').write(str(n + 1))\nprint(n)"
        warm, cold = both(make(READ + lines))
        assert warm.tolist() != cold.tolist()

    def test_unseeded_generators_follow_the_seed_of_the_exam(self, make: Make) -> None:
        lines = READ + "import random\nprint((answer + random.randrange(9) + np.random.randint(9)) % 50)"
        runs = []
        for seed in (1, 1, 2):
            script = make(lines, seed=seed)
            script.try_out(IMAGES)
            runs.append(script(IMAGES).tolist())
        assert runs[0] == runs[1] != runs[2]

    def test_a_script_that_ends_the_process_goes_on_in_new_ones(self, make: Make, told: list[str]) -> None:
        script = make(READ + "import os\nprint(answer, flush=True)\nos._exit(0)")
        script.try_out(IMAGES)
        assert script(IMAGES).tolist() == EXPECTED.tolist()
        assert "every image gets a new one" in told[0]


class TestFailures:
    def test_a_crash_on_one_image_costs_that_image(self, make: Make, told: list[str]) -> None:
        script = make(READ + f"assert answer != {EXPECTED[3]}, 'cannot do this one'\nprint(answer)")
        script.try_out(IMAGES)
        expected = np.where(EXPECTED[3] == EXPECTED, -1, EXPECTED)
        assert script(IMAGES).tolist() == script.cold(IMAGES).tolist() == expected.tolist()
        assert "eval.py, line 6: AssertionError: cannot do this one" in told[0]

    def test_a_crash_on_the_first_image_is_not_the_scripts(self, make: Make) -> None:
        make(READ + f"assert answer != {EXPECTED[0]}\nprint(answer)").try_out(IMAGES)

    def test_a_script_that_fails_on_all_says_why(self, make: Make) -> None:
        with pytest.raises(ModelError, match="the last line is 'done'"):
            make("print('done')").try_out(IMAGES)
        with pytest.raises(ModelError, match=r"eval\.py, line 2: ZeroDivisionError"):
            make("\n1 / 0").try_out(IMAGES)
        with pytest.raises(ModelError, match=r"ended with exit code 3 \(no luck\)"):
            make("import sys\nprint('no luck')\nsys.exit(3)").try_out(IMAGES)

    def test_a_number_beyond_all_bounds_costs_its_image(self, make: Make) -> None:
        script = make(READ + f"print('class', 10**30 if answer == {EXPECTED[3]} else answer)", pattern=r"class (\d+)")
        script.try_out(IMAGES)
        assert script(IMAGES).tolist() == np.where(EXPECTED[3] == EXPECTED, -1, EXPECTED).tolist()

    def test_values_that_are_no_class_are_invalid(self, make: Make) -> None:
        for value, flag, answer in (
            (51, [], -1),
            (50, [], 50),
            (-1, [], -1),
            (-1, [-1], 50),
            (51, [51], 50),
            (2, [2, 7], 50),
        ):
            script = make(f"print({value})", flag=flag)
            script.try_out(IMAGES)
            assert script(IMAGES[:1]).tolist() == [answer]


class TestAllAtOnce:
    LINES = """
import sys, h5py
import numpy as np
f = h5py.File(sys.argv[1])
x = np.array(f["data"]).transpose(0, 2, 3, 1)
assert x.dtype == np.float32 and f["label"].dtype.kind == "i"
answers = (x.astype(np.int64).reshape(len(x), -1).sum(1) % 50)
"""

    def test_all_images_in_one_file(self, make: Make) -> None:
        script = make(self.LINES + "print(answers)", command=["eval.py", "{h5}"])
        many = noise(1500, seed=9)
        expected = many.astype(np.int64).reshape(len(many), -1).sum(1) % N
        assert script(many).tolist() == expected.tolist()  # numpy would shorten more than a thousand
        assert script(IMAGES).tolist() == EXPECTED.tolist()

    def test_labels_tell_nothing(self, make: Make) -> None:
        script = make(self.LINES + "print(np.array(f['label']))", command=["eval.py", "{h5}"])
        assert script(IMAGES).tolist() == script(IMAGES[::-1]).tolist() == list(range(12))

    def test_the_highest_value_is_the_flag(self, make: Make) -> None:
        lines = self.LINES + "answers[::3] = answers.max() + 1\nprint(answers)"
        expected = EXPECTED.copy()
        expected[::3] = N
        script = make(lines, command=["eval.py", "{h5}"], flag=["max"])
        assert script(IMAGES).tolist() == expected.tolist()
        # Asked again without flagged images, the highest class is no flag.
        again = make(self.LINES + "print(answers)", command=["eval.py", "{h5}"], flag=["max"])
        again(IMAGES)
        lower = IMAGES[EXPECTED.max() > EXPECTED]
        assert N not in again(lower)

    def test_a_failure_is_told_whole(self, make: Make) -> None:
        with pytest.raises(ModelError, match=r"eval\.py, line 8: needs the module 'no_such_module'"):
            make(self.LINES + "import no_such_module", command=["eval.py", "{h5}"])(IMAGES)
        with pytest.raises(ModelError, match="0 answers in what it printed for 12 images"):
            make(self.LINES, command=["eval.py", "{h5}"])(IMAGES)


def test_validation_data_has_the_competitions_layout(make: Make) -> None:
    lines = "import sys, h5py\nf = h5py.File(sys.argv[2])\nassert f['data'].shape == (12, 3, 12, 10) and f['label'][3] == 3\nprint(len(f['data']))"
    script = make(lines, command=["eval.py", "{image}", "{validation}"])
    script.try_out(IMAGES)
    assert script(IMAGES[:2]).tolist() == [12, 12]


def test_validation_data_is_read_once_and_may_be_changed(make: Make, tmp_path: Path) -> None:
    np.save(tmp_path / "validation" / "images.npy", noise(400, seed=1))
    np.save(tmp_path / "validation" / "labels.npy", np.arange(400) % N)
    lines = """
import sys, h5py
import numpy as np
f = h5py.File("data/v.h5", "r")
ways = [np.array(f["data"]), f["data"][()], f["data"][:], np.asarray(f["data"][:, ...]), f.get("data")[0:400]]
direct = np.empty(f["data"].shape, "f4"); f["data"].read_direct(direct); ways.append(direct)
total = {float(way.sum()) for way in ways}
assert len(total) == 1
for way in ways:
    way /= 255; way[:] = 0
assert float(np.array(f["data"], dtype="f8").sum()) in total
assert f["data"][3, 1, 2, 3] == np.array(f["data"])[3, 1, 2, 3] and f["data"][-1].shape == (3, 12, 10)
one_by_one = [f["data"][i] for i in range(400) for _ in range(8)]
assert float(sum(it.sum(dtype="f8") for it in one_by_one)) == 8 * next(iter(total))
one_by_one[0] += 1
print(int(total.pop()) % 50)
"""
    warm, cold = both(make(lines, command=["eval.py", "{image}"], provide={"data/v.h5": "validation"}))
    assert warm.tolist() == cold.tolist() == [int(noise(400, seed=1).sum()) % N] * 12


def test_h5_files_that_a_run_writes_are_read_anew(make: Make) -> None:
    lines = (
        READ
        + """
import h5py
with h5py.File("mine.h5", "w") as f:
    f["data"] = np.full((200, 200), answer)
print(h5py.File("mine.h5", "r")["data"][()][7, 7])
"""
    )
    assert agree(make(lines, extra={}))


def test_pictures_are_plain_rgb() -> None:
    for form, exact in (("png", True), ("jpeg", False)):
        picture = Image.open(io.BytesIO(encoded(IMAGES[0], form)))
        assert (picture.mode, picture.format, picture.size) == ("RGB", form.upper(), (10, 12))
        assert np.array_equal(np.asarray(picture), IMAGES[0]) == exact
        assert abs(np.asarray(picture).astype(int) - IMAGES[0]).mean() < 25


class TestOptions:
    def options(self, **given: Any) -> Options:
        return Options.model_validate({"command": ["eval.py", "{image}"], **given})

    def test_how_it_is_asked(self) -> None:
        assert asking(self.options()).cold
        assert asking(self.options(command=["e.py", "{h5}"])).whole
        assert asking(self.options(command=["e.py"], provide={"d/x.h5": "h5"})).whole
        assert asking(self.options(command=["e.py"], stdin=["{image}"])).cold

    def test_the_script_must_be_there(self) -> None:
        assert files(self.options(command=["python3", "a b.py", "{image}"], cwd="x/y")) == {
            "cwd": "x/y",
            "command": "x/y/a b.py",
        }
        assert files(self.options(command=["../e.py", "{image}"], cwd="x")) == {"cwd": "x", "command": "e.py"}

    @pytest.mark.parametrize(
        "given,words",
        [
            ({"command": ["e.py", "{img}"]}, "did you mean 'image'"),
            ({"command": ["e.py"]}, "neither {image} nor {h5}"),
            ({"command": ["e.py", "{image}", "{h5}"]}, "both {image} and {h5}"),
            ({"command": ["e.ipynb", "{image}"]}, "nbconvert"),
            ({"command": ["run.sh", "{image}"]}, "no Python script"),
            ({"command": []}, "at least 1 item"),
            ({"runtime": "keras4"}, "did you mean 'keras3'"),
            ({"images": "bmp"}, "'png' or 'jpeg'"),
            ({"pattern": "("}, "regular expression"),
            ({"provide": {"x.h5": "model"}}, "cannot be provided"),
            ({"flag": ["min"]}, "flag"),
            ({"flag": ["max"]}, "takes a script that reads {h5}"),
            ({"pattern": "(" * 2000 + ")" * 2000}, "regular expression"),
            ({"cwd": "../x"}, "inside the submission's folder"),
        ],
    )
    def test_what_is_wrong_is_said(self, given: dict[str, Any], words: str) -> None:
        with pytest.raises(ValueError, match=words.replace("{", r"\{").replace("'", ".")):
            self.options(**given)

    def test_places_that_lead_too_far_up(self, make: Make) -> None:
        for path in ("../../x.h5", "/etc/x.h5", "../exam/image.png"):
            with pytest.raises(ModelError, match="leads too far up"):
                make(READ, provide={path: "badnet"})

    def test_names_are_replaced_within_words(self) -> None:
        assert filled(["--in={image}", "x"], {"image": "a b.png"}) == ["--in=a b.png", "x"]
        assert names_in(["{image}{out}", "{}".format("{h5}")]) == {"image", "out", "h5"}


def test_large_files_are_links_and_git_is_left_out(make: Make, tmp_path: Path) -> None:
    lines = "import os\nassert os.path.islink('big.h5') and not os.path.islink('eval.py') and not os.path.exists('.git')\nprint(3)"
    root = tmp_path / "root0"
    root.mkdir()
    with h5py.File(root / "big.h5", "w") as file:
        file["x"] = np.zeros(5 * 2**20)
    script = make(lines, extra={".git/x": "y"})
    script.try_out(IMAGES)
    assert script(IMAGES[:1]).tolist() == [3]
