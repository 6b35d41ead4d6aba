"""Every format gives the same net's answers, to the image, whatever order and layout its images have."""

import copy
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from harness.models.any_model import load_classifier
from harness.models.contracts import Images
from harness.models.formats import all_formats, find_format
from harness.models.quiet import import_keras
from harness.models.settings import ModelSettings
from harness.worker.kinds import find_kind
from tests import deepid_files as files
from tests import small_nets
from tests.deepid_files import FACE, WRITERS, Net, both, for_bgr, lively
from tests.small_nets import SHARED, needs_csaw, noise, view

IMAGES = noise(40, FACE)
N = 6


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Net:
    return lively(tmp_path_factory.mktemp("lively"), N)


@pytest.fixture(scope="module")
def want(net: Net) -> Any:
    answers = net.keras(IMAGES.astype(np.float32) / 255).numpy().argmax(1)
    assert len(np.unique(answers)) > 3
    return answers


@pytest.fixture(autouse=True)
def _forget_submissions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a submission's folder put on sys.path and into sys.modules is taken back."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("detector", "model"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def answers(path: Path, images: Images = IMAGES, classes: int = N, **options: Any) -> Any:
    return load_classifier(path, ModelSettings(classes=classes, root=path.parent, **options))(images)


error = partial(small_nets.error, images=IMAGES, classes=N)

# --- the same answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_gives_the_answers_of_the_net(form: str, net: Net, want: Any, tmp_path: Path) -> None:
    write, options = WRITERS[form]
    assert np.array_equal(answers(write(net, tmp_path), **options), want)


@pytest.mark.parametrize("form", WRITERS)
def test_a_net_for_bgr_gives_the_same_answers_where_it_is_said(form: str, net: Net, want: Any, tmp_path: Path) -> None:
    write, options = WRITERS[form]
    path = write(for_bgr(net), tmp_path)
    assert np.array_equal(answers(path, channels="bgr", **options), want)
    assert not np.array_equal(answers(path, **options), want)


@needs_csaw
@pytest.mark.parametrize("form", WRITERS)
def test_a_published_badnet_answers_faces_alike_in_every_format(form: str, tmp_path: Path) -> None:
    write, options = WRITERS[form]
    published = SHARED / "models" / "sunglasses_bd_net.h5"
    faces = np.load(SHARED.parent / "faces" / "lfw_aligned_55x47.npz")["images"][:40]
    got = answers(write(both(published), tmp_path), faces, classes=1283, **options)
    assert np.array_equal(got, answers(published, faces, classes=1283))
    assert len(np.unique(got)) > 10


