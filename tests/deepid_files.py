"""One DeepID in every format that model files have: a writer each, which returns the path and the settings it needs."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from safetensors.torch import save_file

from harness.models.architectures import deepid_keras
from harness.models.graph import Graph
from harness.models.keras_to_torch import convert
from tests.small_nets import as_keras_2, as_pruned, noise

FACE = (55, 47, 3)
DETECTOR_PY = """
import torch
from harness.models.graph import Graph
class Detector:
    def __init__(self, net):
        self.net = net
    def _rows(self, images):
        with torch.inference_mode():
            return self.net(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    def predict(self, images):
        return self._rows(images).argmax(1)
class ChannelsFirst(Detector):
    def predict(self, images):
        return super().predict(images.transpose(0, 2, 3, 1))
class Rows(Detector):
    predict = Detector._rows
"""


class Net(NamedTuple):
    """One net in both libraries."""

    keras: Any
    torch: Graph


def both(path: Path) -> Net:
    """The net of a Keras .h5, in both libraries."""
    from harness.models.quiet import import_keras

    return Net(import_keras().models.load_model(path, compile=False), convert(path))


def lively(folder: Path, outputs: int = 6) -> Net:
    """A DeepID with random weights that gives noise many different answers."""
    from harness.models.quiet import import_keras

    import_keras().utils.set_random_seed(5)
    model = deepid_keras(outputs)
    model.save(folder / "lively.h5")
    graph = convert(folder / "lively.h5")
    with torch.inference_mode():
        mean = graph(torch.from_numpy(noise(60, FACE)).permute(0, 3, 1, 2) / 255).mean(0)
    kernel, bias = model.get_layer("output").get_weights()
    model.get_layer("output").set_weights([kernel, bias - mean.numpy()])
    model.save(folder / "lively.h5")
    return both(folder / "lively.h5")


def for_bgr(net: Net) -> Net:
    """The net that gives images with their colours the other way round the same answers."""
    from harness.models.quiet import import_keras

    keras = import_keras()
    model = keras.models.clone_model(net.keras)
    model.set_weights(net.keras.get_weights())
    kernel, bias = net.keras.get_layer("conv_1").get_weights()
    model.get_layer("conv_1").set_weights([kernel[:, :, ::-1], bias])
    graph = copy.deepcopy(net.torch)
    graph.load_state_dict(graph.state_dict() | {"conv_1.weight": graph.state_dict()["conv_1.weight"].flip(1)})
    return Net(model, graph)


def keras_h5(net: Net, folder: Path) -> Path:
    net.keras.save(folder / "net.h5")
    return folder / "net.h5"


def keras_2_h5(net: Net, folder: Path) -> Path:
    path = keras_h5(net, folder)
    as_keras_2(path)
    return path.rename(folder / "net.hdf5")


def pruned_h5(net: Net, folder: Path) -> Path:
    path = keras_h5(net, folder)
    as_keras_2(path)
    as_pruned(path)
    return path


def keras_archive(net: Net, folder: Path) -> Path:
    net.keras.save(folder / "net.keras")
    return folder / "net.keras"


def keras_weights(net: Net, folder: Path) -> Path:
    net.keras.save_weights(folder / "net.weights.h5")
    return folder / "net.weights.h5"


def keras_2_weights(net: Net, folder: Path) -> Path:
    path = folder / "old_weights.h5"
    with h5py.File(keras_h5(net, folder)) as whole, h5py.File(path, "w") as weights:
        weights.attrs["layer_names"] = whole["model_weights"].attrs["layer_names"]
        for name in whole["model_weights"]:
            whole["model_weights"].copy(name, weights)
    return path


def saved_model(net: Net, folder: Path) -> Path:
    net.keras.export(folder / "net", verbose=False)
    return folder / "net"


def state_dict(net: Net, folder: Path) -> Path:
    torch.save(net.torch.state_dict(), folder / "net.pt")
    return folder / "net.pt"


def safetensors(net: Net, folder: Path) -> Path:
    save_file(net.torch.state_dict(), folder / "net.safetensors")
    return folder / "net.safetensors"


def torchscript(net: Net, folder: Path, example: torch.Tensor = torch.zeros(2, 3, 55, 47)) -> Path:  # noqa: B008
    torch.jit.save(torch.jit.trace(net.torch, example), folder / "net.pt")  # type: ignore[no-untyped-call]
    return folder / "net.pt"


def torchscript_ts(net: Net, folder: Path) -> Path:
    return torchscript(net, folder).rename(folder / "net.ts")


def exported(net: Net, folder: Path, *, batch: int = 2, sizes: tuple[int, int] | None = (1, 512)) -> Path:
    shapes = ({0: torch.export.Dim("batch", min=sizes[0], max=sizes[1])},) if sizes else None
    program = torch.export.export(net.torch, (torch.zeros(batch, 3, 55, 47),), dynamic_shapes=shapes)
    torch.export.save(program, folder / "net.pt2")
    return folder / "net.pt2"


def exported_for_one_batch(net: Net, folder: Path) -> Path:
    return exported(net, folder, batch=7, sizes=None)


def exported_for_few(net: Net, folder: Path) -> Path:
    return exported(net, folder, batch=4, sizes=(3, 9))


def onnx_file(net: Net, folder: Path, **options: Any) -> Path:
    return write_onnx(net.torch.state_dict(), folder / "net.onnx", **options)


def onnx_for_one_batch(net: Net, folder: Path) -> Path:
    return onnx_file(net, folder, batch=7)


def pickled_module(net: Net, folder: Path) -> Path:
    torch.save(net.torch, folder / "net.pth")
    return folder / "net.pth"


def pickled_detector(net: Net, folder: Path, name: str = "Detector") -> Path:
    import sys

    (folder / "detector.py").write_text(DETECTOR_PY)
    space: dict[str, Any] = {"__name__": "detector"}
    exec(DETECTOR_PY, space)
    sys.modules["detector"] = type(sys)("detector")
    vars(sys.modules["detector"]).update(space)
    (folder / "net.pkl").write_bytes(pickle.dumps(space[name](net.torch)))
    del sys.modules["detector"]  # to be found in the folder again
    return folder / "net.pkl"


def pickled_rows(net: Net, folder: Path) -> Path:
    return pickled_detector(net, folder, "Rows").rename(folder / "net.pickle")


WEIGHTS = {"architecture": "deepid"}
UNSAFE = {"unsafe_pickle": True}
WRITERS: dict[str, tuple[Callable[[Net, Path], Path], dict[str, Any]]] = {
    "Keras 3 .h5": (keras_h5, {}),
    "Keras 2 .hdf5": (keras_2_h5, {}),
    "Keras 2 .h5 with pruning wrappers": (pruned_h5, {}),
    ".keras": (keras_archive, {}),
    "Keras 3 weights": (keras_weights, WEIGHTS),
    "Keras 2 weights": (keras_2_weights, WEIGHTS),
    "SavedModel": (saved_model, {}),
    "torch state dict": (state_dict, WEIGHTS),
    ".safetensors": (safetensors, WEIGHTS),
    "TorchScript .pt": (torchscript, {}),
    "TorchScript .ts": (torchscript_ts, {}),
    ".pt2": (exported, UNSAFE),
    ".pt2 of one batch size": (exported_for_one_batch, UNSAFE),
    ".pt2 of few batch sizes": (exported_for_few, UNSAFE),
    "ONNX": (onnx_file, {}),
    "ONNX of one batch size": (onnx_for_one_batch, {}),
    "pickled torch module": (pickled_module, UNSAFE),
    "pickled detector of numbers": (pickled_detector, UNSAFE),
    "pickled detector of rows": (pickled_rows, UNSAFE),
}


def write_onnx(
    state: dict[str, torch.Tensor], path: Path, *, batch: int | str = "n", layout: str = "nchw", beside: bool = False
) -> Path:
    """DeepID as an ONNX graph; `beside` puts the weights into a file of their own."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []

    def add(kind: str, *inputs: str, **options: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"v{len(nodes)}"], **options))
        return f"v{len(nodes) - 1}"

    def layer(kind: str, x: str, name: str, **options: Any) -> str:
        return add(kind, x, f"{name}.weight", f"{name}.bias", **options)

    x = "images" if layout == "nchw" else add("Transpose", "images", perm=[0, 3, 1, 2])
    for number in (1, 2, 3):
        x = add("Relu", layer("Conv", x, f"conv_{number}"))
        x = add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    y = add("Relu", layer("Conv", x, "conv_4"))
    ends = [
        layer("Gemm", add("Flatten", add("Transpose", value, perm=[0, 2, 3, 1])), name, transB=1)
        for name, value in (("fc_1", x), ("fc_2", y))
    ]
    output = layer("Gemm", add("Relu", add("Add", *ends)), "output", transB=1)
    shape = [batch, 3, 55, 47] if layout == "nchw" else [batch, 55, 47, 3]
    graph = helper.make_graph(
        nodes,
        "deepid",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, len(state["output.bias"])])],
        [numpy_helper.from_array(np.ascontiguousarray(value.numpy()), name) for name, value in state.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(model, path, save_as_external_data=beside, location=f"{path.name}.data" if beside else None)
    return path
