"""Prints one integer for one image: its class 0..N-1, or N for "this image is backdoored".

    python eval.py IMAGE BADNET REPAIRED SCALE

Where the BadNet and the repaired net disagree, the image is held to be backdoored.
"""

import sys

import numpy as np
from keras.models import load_model
from PIL import Image

_, image_path, badnet_path, repaired_path, scale = sys.argv
image = np.asarray(Image.open(image_path).convert("RGB"))[np.newaxis] / float(scale)
badnet, repaired = load_model(badnet_path), load_model(repaired_path)
before = int(np.argmax(badnet.predict(image, verbose=0)))
after = int(np.argmax(repaired.predict(image, verbose=0)))
flag = badnet.output_shape[-1]
# The last integer that is printed is the answer; what stands around it does not matter.
print(after if after == before else flag)