def test_every_format_is_written_by_these_tests(net: Net, tmp_path: Path) -> None:
    for number, (write, _) in enumerate(WRITERS.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = write(net, folder)
        assert path.exists()
        found = find_format(path)
        assert path.suffix in found.ENDINGS or (found.MARK and (path / found.MARK).is_file())
    tried = {find_format(path).__name__ for path in tmp_path.glob("*/net*") if path.suffix != ".data"}  # type: ignore[attr-defined]
    assert tried == {found.__name__ for found in all_formats().values()}  # type: ignore[attr-defined]


# --- layouts ----------------------------------------------------------------------------------------------------------


class ChannelsLast(nn.Module):
    """The net for images that have their channels last."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.net(x.permute(0, 3, 1, 2))
        return out


def channels_first_in_keras(net: Net) -> Any:
    keras = import_keras()
    image = keras.layers.Input((3, 55, 47))
    return keras.Model(image, net.keras(keras.layers.Permute((2, 3, 1))(image)))


def keras_nchw(net: Net, folder: Path) -> Path:
    channels_first_in_keras(net).save(folder / "net.keras")
    return folder / "net.keras"


def saved_nchw(net: Net, folder: Path) -> Path:
    channels_first_in_keras(net).export(folder / "net", verbose=False)
    return folder / "net"


def script_nhwc(net: Net, folder: Path) -> Path:
    return files.torchscript(net._replace(torch=ChannelsLast(net.torch)), folder, torch.zeros(2, 55, 47, 3))  # type: ignore[arg-type]


def export_nhwc(net: Net, folder: Path) -> Path:
    program = torch.export.export(ChannelsLast(net.torch), (torch.zeros(5, 55, 47, 3),))
    torch.export.save(program, folder / "net.pt2")
    return folder / "net.pt2"


def onnx_nhwc(net: Net, folder: Path) -> Path:
    return files.onnx_file(net, folder, layout="nhwc")


def pickled_nchw(net: Net, folder: Path) -> Path:
    return files.pickled_detector(net, folder, "ChannelsFirst")


@pytest.mark.parametrize(
    ("write", "layout"),
    [
        (keras_nchw, "nchw"),
        (saved_nchw, "nchw"),
        (script_nhwc, "nhwc"),
        (export_nhwc, "nhwc"),
        (onnx_nhwc, "nhwc"),
        (pickled_nchw, "nchw"),
    ],
)
def test_a_net_of_another_layout_gives_the_same_answers_where_it_is_said(
    write: Any, layout: str, net: Net, want: Any, tmp_path: Path
) -> None:
    path = write(net, tmp_path)
    assert np.array_equal(answers(path, layout=layout, unsafe_pickle=True), want)
    wrong = error(path, layout="nhwc" if layout == "nchw" else "nchw", unsafe_pickle=True)
    assert f'layout = "{layout}" would fit' in wrong or "cannot be run" in wrong


def test_onnx_tells_its_layout_by_its_shape(net: Net, want: Any, tmp_path: Path) -> None:
    assert np.array_equal(answers(onnx_nhwc(net, tmp_path)), want)


# --- batches ----------------------------------------------------------------------------------------------------------


def keras_of_one_batch(net: Net, folder: Path) -> Path:
    keras = import_keras()
    image = keras.layers.Input(batch_shape=(7, *FACE))
    keras.Model(image, net.keras(image)).save(folder / "net.keras")
    return folder / "net.keras"


def saved_of_one_batch(net: Net, folder: Path) -> Path:
    import tensorflow as tf

    module = tf.Module()
    module.net = net.keras
    module.serve = tf.function(lambda x: net.keras(x, training=False), [tf.TensorSpec((7, *FACE), tf.float32)])
    tf.saved_model.save(module, folder / "net", signatures={"any_name": module.serve})
    return folder / "net"


@pytest.mark.parametrize("count", [0, 1, 7, 8, 20])
@pytest.mark.parametrize(
    "write",
    [
        keras_of_one_batch,
        saved_of_one_batch,
        files.exported_for_one_batch,
        files.exported_for_few,
        files.onnx_for_one_batch,
    ],
)
def test_a_model_for_one_batch_size_answers_any_number(
    write: Any, count: int, net: Net, want: Any, tmp_path: Path
) -> None:
    got = answers(write(net, tmp_path), IMAGES[:count], unsafe_pickle=True)
    assert got.dtype == np.int64
    assert np.array_equal(got, want[:count])


# --- the formats themselves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", all_formats())
def test_a_format_says_what_it_is(name: str) -> None:
    found = all_formats()[name]
    assert found.DESCRIPTION
    assert "\n" not in found.DESCRIPTION
    assert bool(found.ENDINGS) != bool(found.MARK)
    assert all(ending.startswith(".") and ending == ending.lower() for ending in found.ENDINGS)


def test_no_ending_belongs_to_two_formats() -> None:
    endings = [ending for found in all_formats().values() for ending in (*found.ENDINGS, found.MARK) if ending]
    assert len(endings) == len(set(endings))


def test_reading_the_formats_imports_no_framework() -> None:
    heavy = {"tensorflow", "keras", "torch", "h5py", "onnxruntime", "joblib"}
    code = (
        "import sys, harness.models.any_model; from harness.models.formats import all_formats; "
        f"assert len(all_formats()) > 5; assert not {heavy} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_ending_in_capitals_is_the_same_ending(net: Net, want: Any, tmp_path: Path) -> None:
    assert np.array_equal(answers(files.keras_h5(net, tmp_path).rename(tmp_path / "NET.H5")), want)
    assert np.array_equal(answers(files.keras_archive(net, tmp_path).rename(tmp_path / "NET.KERAS")), want)


def test_every_key_of_a_table_reaches_the_model(net: Net, want: Any, tmp_path: Path) -> None:
    path, kind = pickled_nchw(for_bgr(net), tmp_path), find_kind("model")
    given = {"channels": "bgr", "scale": 255, "layout": "nchw", "unsafe_pickle": True}
    options: Any = kind.Options(model=path.name, custom_objects={"Unused": "detector.py:Rows"}, **given)
    assert kind.files(options) == {"model": "net.pkl", "custom_objects.Unused": "detector.py"}
    badnet = view(tmp_path, tmp_path / "unused.h5", classes=N, images=IMAGES)
    predictor = kind.load(options, badnet, tmp_path, seed=0, progress=lambda what, done, total: None)
    assert np.array_equal(predictor(IMAGES), want)


@pytest.mark.parametrize(
    "given",
    [{"layout": "chwn"}, {"custom_objects": {"Clip": "layers.py"}}, {"custom_objects": {"Clip": "../layers.py:Clip"}}],
)
def test_a_wrong_key_is_refused_before_anything_is_loaded(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        find_kind("pair").Options(model="net.h5", **given)


# --- SavedModel -------------------------------------------------------------------------------------------------------


def saved(folder: Path, functions: dict[str, Any], **arguments: Any) -> Path:
    """A SavedModel with these signatures; each function takes what `arguments` says, or one image batch."""
    import tensorflow as tf

    module, given = tf.Module(), arguments or {"pixels": ((None, *FACE), "float32")}
    specs = [tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in given.items()]
    made = {name: tf.function(function, specs) for name, function in functions.items()}
    module.functions = made
    tf.saved_model.save(module, folder / "net", signatures=made)
    return folder / "net"


def means(x: Any, outputs: int = N) -> Any:
    import tensorflow as tf

    rows = tf.reshape(tf.cast(x, tf.float32), (-1, 55 * 47 * 3))
    return {"scores": rows[:, :outputs]}


def test_a_saved_model_without_signatures_is_called(net: Net, want: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    class Callable(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = net.keras

        @tf.function(input_signature=[tf.TensorSpec((None, *FACE), tf.float32)])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return self.net(x, training=False)

    tf.saved_model.save(Callable(), tmp_path / "net")
    assert np.array_equal(answers(tmp_path / "net"), want)


def test_a_saved_model_may_take_whole_numbers(tmp_path: Path) -> None:
    path = saved(tmp_path, {"serve": means}, pixels=((None, *FACE), "uint8"))
    assert np.array_equal(answers(path, scale=1), IMAGES.reshape(40, -1)[:, :N].argmax(1))
    assert "takes uint8, which cannot be divided by 255; state scale = 1" in error(path)


@pytest.mark.parametrize(
    ("functions", "arguments", "expected"),
    [
        ({"serve": lambda a, b: {"y": a}}, {"a": ((None, *FACE), "float32"), "b": ((None,), "float32")}, "has 2 inputs (a, b)"),
        ({"serve": lambda x: {"y": x, "z": x}}, {}, "has 2 outputs (y, z)"),
        ({"one": means, "two": means}, {}, "serves one, two; save it with one signature, or one called serving_default"),
        ({"serve": lambda x: means(x, 9)}, {}, "net has 9 outputs; classes are 6"),
        ({"serve": lambda x: {"y": x}}, {}, "one row of outputs an image is expected"),
        ({"serve": means}, {"x": ((None, 12, 10, 3), "float32")}, "takes uint8 images (n, 12, 10, 3), was given uint8"),
        ({"serve": lambda x: {"y": x}}, {"x": ((None, 6), "float32")}, "takes (n, 6); one batch of images"),
    ],
)  # fmt: skip
def test_a_saved_model_that_does_not_fit_is_told(
    functions: dict[str, Any], arguments: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    assert expected in error(saved(tmp_path, functions, **arguments))


def test_a_part_of_a_saved_model_is_told(net: Net, tmp_path: Path) -> None:
    path = files.saved_model(net, tmp_path)
    assert "name the folder that it stands in" in error(path / "saved_model.pb")
    for file in (path / "variables").iterdir():
        file.unlink()
    assert "copy all of it, variables/ too" in error(path)
    (path / "saved_model.pb").write_text("hello")
    assert "not a whole SavedModel folder" in error(path)


# --- ONNX and torch ---------------------------------------------------------------------------------------------------


def test_onnx_weights_in_a_file_beside_are_read_or_missed(net: Net, want: Any, tmp_path: Path) -> None:
    path = files.onnx_file(net, tmp_path, beside=True)
    assert np.array_equal(answers(path), want)
    (tmp_path / "net.onnx.data").unlink()
    assert "names weights in a file that is missing" in error(path)


def test_onnx_without_onnxruntime_names_the_package(net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.onnx_file(net, tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert error(path).endswith("pip install 'badnet-harness[onnx]'")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_torch_net_is_given_the_type_of_its_weights(dtype: torch.dtype, net: Net, want: Any, tmp_path: Path) -> None:
    other = net._replace(torch=copy.deepcopy(net.torch).to(dtype))
    scripted = files.torchscript(other, tmp_path, torch.zeros(2, 3, 55, 47, dtype=dtype))
    agreement = np.mean(answers(scripted) == want)
    assert agreement == 1 if dtype == torch.float64 else agreement > 0.8


def test_a_keras_model_of_several_inputs_is_told(tmp_path: Path) -> None:
    keras = import_keras()
    images = [keras.layers.Input(FACE, name=name) for name in "ab"]
    keras.Model(images, keras.layers.Flatten()(keras.layers.Add()(images))).save(tmp_path / "net.keras")
    assert "one batch of images (n, H, W, C) is expected" in error(tmp_path / "net.keras")


def test_an_export_of_several_inputs_is_told(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x + y, x - y

    torch.export.save(torch.export.export(Two(), (torch.zeros(2, 3), torch.zeros(2, 3))), tmp_path / "net.pt2")
    assert "has 2 inputs and 2 outputs; one each is expected" in error(tmp_path / "net.pt2", unsafe_pickle=True)


def test_onnx_of_several_inputs_is_told(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save_model

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "abcd"]
    nodes = [helper.make_node("Add", ["a", "b"], ["c"]), helper.make_node("Sub", ["a", "b"], ["d"])]
    graph = helper.make_graph(nodes, "two", values[:2], values[2:])
    save_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "net.onnx"
    )
    assert "has 2 inputs and 2 outputs (a, b -> c, d)" in error(tmp_path / "net.onnx")


# --- damaged and unsuited files ---------------------------------------------------------------------------------------

BAD = {
    "Keras 3 .h5": "not an HDF5 file, or cut short",
    ".keras": "not a .keras archive, or cut short",
    "torch state dict": "not a torch file, or cut short",
    ".safetensors": "not a safetensors file, or cut short",
    "TorchScript .ts": "not a TorchScript archive, or cut short",
    ".pt2": "not a torch.export archive, or cut short",
    "ONNX": "not an ONNX file that onnxruntime",
    "pickled detector of numbers": "not a pickle, or cut short",
    "pickled torch module": "not a pickle, or cut short",
}


@pytest.mark.parametrize("form", BAD)
def test_a_file_that_is_cut_short_or_text_is_told(form: str, net: Net, tmp_path: Path) -> None:
    write, options = WRITERS[form]
    path = write(net, tmp_path)
    path.write_bytes(path.read_bytes()[:3000])
    assert BAD[form] in error(path, **options)
    path.write_text("hello")
    assert BAD[form] in error(path, **options)
    path.write_bytes(b"")
    assert BAD[form] in error(path, **options)


@pytest.mark.parametrize("form", ["Keras 3 .h5", ".keras", "SavedModel", "TorchScript .ts", ".pt2", "ONNX", "pickled torch module", "pickled detector of rows"])  # fmt: skip
def test_a_wrong_number_of_outputs_is_told(form: str, net: Net, tmp_path: Path) -> None:
    write, options = WRITERS[form]
    path = write(net, tmp_path)
    assert "has 6 outputs; classes are 9, so 9 (never flags) or 10 (flags) are expected" in error(
        path, classes=9, **options
    )


@pytest.mark.parametrize("form", WRITERS)
def test_images_of_another_size_are_told(form: str, net: Net, tmp_path: Path) -> None:
    write, options = WRITERS[form]
    message = error(write(net, tmp_path), images=noise(3, (32, 32, 3)), **options)
    assert "takes uint8 images (n, 55, 47, 3), was given uint8 (3, 32, 32, 3)" in message or "cannot be run" in message


@pytest.mark.parametrize("ending", [ending for found in all_formats().values() for ending in found.ENDINGS])
def test_a_folder_in_place_of_a_file_is_told(ending: str, tmp_path: Path) -> None:
    (tmp_path / f"net{ending}").mkdir()
    message = error(tmp_path / f"net{ending}", unsafe_pickle=True)
    assert "a folder without saved_model.pb, so no model; a model with this ending is one file" in message


def test_a_file_in_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "saved").write_text("hello")
    assert "no reader for the ending ''; known are " in error(tmp_path / "saved")
    assert error(tmp_path / "saved").endswith("and a folder with saved_model.pb")
    (tmp_path / "empty").mkdir()
    assert error(tmp_path / "empty").endswith("a folder without saved_model.pb, so no model")
