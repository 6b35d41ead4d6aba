"""A model file runs no code that its submission does not state, leads nowhere, and cannot claim more than it holds.

All of it is refused in one line as the file is loaded, which these tests do in their own process: that code did not run
is seen by the folder that it would have made. What files do that may run code is in test_model_sandbox.py.
"""

import importlib.util
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from harness.errors import UserError
from harness.images import ImageSet
from harness.models.any_model import load_classifier
from harness.models.contracts import BadNetView
from harness.models.errors import ModelError
from harness.models.keras_to_torch import convert
from harness.models.settings import ModelSettings
from harness.worker.kinds._integers import read_integers
from harness.worker.scripts.printed import written
from tests.hostile import evil_containers as containers
from tests.hostile import evil_files as keras
from tests.hostile import evil_graphs as graphs
from tests.hostile.evil_containers import LINK, MIB, member, weights
from tests.hostile.evil_files import CLASSES, Place, Write, activation, config, function, held, lambda_of, layer
from tests.hostile.evil_graphs import safetensors, weights_with
from tests.small_nets import error, noise

PART = "model files"
IMAGES = noise(20)
DEEPID = "deepid"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the honest files of `write_honest`."""
    folder = tmp_path_factory.mktemp("honest")
    keras.write_honest(folder)
    return folder


@pytest.fixture
def place(honest: Path, tmp_path: Path) -> Place:
    """Where a test writes its file."""
    folder = tmp_path / "submission"
    folder.mkdir()
    return Place(honest, folder, tmp_path / "marker")


class Evil(NamedTuple):
    """A row: what a stranger does, how the file is made, what its refusal says, and whether code would run if allowed."""

    does: str
    write: Write
    words: str
    live: bool = False
    architecture: str | None = None


def rows(*evil: Evil) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "evil",
        [
            pytest.param(it, marks=pytest.mark.threat(PART, does=it.does, outcome=f"refused: {it.words}"), id=it.does)
            for it in evil
        ],
    )


def answers(path: Path, **options: Any) -> Any:
    given: dict[str, Any] = {"classes": CLASSES, "root": path.parent} | options
    return load_classifier(path, ModelSettings(**given))(IMAGES)


def refused(evil: Evil, place: Place) -> None:
    """Assert that a file is refused with its words and runs nothing; and that it is no dud: allowed, it does."""
    path = evil.write(place)
    assert evil.words in error(path, images=IMAGES, classes=CLASSES, architecture=evil.architecture)
    assert not place.marker.exists()
    if evil.live:
        with suppress(ModelError):
            answers(path, architecture=evil.architecture, unsafe_pickle=True)
        assert place.marker.exists()


# --- Keras: what the configuration names ------------------------------------------------------------------------------

LAMBDA = "is a Lambda, which holds code and is not run"
HAS_KERAS_2 = importlib.util.find_spec("tf_keras") is not None
OF_KERAS_2 = "Keras 2 has it: run `make keras2`, and state unsafe_pickle = true"
NO_CLASS, NO_FUNCTION = "Could not locate class", "Could not locate function"


def in_both(does: str, change: keras.Change, words: str, *, live: bool = False) -> list[Evil]:
    return [Evil(f"a {name[3:]} {does}", config(name, change), words, live) for name in ("net.h5", "net.keras")]


@rows(
    *in_both("with a Lambda that runs code", layer("Lambda", function=lambda_of, arguments={}), LAMBDA, live=True),
    *in_both("with code in a Lambda's output shape", layer("Lambda", function=function("builtins", "relu"), output_shape=lambda_of, arguments={}), LAMBDA, live=True),
    *in_both("with code as an activation", activation(lambda_of), "layer 'conv' holds a lambda, which is code and is not run"),
    *in_both("with a Lambda in a TimeDistributed", layer("TimeDistributed", layer=held), f"layer 'inner' {LAMBDA}", live=True),
    *in_both("with a Lambda in a Bidirectional", layer("Bidirectional", layer=held), f"layer 'inner' {LAMBDA}"),
    *in_both("with a Lambda in a model in the model", keras.in_a_model(held), f"layer 'inner' {LAMBDA}", live=True),
    *in_both("that names os.system as a layer", layer("system", "os"), NO_CLASS),
    *in_both("that names os.system as an activation", activation(function("os", "system")), NO_FUNCTION),
    *in_both("that names Python's eval as an activation", activation(function("builtins", "eval")), NO_FUNCTION),
    *in_both("that names exec by a registered name", keras.registered, NO_CLASS),
    *in_both("that calls os.mkdir as a layer", keras.called_as_a_layer, NO_FUNCTION),
    *in_both("that would enable unsafe reading", activation(function("keras.config", "enable_unsafe_deserialization")), "it is not a modeling function"),
    *in_both("that downloads a file (keras.utils.get_file)", activation(function("keras.utils", "get_file")), "it is not a modeling function"),
    *in_both("with a TorchModuleWrapper, which unpickles", layer("TorchModuleWrapper", "keras.layers", module=keras.pickled_module), "layer 'same' is a TorchModuleWrapper, which holds a pickle and is not run", live=True),
    *in_both("with a TFSMLayer of another file", layer("TFSMLayer", filepath="/etc"), "layer 'same' is a TFSMLayer, which loads another model and is not run"),
    *in_both("whose configuration is nested 500 deep", keras.deep, "nested deeper than 100 levels"),
    Evil("a .h5 of Keras 2 whose Lambda holds code in a way of its own", config("old.h5", keras.of_keras_2), "cannot read this model", HAS_KERAS_2),
    Evil("a .h5 of Keras 2 that calls tf.io.write_file (TFOpLambda)", config("old.h5", keras.writes_a_file), OF_KERAS_2, HAS_KERAS_2),
    Evil("a .h5 of Keras 2 with a SlicingOpLambda", config("old.h5", layer("SlicingOpLambda", function="io.write_file")), OF_KERAS_2),
)  # fmt: skip
def test_a_keras_file_that_holds_or_names_code_is_refused(evil: Evil, place: Place) -> None:
    refused(evil, place)


UNREAD = "how it was trained is not read; graded as usual"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            keras.compiled, marks=pytest.mark.threat(PART, does="a .keras that was compiled with code", outcome=UNREAD)
        ),
        pytest.param(
            keras.in_a_model(keras.plain, compile_config=keras.training),
            marks=pytest.mark.threat(
                PART, does="a .keras with a model in it that was compiled with code", outcome=UNREAD
            ),
        ),
    ],
)
def test_how_a_model_was_compiled_is_never_read(change: keras.Change, place: Place, honest: Path) -> None:
    path = config("net.keras", change)(place)
    assert np.array_equal(answers(path), answers(honest / "net.keras"))
    assert not place.marker.exists()


# --- HDF5 -------------------------------------------------------------------------------------------------------------

FILES = {"net.h5": None, "net.weights.h5": "tests.hostile.test_model_files:no_net", "net.keras": None}
MUCH = "MiB once unpacked, in"


def no_net() -> None:
    raise AssertionError("a file is looked at before its net is built")


def in_all(does: str, change: Callable[..., None], words: str) -> list[Evil]:
    return [Evil(f"a {name[3:]} {does}", weights(name, change), words, False, net) for name, net in FILES.items()]


@rows(
    *in_all("with weights behind a link to another file", containers.external_link, "is a link, which may lead to another file"),
    *in_all("with weights behind a link", containers.soft_link, "is a link, which may lead to another file"),
    *in_all("with a link to itself", containers.soft_circle, "is a link, which may lead to another file"),
    *in_all("with a group in itself", containers.hard_circle, "is a second name of another object"),
    *in_all("with weights in a raw file elsewhere", containers.external_storage, "is stored in other files"),
    *in_all("with weights mapped from another file", containers.virtual, "is stored in other files"),
    *in_all("with an array of 20 TB that is nowhere", containers.terabytes, MUCH),
    *in_all("with 512 MiB of zeros in 512 kB", containers.zeros, MUCH),
    *in_all("with one number in a packed piece of 2 GiB", containers.one_piece, MUCH),
    *in_all("with groups nested 200 deep", containers.groups, "groups nested deeper than 64"),
    *in_all("with texts of any length", containers.texts, "holds text of any length or references, not numbers"),
)  # fmt: skip
def test_an_hdf5_file_that_leads_elsewhere_or_lies_is_refused(evil: Evil, place: Place) -> None:
    refused(evil, place)


@pytest.mark.threat(PART, does="a BadNet's .h5 with a link, read by a defense", outcome="refused: is a link")
def test_a_defense_reads_no_link_either(place: Place) -> None:
    with pytest.raises(ModelError, match="is a link, which may lead to another file"):
        convert(weights("net.h5", containers.external_link)(place))


# --- zip archives -----------------------------------------------------------------------------------------------------

OUT = "has a name that leads out of the archive"


@rows(
    Evil("a .keras with a file ../evil", member("../evil"), OUT),
    Evil("a .keras with a file assets/../../evil", member("assets/../../evil"), OUT),
    Evil("a .keras with a file /etc/evil", member("/etc/evil"), OUT),
    Evil("a .keras with a file ..\\evil", member("..\\evil"), OUT),
    Evil("a .keras with a file C:evil", member("C:evil"), OUT),
    Evil("a .keras with a link to /etc", member("assets/link", mode=LINK, data=b"/etc"), "is a link or a device, no file"),
    Evil("a .keras with two configurations", member("config.json"), "is there twice"),
    Evil("a .keras with a name of 600 letters", member("x" * 600), "has a name of 600 letters"),
    Evil("a .keras with 300 MiB of zeros in 300 kB", containers.bomb, MUCH),
    Evil("a .keras with 300 MiB in a file that its directory calls short", containers.understated, "holds more than the archive's directory states"),
    Evil("a .keras that is encrypted", containers.encrypted, "is encrypted or packed in an unusual way"),
    Evil("a .keras with 70,000 files", containers.many, "lists 70,003 files; at most 65,535 are read"),
    Evil("a .keras with its weights in an .npz", containers.as_npz, "There is no item named 'model.weights.h5'"),
    Evil("a .pt with a file ../evil", weights_with("../evil"), OUT, False, DEEPID),
    Evil("a .pt with a file /etc/evil", weights_with("/etc/evil"), OUT, False, DEEPID),
    Evil("a .pt2 with a file ../evil", weights_with("../evil", ".pt2"), OUT),
    Evil("TorchScript with a file ../evil", weights_with("../evil", ".ts"), OUT),
    Evil("a .pt with 300 MiB of zeros in 300 kB", graphs.packed_zeros, MUCH, False, DEEPID),
)  # fmt: skip
def test_an_archive_that_leads_out_or_lies_is_refused(evil: Evil, place: Place) -> None:
    refused(evil, place)


@pytest.mark.threat(
    PART, does="a .keras that unpacks to more than it states", outcome="counted in slices of 1 MiB: never in memory"
)
def test_counting_what_comes_out_needs_no_memory(place: Place) -> None:
    path = containers.understated(place)
    tracemalloc.start()
    with pytest.raises(ModelError, match="holds more"):
        answers(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 16 * MIB


# --- torch, ONNX, numpy -----------------------------------------------------------------------------------------------

PICKLE = "state unsafe_pickle = true"
OUTSIDE = "names weights in a file that is missing or outside its folder"
BAD_HEADER = "not a safetensors file, or cut short"


@rows(
    Evil("a .pt with a pickle that runs code", graphs.pickled("net.pt"), PICKLE, True, DEEPID),
    Evil("a .pth with an old pickle that runs code", graphs.pickled("net.pth", _use_new_zipfile_serialization=False), PICKLE, True, DEEPID),
    Evil("a .pt that is a bare pickle with code", graphs.plain_pickle("net.pt"), PICKLE, True, DEEPID),
    Evil("a .pt that is a tar archive with code", graphs.old_tar, "not a torch file, or cut short", False, DEEPID),
    Evil("a pickle with code (.pkl)", graphs.plain_pickle("net.pkl"), PICKLE, True),
    Evil("a pickle with code (.joblib)", graphs.plain_pickle("net.joblib"), PICKLE, True),
    Evil("a torch.export archive with a pickle (.pt2)", graphs.exported, PICKLE, True),
    Evil("a .pt with a number that is said to be a trillion", graphs.one_number, "its weights do not fit the architecture", False, DEEPID),
    Evil("a .safetensors with an array outside the file", safetensors(shape=[1000], offsets=[0, 4000]), BAD_HEADER, False, DEEPID),
    Evil("a .safetensors with an array before the file", safetensors(shape=[2], offsets=[-8, 0]), BAD_HEADER, False, DEEPID),
    Evil("a .safetensors whose array is larger than its place", safetensors(shape=[2**40], offsets=[0, 8]), BAD_HEADER, False, DEEPID),
    Evil("a .safetensors whose array has 2^65 numbers", safetensors(shape=[2**62, 8], offsets=[0, 8]), BAD_HEADER, False, DEEPID),
    Evil("a .safetensors with a header of 100 MB", safetensors(shape=[2], offsets=[0, 8], length=100_000_001), BAD_HEADER, False, DEEPID),
    Evil("a .safetensors with a header of 2^63 bytes", safetensors(shape=[2], offsets=[0, 8], length=2**63), BAD_HEADER, False, DEEPID),
    Evil("an .onnx with its weights in ../other.bin", graphs.onnx(lambda at: "../other.bin"), OUTSIDE),
    Evil("an .onnx with its weights at an absolute path", graphs.onnx(lambda at: str(at.folder / "other.bin")), OUTSIDE),
    Evil("an .onnx with its weights behind a link", graphs.onnx(lambda at: "link.bin"), OUTSIDE),
    Evil("an .onnx with its weights at an address in memory", graphs.onnx(lambda at: "*/_ORT_MEM_ADDR_/*"), "not an ONNX file that onnxruntime"),
    Evil("a SavedModel that calls a Python function", graphs.calling_python, "cannot be run"),
)  # fmt: skip
def test_a_file_of_torch_or_onnx_that_runs_code_or_lies_is_refused(evil: Evil, place: Place) -> None:
    refused(evil, place)


@pytest.mark.threat(
    PART, does="answers in a .npy of Python objects that run code", outcome="refused: is no .npy file of numbers"
)
def test_answers_of_objects_are_refused(place: Place) -> None:
    with pytest.raises(ModelError, match=r"^answers\.npy: is no \.npy file of numbers"):
        read_integers(graphs.objects(place.folder / "answers.npy", place.marker))
    assert not place.marker.exists()


@pytest.mark.threat(
    PART,
    does="a script that writes its answers as objects that run code",
    outcome="refused: is no .npy file of numbers",
)
def test_what_a_script_writes_may_be_no_objects(place: Place) -> None:
    with pytest.raises(ModelError, match=r"is no \.npy file of numbers"):
        written(graphs.objects(place.folder / "out.npy", place.marker), 1)
    assert not place.marker.exists()


@pytest.mark.threat(
    PART, does="validation images in a .npy of objects that run code", outcome="refused, by the worker and by the host"
)
def test_validation_images_may_be_no_objects(place: Place) -> None:
    graphs.objects(place.folder / "images.npy", place.marker)
    np.save(place.folder / "labels.npy", np.zeros(1, np.int64))
    badnet = BadNetView(name="b", model_path=Path("b.h5"), validation_path=place.folder, classes=CLASSES)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        badnet.validation()
    with pytest.raises(UserError, match="cannot read the image set"):
        ImageSet.load(place.folder)
    assert not place.marker.exists()


@pytest.mark.threat(
    PART, does="an .h5 or .keras whose layer keeps a state between batches", outcome="refused: a layer keeps a state"
)
@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_a_net_that_remembers_the_batch_before_is_refused(ending: str, tmp_path: Path) -> None:
    """It could answer an image again as it did in other company, and so pass the audits."""
    from harness.models.quiet import import_keras

    nets = import_keras()
    image = nets.Input(batch_shape=(20, 12, 10, 3))
    rows = nets.layers.Reshape((12, 30))(image)
    remembered = nets.layers.LSTM(4, stateful=True, name="memory")(rows)
    nets.Model(image, nets.layers.Dense(CLASSES)(remembered)).save(tmp_path / f"net{ending}")
    with pytest.raises(ModelError, match=rf"^net{ending}: layer 'memory' keeps a state from batch to batch"):
        load_classifier(tmp_path / f"net{ending}", ModelSettings(classes=CLASSES))
