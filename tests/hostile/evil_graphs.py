"""Files of torch, TensorFlow, ONNX and numpy that a stranger might hand in: pickles, graphs that reach for files, and lies."""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.hostile.evil_containers import MIB
from tests.hostile.evil_files import CLASSES, Place, Touch, Write, rezip


class Runs:
    """Whoever unpickles one runs this code."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> Any:
        return exec, (self.code, {})


def pickled(name: str, **options: Any) -> Write:
    """A torch checkpoint whose "epoch" makes the marker."""

    def write(at: Place) -> Path:
        torch.save({"state_dict": {"w": torch.zeros(2)}, "epoch": Touch(at.marker)}, at.folder / name, **options)
        return at.folder / name

    return write


def plain_pickle(name: str) -> Write:
    def write(at: Place) -> Path:
        (at.folder / name).write_bytes(pickle.dumps(Touch(at.marker), protocol=2))
        return at.folder / name

    return write


def old_tar(at: Place) -> Path:
    """As torch saved before version 0.2."""
    parts = {
        "sys_info": {"protocol_version": 1000, "little_endian": True, "type_sizes": {}},
        "pickle": Touch(at.marker),
    }
    with tarfile.open(at.folder / "net.pt", "w") as archive:
        for name, value in ({"storages": 0, "tensors": 0} | parts).items():
            data = pickle.dumps(value, protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return at.folder / "net.pt"


def weights_with(name: str, ending: str = ".pt") -> Write:
    """A torch state dict in an archive with one member more."""

    def write(at: Place) -> Path:
        path = at.folder / f"net{ending}"
        torch.save({"w": torch.zeros(2)}, path)
        rezip(path, {}, ((zipfile.ZipInfo(name), b"x"),))
        return path

    return write


def packed_zeros(at: Place) -> Path:
    """A state dict of 300 MiB of zeros, packed."""
    torch.save({"w": torch.zeros(75 * MIB)}, at.folder / "zeros.pt")
    path = at.folder / "net.pt"
    with zipfile.ZipFile(at.folder / "zeros.pt") as zeros, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in zeros.namelist():
            archive.writestr(name, zeros.read(name))
    return path


def one_number(at: Place) -> Path:
    """A state dict whose one number is said to be a thousand by a billion of them."""
    torch.save({"w": torch.zeros(1).expand(10**9, 10**3)}, at.folder / "net.pt")
    return at.folder / "net.pt"


def safetensors(*, shape: list[int], offsets: list[int], data: bytes = bytes(8), length: int | None = None) -> Write:
    """A file whose header says where its one array lies, and perhaps lies about the header's own length."""

    def write(at: Place) -> Path:
        header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()
        path = at.folder / "net.safetensors"
        path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
        return path

    return write


class Small(torch.nn.Module):
    """A row of outputs an image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)).repeat(1, 2)[:, :5]


class Copying(torch.nn.Module):
    """The same, but it writes a file and reads another one each time."""

    def __init__(self, read: str, write: str) -> None:
        super().__init__()
        self.read: str = read
        self.write: str = write

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, self.write)
        first = torch.from_file(self.read, False, 1, dtype=torch.uint8)
        return x.mean((2, 3)).repeat(1, 2)[:, :5] + first


def torchscript(read: Path, write: Path) -> Write:
    """A scripted module that writes a file and reads another one."""

    def save(at: Place) -> Path:
        torch.jit.save(torch.jit.script(Copying(str(read), str(write))), at.folder / "net.ts")
        return at.folder / "net.ts"

    return save


def exported(at: Place) -> Path:
    """A torch.export archive whose sample inputs are a pickle with code."""
    program = torch.export.export(Small(), (torch.zeros(2, 3, 12, 10),), dynamic_shapes=({0: torch.export.Dim("n")},))
    path, evil = at.folder / "net.pt2", io.BytesIO()
    torch.export.save(program, path)
    torch.save((Touch(at.marker),), evil)
    with zipfile.ZipFile(path) as archive:
        [samples] = [name for name in archive.namelist() if "sample_inputs" in name]
    rezip(path, {samples: evil.getvalue()})
    return path


def saved_model(read: Path, write: Path) -> Write:
    """A SavedModel whose graph copies a file."""

    def save(at: Place) -> Path:
        import tensorflow as tf

        def serve(x: Any) -> Any:
            with tf.control_dependencies([tf.io.write_file(str(write), tf.io.read_file(str(read)))]):
                means = tf.reduce_mean(x, (1, 2))
                return {"scores": tf.concat([means, means], 1)[:, :CLASSES]}

        return _saved(serve, at.folder / "net")

    return save


def calling_python(at: Place) -> Path:
    """A SavedModel whose graph calls a Python function of the process that made it."""
    import tensorflow as tf

    def serve(x: Any) -> Any:
        means = tf.py_function(lambda y: os.makedirs(at.marker) or y, [tf.reduce_mean(x, (1, 2))], tf.float32)  # type: ignore[func-returns-value]
        means.set_shape((None, 3))
        return {"scores": tf.concat([means, means], 1)[:, :CLASSES]}

    from tensorflow.python.ops import script_ops

    path = _saved(serve, at.folder / "net")
    script_ops._py_funcs._funcs.clear()  # as in any other process
    return path


def _saved(serve: Callable[[Any], Any], folder: Path) -> Path:
    import tensorflow as tf

    module = tf.Module()
    module.serve = tf.function(serve, [tf.TensorSpec((None, 12, 10, 3), tf.float32)])
    tf.saved_model.save(module, folder, signatures={"serving_default": module.serve})
    return folder


def onnx(location: Callable[[Place], str]) -> Write:
    """An ONNX graph whose weights are said to lie in this file."""

    def write(at: Place) -> Path:
        from onnx import TensorProto, helper

        inner = at.folder / "inner"
        inner.mkdir()
        (at.folder / "other.bin").write_bytes(np.ones((3, CLASSES), np.float32).tobytes())
        (inner / "link.bin").symlink_to(at.folder / "other.bin")
        kernel = TensorProto(
            name="w", data_type=TensorProto.FLOAT, dims=[3, CLASSES], data_location=TensorProto.EXTERNAL
        )
        for key, value in {"location": location(at), "offset": "0", "length": str(12 * CLASSES)}.items():
            kernel.external_data.add(key=key, value=value)
        nodes = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["m"])]
        nodes.append(helper.make_node("MatMul", ["m", "w"], ["y"]))
        image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 12, 10])
        rows = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", CLASSES])
        graph = helper.make_graph(nodes, "small", [image], [rows], [kernel])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        (inner / "net.onnx").write_bytes(model.SerializeToString())
        return inner / "net.onnx"

    return write


def objects(path: Path, marker: Path) -> Path:
    """A .npy of Python objects, the first of which makes the marker."""
    np.save(path, np.array([Touch(marker)], object), allow_pickle=True)
    return path
