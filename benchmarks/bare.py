"""Inference without a harness, in a process of its own: the plain baselines that the harness is compared with.

    python -m benchmarks.bare {keras,torch,saved_model,torchscript,torch_export,onnx,predict} MODEL OUT IMAGES...

All but the last: the fastest plain way to answer a batch of images in memory. predict: what the competition's eval.py
does, Keras `predict` with batches of 32 on floats divided by 255. The process loads everything, lets one image pass, and
then answers the images START..STOP of all files together for each line "START STOP" that it reads, with a line of seconds.
At the end of its input it writes the answers to OUT (.npy).
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.models.quiet import environment
from harness.models.torch_classifier import TORCH_BATCH

ROOT = Path(__file__).resolve().parent.parent
Answers = NDArray[np.int64]


class Seconds(NamedTuple):
    """How long a bare process took for some images."""

    answering: float
    dividing: float
    """eval.py's `/ 255`; the plain ways do it within `answering`."""


class Bare:
    """Such a process, loaded and waiting; it is ended at the end of the block."""

    def __init__(self, how: str, model: Path, images: Sequence[Path], out: Path) -> None:
        self._out = out
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare", how, str(model), str(out), *map(str, images)],
            cwd=ROOT, env={**os.environ, **environment()}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.images = int(self._line())

    def answer(self, start: int, stop: int) -> Seconds:
        """Have the images start..stop answered."""
        assert self._process.stdin
        self._process.stdin.write(f"{start} {min(stop, self.images)}\n")
        self._process.stdin.flush()
        return Seconds(*json.loads(self._line()))

    def answers(self) -> Answers:
        """All answers; the process ends."""
        assert self._process.stdin
        self._process.stdin.close()
        assert self._process.wait() == 0
        answers: Answers = np.load(self._out)
        return answers

    def __enter__(self) -> "Bare":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:  # which closes the pipes and waits
            self._process.kill()

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"benchmarks.bare ended with exit code {self._process.wait()}"
        return line


class _Way(NamedTuple):
    answer: Callable[[NDArray[Any]], Answers]
    divide: Callable[[NDArray[np.uint8]], NDArray[Any]] | None = None


def _keras(model: Path) -> _Way:
    from harness.models.quiet import import_keras

    net = import_keras().models.load_model(model, compile=False)
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, *net.input_shape[1:]), tf.uint8)])  # type: ignore[untyped-decorator]
    def answer(images: Any) -> Any:
        return tf.argmax(net(tf.cast(images, tf.float32) / 255, training=False), axis=-1)

    return _Way(lambda images: answer(images).numpy())


def _torch(model: Path) -> _Way:
    """channels_last and small parts, which is how DeepID runs fastest in torch on a processor."""
    import torch

    from harness.models.torch_files import load_torch

    net = load_torch(model, architecture="deepid", root=None, classes=100)
    return _in_torch(net.to(memory_format=torch.channels_last))  # type: ignore[call-overload]


def _in_torch(net: Callable[[Any], Any]) -> _Way:
    import torch

    def answer(images: NDArray[Any]) -> Answers:
        answers = []
        with torch.inference_mode():
            for i in range(0, len(images), TORCH_BATCH):
                part = torch.from_numpy(images[i : i + TORCH_BATCH]).to(torch.float32) / 255
                answers.append(net(part.permute(0, 3, 1, 2)).argmax(1).numpy())
        return np.concatenate(answers)

    return _Way(answer)


def _torchscript(model: Path) -> _Way:
    import torch

    return _in_torch(torch.jit.load(model))  # type: ignore[no-untyped-call]


def _torch_export(model: Path) -> _Way:
    import torch

    return _in_torch(torch.export.load(model).module())


def _saved_model(model: Path) -> _Way:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model))
    serve = loaded.signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    (output,) = serve.structured_outputs

    @tf.function(input_signature=[tf.TensorSpec((None, 55, 47, 3), tf.uint8)])  # type: ignore[untyped-decorator]
    def answer(images: Any) -> Any:
        return tf.argmax(serve(**{name: tf.cast(images, tf.float32) / 255})[output], axis=-1)

    answer.model = loaded  # its variables live as long as it is held
    return _Way(lambda images: answer(images).numpy())


def _onnx(model: Path) -> _Way:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def answer(images: NDArray[Any]) -> Answers:
        x = np.ascontiguousarray((images.astype(np.float32) / 255).transpose(0, 3, 1, 2))
        answers: Answers = session.run(None, {name: x})[0].argmax(1)
        return answers

    return _Way(answer)


def _predict(model: Path) -> _Way:
    import keras

    net = keras.models.load_model(model, compile=False)
    return _Way(
        lambda images: np.argmax(net.predict(images, batch_size=32, verbose=0), axis=1),
        lambda images: images / np.float32(255),
    )


WAYS: dict[str, Callable[[Path], _Way]] = {
    "keras": _keras, "torch": _torch, "saved_model": _saved_model, "torchscript": _torchscript,
    "torch_export": _torch_export, "onnx": _onnx, "predict": _predict,
}  # fmt: skip


def main(how: str, model: Path, out: Path, files: Sequence[Path]) -> None:
    """Serve until the end of standard input."""
    way = WAYS[how](model)
    images = np.concatenate([np.load(file) for file in files])
    if how == "predict":
        images = images.astype(np.float32)  # the competition's files hold floats
    way.answer(way.divide(images[:1]) if way.divide else images[:1])
    answers = np.full(len(images), -1)
    _say(str(len(images)))
    for line in sys.stdin:
        start, stop = map(int, line.split())
        began = time.perf_counter()
        asked = way.divide(images[start:stop]) if way.divide else images[start:stop]
        divided = time.perf_counter()
        answers[start:stop] = way.answer(asked)
        _say(json.dumps([time.perf_counter() - divided, divided - began]))
    np.save(out, answers)
    os._exit(0)  # as the harness's worker ends: TensorFlow takes a third of a second to go in order


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), [Path(name) for name in sys.argv[4:]])
