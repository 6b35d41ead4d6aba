"""Takes off the wrappers that tensorflow_model_optimization's magnitude pruning leaves in a Keras 2 .h5.

A wrapper holds the layer in its configuration, and the layer's weights, a mask for each pruned one, a threshold and a
step among its own. Whenever it is called, in inference too, it first multiplies the weights by their masks
(tfmot.sparsity.keras.PruneLowMagnitude): a layer with the products for weights gives the same values.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.models.errors import ModelError

WRAPPER = "PruneLowMagnitude"
PREFIX = "prune_low_magnitude_"
"""What the wrapper puts before its layer's name."""
STEP, MASK, OWN = "pruning_step", "mask", ("mask", "threshold", "pruning_step")

Weights = dict[str, NDArray[np.float32]]


def unwrapped_config(config: Any) -> Any:
    """A model's configuration with the layers themselves in place of their wrappers, under the wrappers' names."""
    if isinstance(config, list):
        return [unwrapped_config(value) for value in config]
    if not isinstance(config, dict):
        return config
    own = config.get("config")
    if config.get("class_name") == WRAPPER and isinstance(own, dict) and isinstance(own.get("layer"), dict):
        layer = own["layer"]
        kept = {key: own[key] for key in ("name", "batch_input_shape") if key in own}
        config = {**config, "class_name": layer["class_name"], "config": {**layer["config"], **kept}}
    return {key: unwrapped_config(value) for key, value in config.items()}


def is_wrapped(names: Mapping[str, Any]) -> bool:
    """Whether weights, by their names in the file, are those of a wrapper or have one's among them."""
    return any(_last(name) == STEP for name in names)


def unwrapped_weights(weights: Weights) -> Weights:
    """A layer's weights by name, in Keras' order, without the wrapper's own and multiplied by the masks.

    Raises ModelError for a mask that fits no weight.
    """
    if not is_wrapped(weights):
        return weights
    found = {name: value for name, value in weights.items() if _last(name) not in OWN}
    waiting = list(found)
    for name, mask in weights.items():
        if _last(name) == MASK:
            fitting = [n for n in waiting if _layer(n) == _layer(name) and found[n].shape == mask.shape]
            if not fitting:
                raise ModelError(
                    f"the mask {name!r} fits no weight; save the model again after "
                    "tfmot.sparsity.keras.strip_pruning(model)"
                )
            waiting.remove(fitting[0])
            found[fitting[0]] = found[fitting[0]] * mask
    return found


def _last(name: str) -> str:
    """The name of a weight without its place and number: "conv_1/mask_1:0" is a "mask"."""
    return name.rpartition("/")[2].partition(":")[0].rstrip("_0123456789")


def _layer(name: str) -> str:
    """The name of a weight's layer, which older versions write with the wrapper's prefix."""
    return name.rpartition("/")[0].rpartition("/")[2].removeprefix(PREFIX)
