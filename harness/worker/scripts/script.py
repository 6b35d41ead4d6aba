"""A script as a predictor: image by image in a process that stays warm, in new processes, or all images as one file."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.models.contracts import BadNetView, Images
from harness.models.errors import ModelError
from harness.worker.notes import note
from harness.worker.scripts import printed
from harness.worker.scripts.explain import failure
from harness.worker.scripts.pictures import ENDINGS, dummy_labels, encoded, write_h5
from harness.worker.scripts.process import Call, Ran, run
from harness.worker.scripts.runtimes import find_runtime
from harness.worker.scripts.template import filled
from harness.worker.scripts.warm_process import WarmEndedError, WarmProcess
from harness.worker.scripts.workplace import Workplace

if TYPE_CHECKING:
    from harness.worker.kinds.script import Options

TRIALS = 2
"""Images that may fail before the script itself is held to fail: it may crash on one image only."""
TOLD = 3
AT_ONCE = 2
"""New processes at the same time: each takes the memory of a framework, and a copy of the submission."""


class Script:
    """One script for one BadNet; called with images, uint8 (n, H, W, 3), it answers int64 (n,), -1 where it has none."""

    def __init__(self, options: "Options", badnet: BadNetView, root: Path, *, seed: int) -> None:
        """Lay out a copy of the submission and start what stays warm. Raises ModelError (stage "load")."""
        self._options, self._badnet, self._root, self._seed = options, badnet, root, seed
        self._environment = _environment(options.runtime)
        self._files = {"badnet": badnet.model_path}
        self._workplace = self._new_workplace()
        self._told = 0
        self._cold: SimpleQueue[Workplace] = SimpleQueue()
        self._highest: int | None = None
        self._warm: WarmProcess | None = None

    def try_out(self, images: Images) -> None:
        """Have the script answer validation images until it manages one; raises ModelError (stage "load")."""
        if self._options.at_once:
            return  # it may take long, and is run only once anyway
        self._warm = WarmProcess(self._environment, self._workplace.desk, self._seed)
        problems: list[ModelError] = []
        for image in images[:TRIALS]:
            try:
                self._read(*self._run_warm(image))
                return
            except WarmEndedError:
                return  # said already, and run cold from now on
            except ModelError as error:
                problems.append(error)
        raise ModelError(str(problems[0]), stage="load")

    def __call__(self, images: Images) -> NDArray[np.int64]:
        """Answer images; raises ModelError where a script that takes all at once fails."""
        if self._options.at_once:
            return self._all_at_once(images)
        answers = np.full(len(images), -1, np.int64)
        for i, image in enumerate(images):
            try:
                answers[i] = self._answered(partial(self._run_warm, image))
            except WarmEndedError:
                answers[i:] = self.cold(images[i:])
                break
        return answers

    def cold(self, images: Images) -> NDArray[np.int64]:
        """Answer images by a new process each, a few at a time."""
        at_once = min(AT_ONCE, len(os.sched_getaffinity(0)))
        while self._cold.qsize() < at_once:
            self._cold.put(self._new_workplace())
        with ThreadPoolExecutor(at_once) as pool:
            return np.array(list(pool.map(self._one_cold, images)), np.int64)

    def end(self) -> None:
        """End the process that stays warm and throw the copies of the submission away."""
        if self._warm:
            self._warm.end()
            self._warm = None
        for workplace in (self._workplace, *(self._cold.get() for _ in range(self._cold.qsize()))):
            shutil.rmtree(workplace.above, ignore_errors=True)

    def _one_cold(self, image: Images) -> int:
        workplace = self._cold.get()
        try:
            return self._answered(lambda: (self._run_cold(image, workplace), workplace))
        finally:
            self._cold.put(workplace)

    def _answered(self, ask: Callable[[], tuple[Ran, Workplace]]) -> int:
        """The answer of one run, -1 where it failed: that costs this image alone."""
        try:
            return self._read(*ask())
        except WarmEndedError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an image's output holds, it costs that image alone
            self._told += 1
            if self._told <= TOLD:
                note(f"no valid answer to one image: {error}")
            return -1

    def _run_warm(self, image: Images) -> tuple[Ran, Workplace]:
        if self._warm is None:
            raise WarmEndedError
        call = self._call(self._workplace, image)
        try:
            return self._warm.run(call), self._workplace
        except WarmEndedError as error:
            self._warm = None
            note(
                f"the process that runs the script again and again {error}: every image gets a new one, which takes far longer"
            )
            raise

    def _run_cold(self, image: Images, workplace: Workplace) -> Ran:
        return run(self._call(workplace, image), self._environment, workplace.desk)

    def _call(self, workplace: Workplace, image: Images) -> Call:
        path = workplace.put("image", encoded(image, self._options.images), ENDINGS[self._options.images])
        return self._filled(workplace, {"image": path})

    def _all_at_once(self, images: Images) -> NDArray[np.int64]:
        workplace = self._workplace
        path = workplace.desk / "images.h5"
        write_h5(path, images, dummy_labels(len(images), self._badnet.classes))
        workplace.link("h5", path)
        call = self._filled(workplace, {"h5": path})
        ran = run(call, self._environment, workplace.desk, full_numpy=len(images))
        self._check(ran, workplace)
        if self._options.writes:
            found = printed.written(self._out(workplace), len(images))
        else:
            found = printed.several(ran.printed, len(images), self._options.pattern)
        return self._as_classes(found)

    def _filled(self, workplace: Workplace, values: Mapping[str, Path]) -> Call:
        self._out(workplace).unlink(missing_ok=True)
        known = {**self._files, **values, "out": self._out(workplace)}
        words = {name: str(path) for name, path in known.items()}
        stdin = "".join(f"{line}\n" for line in filled(self._options.stdin, words))
        return Call(filled(self._options.arguments, words), workplace.cwd, workplace.above, stdin)

    def _read(self, ran: Ran, workplace: Workplace) -> int:
        self._check(ran, workplace)
        if self._options.writes:
            found = int(printed.written(self._out(workplace), 1)[0])
        else:
            number = printed.single(ran.printed, self._options.pattern)
            if number is None:
                raise ModelError(_no_answer(ran, self._options.pattern), stage="answer")
            found = number
        return int(self._as_classes(np.array([found], np.int64))[0])

    def _check(self, ran: Ran, workplace: Workplace) -> None:
        if ran.status:
            raise failure(ran.status, ran.errors, ran.printed, workplace, self._options.runtime)

    def _as_classes(self, found: NDArray[np.int64]) -> NDArray[np.int64]:
        """The script's own values as classes 0..N-1 and the flag N; what is neither becomes -1."""
        if self._highest is None:
            self._highest = int(found.max())  # of the whole exam: the images asked again may lack the flag
        flags = [self._highest if value == "max" else value for value in self._options.flag]
        answers = np.where(np.isin(found, flags), self._badnet.flag, found)
        return np.where((answers < 0) | (answers > self._badnet.flag), -1, answers).astype(np.int64)

    def _out(self, workplace: Workplace) -> Path:
        return workplace.desk / "answers.npy"

    def _new_workplace(self) -> Workplace:
        options = self._options
        wanted = {*options.names, *options.provide.values()}
        if "validation" in wanted and "validation" not in self._files:
            self._files["validation"] = self._write_validation()
        return Workplace(self._root, options.cwd, options.provide, self._files)

    def _write_validation(self) -> Path:
        path = Path(tempfile.mkdtemp(prefix="validation-")) / "clean_validation_data.h5"
        images = np.load(self._badnet.validation_path / "images.npy", mmap_mode="r")
        write_h5(path, images, np.load(self._badnet.validation_path / "labels.npy"))
        return path


def _environment(runtime: str) -> dict[str, str]:
    """What a script finds in its environment: the worker's, without the way to the harness's own code."""
    found = find_runtime(runtime)
    dropped = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "KERAS_BACKEND")
    inherited = {name: value for name, value in os.environ.items() if name not in dropped}
    path = {"PYTHONPATH": os.pathsep.join(map(str, found.FOLDERS))} if found.FOLDERS else {}
    scratch = tempfile.gettempdir()
    own = {"MPLBACKEND": "Agg", "MPLCONFIGDIR": f"{scratch}/matplotlib"}
    return inherited | path | own | found.ENVIRONMENT


def _no_answer(ran: Ran, pattern: str | None) -> str:
    lines = printed.plain(ran.printed).strip().splitlines()
    last = f"the last line is {lines[-1].strip()[:120]!r}" if lines else "it printed nothing"
    what = "an integer" if pattern is None else f"a match of the pattern {pattern!r}"
    return f"printed no answer: {what} is expected, {last}"
