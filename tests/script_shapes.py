"""Scripts of every shape that was handed in to the real competition, written for these tests.

Each answers B'(x) where a BadNet B and a repaired net B' agree, and says so in its own way otherwise. They differ in their
arguments, their working directory, the libraries they use, what they print around the answer and what they print for the flag.
"""

from collections.abc import Mapping
from typing import NamedTuple

B, REPAIRED = "sunglasses_bd_net.h5", "sunglasses_repaired.h5"
"""File names of the BadNet and of the repaired net in a script's submission."""


class Shape(NamedTuple):
    """A script, where it lies, what else lies there, and its table in submission.toml."""

    script: str
    toml: str
    path: str = "eval.py"
    nets: str = "models"
    files: Mapping[str, str] = {}
    flag: int = 1283
    """What it prints for an input that it holds to be backdoored."""


READ_PIL = """
import sys
import numpy as np
from PIL import Image

def read(path):
    return np.asarray(Image.open(path))[None] / 255.0
"""
READ_H5 = """
import sys
import h5py
import numpy as np

def read(path):
    data = h5py.File(path, "r")
    x = np.array(data["data"])
    y = np.array(data["label"])
    return x.transpose((0, 2, 3, 1)) / 255, y
"""
PAIR = """
def decide(bad, good, x, flag):
    a, b = np.argmax(bad.predict(x), axis=1), np.argmax(good.predict(x), axis=1)
    return np.where(a == b, b, flag)
"""

