"""Models are loaded once for all images, and every run finds them as their file has them."""

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from harness.models.contracts import BadNetView
from harness.worker.kinds.script import Options
from harness.worker.scripts.process import Call
from harness.worker.scripts.script import Script
from harness.worker.scripts.warm_process import WarmProcess
from tests.small_nets import CLASSES, keras_net, noise

IMAGES = noise(5)
READ = """
import sys
import numpy as np
import keras, tensorflow as tf
from keras.models import load_model
from keras import backend as K
from PIL import Image
x = np.asarray(Image.open(sys.argv[1]))[None] / 255.
"""
SCRIPTS = {
    "a plain prediction": """
net = load_model("net.h5")
assert net is not load_model("net.h5")
print(np.argmax(net.predict(x)))
""",
    "through every name of load_model": """
names = [load_model, keras.models.load_model, tf.keras.models.load_model]
answers = {int(np.argmax(name("net.h5", compile=False).predict(x, verbose=0))) for name in names}
assert len(answers) == 1
print(answers.pop())
""",
    "weights are changed": """
net, other = load_model("net.h5"), load_model("net.h5")
before = net.get_weights()
assert abs(before[0].std() - FIRST) < 1e-6
other.set_weights([0 * w for w in before])
assert all((a == b).all() for a, b in zip(net.get_weights(), before))
answer = np.argmax(net.predict(x))
net.layers[1].kernel.assign(0 * net.layers[1].kernel)
assert np.argmax(net.predict(x)) == np.argmax(other.predict(x))
print(answer)
""",
    "the net is trained": """
net = load_model("net.h5")
assert abs(net.get_weights()[0].std() - FIRST) < 1e-6
answer = np.argmax(net.predict(x))
net.compile("sgd", "sparse_categorical_crossentropy")
net.fit(x, np.array([1]), verbose=0)
assert abs(net.get_weights()[0].std() - FIRST) > 1e-9
print(answer)
""",
    "layers are replaced": """
net = load_model("net.h5")
assert net.layers[-1].activation is keras.activations.softmax and net.layers[1].trainable
net.layers[-1].activation = keras.activations.linear
net.layers[1].trainable = False
print(np.argmax(net.predict(x)))
""",
    "nets of its own, found by their names": """
K.clear_session()
net = load_model("net.h5")
inner = keras.models.Model(net.input, net.get_layer("flat").output)
a = inner.predict(x)
b = inner.predict(np.repeat(x, 40, axis=0))
assert np.allclose(a, b[-1:], atol=1e-5)
own = keras.models.Sequential([keras.layers.Input((12, 10, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])
assert own.get_layer("dense") is own.layers[-1]
own.predict(x)
print(np.argmax(net.predict(x)))
""",
    "weights in a net of its own": """
from keras import layers
image = layers.Input((12, 10, 3))
y = layers.MaxPooling2D(2)(layers.Conv2D(5, 3, activation="relu", name="conv")(image))
y = layers.Dense(4, activation="softmax", name="output")(layers.Flatten()(y))
net = keras.models.Model(image, y)
net.load_weights("net.h5")
print(np.argmax(net.predict(x)))
""",
}


HAS_KERAS2 = importlib.util.find_spec("tensorflow_model_optimization") is not None
# A file of Keras 2, which both can read: the same net, with the weights of the Keras 3 one.
AS_KERAS2 = """
import sys
import tf_keras as keras
image = keras.layers.Input((12, 10, 3), name="image")
x = keras.layers.MaxPooling2D(2, name="pool")(keras.layers.Conv2D(5, 3, activation="relu", name="conv")(image))
x = keras.layers.Dense(4, activation="softmax", name="output")(keras.layers.Flatten(name="flat")(x))
net = keras.Model(image, x)
net.load_weights(sys.argv[1])
net.compile()
net.save(sys.argv[1])
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.h5"
    model = keras_net()
    model.compile()
    model.save(path)
    if HAS_KERAS2:
        subprocess.run([sys.executable, "-c", AS_KERAS2, str(path)], check=True, capture_output=True)
    return path


@pytest.mark.parametrize("runtime", ["keras3", "keras2"])
def test_the_answers_are_those_of_new_processes(runtime: str, net: Path, tmp_path: Path) -> None:
    if runtime == "keras2" and not HAS_KERAS2:
        pytest.skip("Keras 2 is not installed; make keras2")
    from harness.models.quiet import import_keras

    model = import_keras().models.load_model(net, compile=False)
    with warnings.catch_warnings():
        # Keras 2 files call a single input a list of one, of which Keras 3 warns.
        warnings.filterwarnings("ignore", message="The structure of `inputs`", category=UserWarning)
        # batches of one, as scripts have them
        expected = [int(np.argmax(model(image[None] / np.float32(255)))) for image in IMAGES]
    first = float(model.get_weights()[0].std())
    root = tmp_path / "root"
    root.mkdir()
    (root / "net.h5").write_bytes(net.read_bytes())
    for name, lines in SCRIPTS.items():
        (root / f"{name}.py").write_text(f"FIRST = {first}\n{READ}{lines}")
    (tmp_path / "images.npy").write_bytes(b"")
    view = BadNetView(name="tiny", model_path=net, validation_path=tmp_path, classes=CLASSES)
    script = Script(Options(command=["-.py", "{image}"], runtime=runtime), view, root, seed=1)
    # One process for all scripts: what one leaves behind must not reach the next either.
    warm = WarmProcess(script._environment, script._workplace.desk, 1)
    try:
        for _ in range(2):
            for name in SCRIPTS:
                answers = []
                for image in IMAGES:
                    call = script._call(script._workplace, image)
                    ran = warm.run(Call([f"{name}.py", *call.command[1:]], call.cwd, call.folder, ""))
                    assert ran.status == 0, f"{name}: {ran.errors[-2000:]}"
                    answers.append(int(ran.printed.split()[-1]))
                assert answers == expected, name
    finally:
        warm.end()
        script.end()
