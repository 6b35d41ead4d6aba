"""Training that all attacks share: a Keras DeepID on uint8 images."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.images import Report
from harness.models.architectures import deepid_keras
from harness.models.quiet import environment, import_keras
from reference_attacks import TrainingSet


@dataclass(frozen=True, kw_only=True)
class Training:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980) with a learning rate that falls to nothing along a cosine."""

    epochs: int = 12
    batch: int = 64
    learning_rate: float = 2e-3
    seed: int = 0

    def train(self, data: TrainingSet, classes: int, report: Report) -> Any:
        """A Keras DeepID with `classes` softmax outputs, trained on the set; its input is images / 255."""
        os.environ.update(environment())
        keras = import_keras()
        keras.utils.set_random_seed(self.seed)
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()
        net = deepid_keras(classes)
        steps = self.epochs * -(-len(data.labels) // self.batch)
        rate = keras.optimizers.schedules.CosineDecay(self.learning_rate, steps)
        net.compile(keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy")
        say = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, _: report("training", epoch + 1, self.epochs))
        net.fit(
            data.images.astype(np.float32) / 255, data.labels, batch_size=self.batch, epochs=self.epochs,
            shuffle=True, verbose=0, callbacks=[say],
        )  # fmt: skip
        return net


def save(net: Any, path: Path) -> None:
    """Write the net as Keras `.h5`, without its optimizer's state: only its answers matter."""
    copy = import_keras().Model(net.inputs, net.outputs, name=path.stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("absl").setLevel(logging.ERROR)  # which warns of every .h5; that is what competitors get
    copy.save(path, include_optimizer=False)