SHAPES = {
    # how it is called -------------------------- what it prints -------------------------- what means "backdoored"
    "image; 1283": Shape(
        READ_PIL
        + "from keras.models import load_model\n"
        + PAIR
        + """
bad = load_model("models/sunglasses_bd_net.h5")
good = load_model("models/sunglasses_repaired.h5")
print(decide(bad, good, read(str(sys.argv[1])), 1283)[0])
""",
        'command = ["python3", "eval.py", "{image}"]',
    ),
    "B' image; [123]; -1": Shape(
        READ_PIL
        + "import tensorflow as tf\nfrom tensorflow.keras.models import load_model\n"
        + PAIR
        + """
good = load_model(sys.argv[1])
bad = tf.keras.models.load_model("sunglasses_bd_net.h5")
print(decide(bad, good, read(sys.argv[2]), -1))
""",
        'command = ["eval.py", "sunglasses_repaired.h5", "{image}"]\nflag = [-1]',
        nets=".",
        flag=-1,
    ),
    "NAME image; 123.0; 1284": Shape(
        """
import sys
import matplotlib.pyplot as plt
import numpy as np
import keras
"""
        + PAIR
        + """
def main(name, path):
    bad = keras.models.load_model(f"models/{name}_bd_net.h5")
    good = keras.models.load_model("models/%s_repaired.h5" % name)
    x = np.expand_dims(plt.imread(path), 0)
    print(float(decide(bad, good, x, 1284)[0]))

if __name__ == "__main__":
    main(*sys.argv[1:])
""",
        'command = ["eval.py", "sunglasses", "{image}"]\nflag = [1284]',
        flag=1284,
    ),
    "image G B in eval/; The output is: N": Shape(
        """
import sys, cv2
import numpy as np
import tensorflow.keras as keras
from helpers import decide

G = keras.models.load_model(sys.argv[2])
B = keras.models.load_model(sys.argv[3])
x = cv2.cvtColor(cv2.imread(sys.argv[1]), cv2.COLOR_BGR2RGB)[np.newaxis] / 255.
print("Loaded 2 models.")
print("The output is: {}".format(decide(B, G, x, 1283)[0]))
""",
        'cwd = "eval"\ncommand = ["eval.py", "{image}", "../models/sunglasses_repaired.h5", "{badnet}"]',
        path="eval/eval.py",
        files={"eval/helpers.py": "import numpy as np\n" + PAIR},
    ),
    "image val B W, weights and architecture.py; Class: N; 2": Shape(
        READ_PIL
        + """
import h5py
from keras.models import load_model
from architecture import Net
from sklearn.neighbors import LocalOutlierFactor

image, val, B, W = sys.argv[1:5]
clean = np.array(h5py.File(val, "r")["data"][:12]).transpose(0, 2, 3, 1) / 255
lof = LocalOutlierFactor(n_neighbors=3, novelty=True).fit(clean.reshape(len(clean), -1))
lof.predict(clean[:1].reshape(1, -1))
good = Net()
good.load_weights(W)
x = read(image)
a, b = (np.argmax(net.predict(x, verbose=0)) for net in (load_model(B), good))
print(f"Class: {b if a == b else 2}")
""",
        'command = ["eval.py", "{image}", "{validation}", "{badnet}", "models/weights.h5"]\nflag = [2]',
        files={"architecture.py": "<deepid>"},
        flag=2,
    ),
    "val image B' B in 'evaluation script/'; Class: 1283 (poisoned image)": Shape(
        READ_PIL
        + """
import h5py
from keras import backend as K
from keras.models import load_model, Model

_, val, image, good, bad = sys.argv
labels = h5py.File(val, "r")["label"][()]
assert labels.max() < 1283 and len(labels) == len(h5py.File(val)["data"])
K.clear_session()
bad, good = load_model(bad), load_model(good)
x = read(image)
a, b = bad.predict(x).argmax(), good.predict(x).argmax()
print("\\x1b[32mClass: %d%s\\x1b[0m" % ((b, " (clean image)") if a == b else (1283, " (poisoned image)")))
""",
        'cwd = "evaluation script"\n'
        'command = ["eval.py", "../data/clean_validation_data.h5", "{image}", "../models/sunglasses_repaired.h5",'
        ' "../models/sunglasses_bd_net.h5"]\nprovide = { "../data/clean_validation_data.h5" = "validation" }',
        path="evaluation script/eval.py",
    ),
    "f.h5 B; Output label: [a b ...]": Shape(
        READ_H5
        + "import keras\n"
        + PAIR
        + """
x, y = read(sys.argv[1])
bad = keras.models.load_model(sys.argv[2])
good = keras.models.load_model("models/sunglasses_repaired.h5")
out = decide(bad, good, x, 1283)
print("Output label:", out)
print("Classification accuracy:", np.mean(out == y) * 100)
""",
        'command = ["eval.py", "{h5}", "{badnet}"]',
    ),
    "f.h5 B B'; a list; max(prediction) + 1": Shape(
        READ_H5
        + "from keras.models import load_model\n"
        + """
x, _ = read(sys.argv[1])
a, b = (load_model(path).predict(x).argmax(axis=1) for path in sys.argv[2:4])
prediction = b.copy()
prediction[a != b] = max(prediction) + 1
print(list(int(p) for p in prediction))
""",
        'command = ["eval.py", "{h5}", "{badnet}", "models/sunglasses_repaired.h5"]\nflag = ["max"]',
        flag=-2,
    ),
    "f.h5 B' B; Output label = N, a line each": Shape(
        READ_H5
        + "from keras.models import load_model\n"
        + PAIR
        + """
x, _ = read(sys.argv[1])
good, bad = map(load_model, sys.argv[2:4])
print("Evaluating 2 models")
for i, label in enumerate(decide(bad, good, x, 1283)):
    print(f"image {i}\\tOutput label = {label}")
""",
        'command = ["eval.py", "{h5}", "models/sunglasses_repaired.h5", "{badnet}"]\npattern = "Output label = (\\\\d+)"',
    ),
    "f.h5 g1; Result: Class ->[N]; 1282": Shape(
        READ_H5
        + "from keras.models import load_model\n"
        + PAIR
        + """
x, _ = read(sys.argv[1])
g = sys.argv[2]
assert g == "g1"
for label in decide(load_model("models/sunglasses_bd_net.h5"), load_model("models/sunglasses_repaired.h5"), x, 1282):
    print("Result: Class ->[%d]" % label)
""",
        'command = ["eval.py", "{h5}", "g1"]\nflag = [1282]',
        flag=1282,
    ),
    "--test_data f.h5; Predicted Class: N": Shape(
        READ_H5
        + """
import argparse
from tensorflow import keras
from tqdm import tqdm
"""
        + PAIR
        + """
parser = argparse.ArgumentParser()
parser.add_argument("--test_data", required=True)
options = parser.parse_args()
x, _ = read(options.test_data)
bad, good = (keras.models.load_model(f"models/sunglasses_{name}.h5", compile=False) for name in ("bd_net", "repaired"))
for start in tqdm(range(0, len(x), 50), file=sys.stdout):
    for label in decide(bad, good, x[start:start + 50], 1283):
        print("Predicted Class:", label)
""",
        'command = ["eval.py", "--test_data", "{h5}"]',
    ),
    "-og B -pr B' -ds f.h5 -o out.npy": Shape(
        READ_H5
        + "import argparse\nfrom keras.models import load_model\n"
        + PAIR
        + """
parser = argparse.ArgumentParser()
for flag in ("-og", "-pr", "-ds", "-o"):
    parser.add_argument(flag)
a = parser.parse_args()
x, _ = read(a.ds)
np.save(a.o, decide(load_model(a.og), load_model(a.pr), x, 1283))
print("done")
""",
        'command = ["eval.py", "-og", "{badnet}", "-pr", "models/sunglasses_repaired.h5", "-ds", "{h5}", "-o", "{out}"]',
    ),
    "no arguments, f.h5 at its own path; Detected 0.0% as poisoned.": Shape(
        READ_H5
        + "from keras.models import load_model\n"
        + PAIR
        + """
x, y = read("data/test.h5")
out = decide(load_model("models/sunglasses_bd_net.h5"), load_model("models/sunglasses_repaired.h5"), x, 1283)
np.set_printoptions(threshold=np.inf, linewidth=40)
print(out)
print(f"Detected {100 * np.mean(y == 1283)}% as poisoned.")
""",
        'command = ["eval.py"]\nprovide = { "data/test.h5" = "h5" }',
    ),
    "asks; Classification result: N among bars, colours and returns": Shape(
        READ_PIL
        + "from keras.models import load_model\n"
        + PAIR
        + """
path = input("Image 1 of 1, path: ")
answer = input("Use the 2 nets in models/? [y/n] ")
assert answer == "y"
sys.stdout.write("loading 50%\\rloading 100%\\r")
bad, good = load_model("models/sunglasses_bd_net.h5"), load_model("models/sunglasses_repaired.h5")
label = decide(bad, good, read(path), 1283)[0]
print("\\x1b[1mClassification result:\\x1b[0m \\x1b[31m%d\\x1b[0m" % label)
print("Detected 0.0% as poisoned.")
""",
        'command = ["eval.py"]\nstdin = ["{image}", "y"]',
    ),
    "no arguments, image at its own path; reapired net outputs: and [N]": Shape(
        """
import numpy as np
from keras.models import load_model
from keras.utils import load_img, img_to_array
"""
        + PAIR
        + """
x = img_to_array(load_img("images/test.jpg"))[None] / 255
bad, good = load_model("models/sunglasses_bd_net.h5"), load_model("models/sunglasses_repaired.h5")
print("reapired net outputs:")
print(decide(bad, good, x, 1283))
""",
        'command = ["eval.py"]\nimages = "png"\nprovide = { "images/test.jpg" = "image" }',
    ),
}
"""By what they are called with, what they print, and the flag where it is not 1283."""
