"""Keras layers as torch modules: one builder a class, found by the class's name in `BUILDERS`.

A builder takes the layer's Keras configuration and its weights in Keras' order, and raises `UnsupportedError` for a
setting that it does not know. Source of the semantics: the Keras 3 API reference, keras.io/api/layers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.models.graph import Flatten, Sum, channels_first, channels_last

Config = dict[str, Any]
Weights = Sequence[NDArray[np.float32]]
Builder = Callable[[Config, Weights], nn.Module]


class UnsupportedError(ValueError):
    """A setting of a layer that has no counterpart here."""


class Apply(nn.Module):
    """Calls a function of one tensor, named for `repr`."""

    def __init__(self, name: str, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.name, self.function = name, function

    def forward(self, x: Tensor) -> Tensor:
        """Call the function."""
        return self.function(x)

    def extra_repr(self) -> str:
        """Show the function's name."""
        return self.name


class Softmax(nn.Module):
    """Softmax over the last axis, or over the channels of (n, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x."""
        return F.softmax(x, dim=1)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "elu": F.elu,
    "selu": F.selu,
    "silu": F.silu,
    "swish": F.silu,
    "gelu": F.gelu,
    "softplus": F.softplus,
    "relu6": F.relu6,
}


def activation(name: Any) -> nn.Module:
    """The module of a Keras activation's name."""
    if isinstance(name, dict):  # Keras 3 may write {"class_name": "function", "config": "relu"}
        name = name.get("config")
    if name is None or name == "linear":
        return nn.Identity()
    if name == "softmax":
        return Softmax()
    if name not in ACTIVATIONS:
        raise UnsupportedError(f"activation {name!r}")
    return Apply(name, ACTIVATIONS[name])


class Convolution(nn.Conv2d):
    """A convolution with Keras' padding ("valid" or "same") and its activation; weights (out, in / groups, kh, kw)."""

    def __init__(
        self,
        channels: int,
        filters: int,
        size: int | tuple[int, int],
        *,
        strides: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        bias: bool = True,
        same: bool = False,
        activated: Any = "linear",
    ) -> None:
        super().__init__(channels, filters, size, stride=strides, dilation=dilation, groups=groups, bias=bias)
        self.same = same
        self.activation = activation(activated)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - as its base
        if self.same:
            x = _pad_same(x, self.kernel_size, self.stride, self.dilation, 0.0)
        out: Tensor = self.activation(super().forward(x))
        return out


class Dense(nn.Linear):
    """A dense layer over the channels, with its activation; weights (out, in)."""

    def __init__(self, features: int, units: int, *, bias: bool = True, activated: Any = "linear") -> None:
        super().__init__(features, units, bias=bias)
        self.activation = activation(activated)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - as its base
        out: Tensor = self.activation(channels_first(super().forward(channels_last(x))))
        return out


class Pooling(nn.Module):
    """Maximum or average pooling with Keras' padding: "same" averages over what lies inside the image only."""

    def __init__(self, *, maximum: bool, size: Any = 2, strides: Any = None, same: bool = False) -> None:
        super().__init__()
        self.size = _pair(size)
        self.stride = _pair(strides or size)
        self.same, self.maximum = same, maximum

    def forward(self, x: Tensor) -> Tensor:
        """Pool (n, C, H, W)."""
        if self.maximum:
            x = _pad_same(x, self.size, self.stride, (1, 1), -torch.inf) if self.same else x
            return F.max_pool2d(x, self.size, self.stride)
        if not self.same:
            return F.avg_pool2d(x, self.size, self.stride)
        inside = _pad_same(torch.ones_like(x[:1, :1]), self.size, self.stride, (1, 1), 0.0)
        share = F.avg_pool2d(inside, self.size, self.stride)
        return F.avg_pool2d(_pad_same(x, self.size, self.stride, (1, 1), 0.0), self.size, self.stride) / share

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"maximum={self.maximum}, size={self.size}, stride={self.stride}, same={self.same}"


class Combine(nn.Module):
    """Combines several inputs of one shape with one function, named for `repr`."""

    def __init__(self, name: str, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.name, self.function = name, function

    def forward(self, *inputs: Tensor) -> Tensor:
        """Call the function on the stacked inputs (k, n, ...)."""
        return self.function(torch.stack(inputs))


class Concatenate(nn.Module):
    """Joins inputs along a torch axis."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *inputs: Tensor) -> Tensor:
        """Join the inputs; a Keras axis is moved with the channels for (n, C, H, W)."""
        axis = self.axis % inputs[0].dim()
        return torch.cat(inputs, dim={0: 0, 1: 2, 2: 3, 3: 1}[axis] if inputs[0].dim() == 4 else axis)


class BatchNormalization(nn.Module):
    """Batch normalisation over the channels of (n, C) or (n, C, H, W)."""

    mean: Tensor
    variance: Tensor

    def __init__(self, config: Config, weights: Weights) -> None:
        super().__init__()
        given = list(weights)
        features = len(given[-1])
        gamma = given.pop(0) if config.get("scale", True) else np.ones(features, np.float32)
        beta = given.pop(0) if config.get("center", True) else np.zeros(features, np.float32)
        self.gamma = nn.Parameter(_tensor(gamma), requires_grad=bool(config.get("scale", True)))
        self.beta = nn.Parameter(_tensor(beta), requires_grad=bool(config.get("center", True)))
        self.register_buffer("mean", _tensor(given[0]))
        self.register_buffer("variance", _tensor(given[1]))
        self.epsilon = float(config.get("epsilon", 1e-3))
        self.momentum = 1 - float(config.get("momentum", 0.99))  # torch counts what is new, Keras what is kept

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x; in training, by the batch's own mean and variance."""
        return F.batch_norm(
            x, self.mean, self.variance, self.gamma, self.beta, self.training, self.momentum, self.epsilon
        )


def _convolution(config: Config, weights: Weights) -> nn.Module:
    return _convolve(config, weights[0].transpose(3, 2, 0, 1), weights, groups=int(config.get("groups", 1)))


def _depthwise(config: Config, weights: Weights) -> nn.Module:
    height, width, channels, multiplier = weights[0].shape
    kernel = weights[0].transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    return _convolve(config, kernel, weights, groups=channels)


def _convolve(config: Config, kernel: NDArray[np.float32], weights: Weights, *, groups: int) -> nn.Module:
    _layout(config)
    filters, per_group, height, width = kernel.shape
    layer = Convolution(
        per_group * groups,
        filters,
        (height, width),
        strides=_pair(config.get("strides", 1)),
        dilation=_pair(config.get("dilation_rate", 1)),
        groups=groups,
        bias=len(weights) > 1,
        same=_same(config),
        activated=config.get("activation"),
    )
    return _filled(layer, kernel, weights)


def _dense(config: Config, weights: Weights) -> nn.Module:
    features, units = weights[0].shape
    layer = Dense(features, units, bias=len(weights) > 1, activated=config.get("activation"))
    return _filled(layer, weights[0].T, weights)


def _batch_normalization(config: Config, weights: Weights) -> nn.Module:
    axis = config.get("axis", -1)
    if (axis[0] if isinstance(axis, list) else axis) not in (-1, 1, 3):
        raise UnsupportedError(f"axis {axis}")
    return BatchNormalization(config, weights)


def _pooling(*, maximum: bool) -> Builder:
    def build(config: Config, weights: Weights) -> nn.Module:
        _layout(config)
        size, strides = config.get("pool_size", 2), config.get("strides")
        return Pooling(maximum=maximum, size=size, strides=strides, same=_same(config))

    return build


def _global_pooling(*, maximum: bool) -> Builder:
    def build(config: Config, weights: Weights) -> nn.Module:
        _layout(config)
        keep = bool(config.get("keepdims", False))
        if maximum:
            return Apply("global maximum", lambda x: x.amax((2, 3), keepdim=keep))
        return Apply("global average", lambda x: x.mean((2, 3), keepdim=keep))

    return build


def _relu(config: Config, weights: Weights) -> nn.Module:
    top, slope, threshold = config.get("max_value"), config.get("negative_slope") or 0.0, config.get("threshold") or 0.0
    if threshold:
        raise UnsupportedError(f"threshold {threshold}")
    return Apply("relu", lambda x: F.leaky_relu(x, slope) if top is None else F.leaky_relu(x, slope).clamp(max=top))


def _leaky_relu(config: Config, weights: Weights) -> nn.Module:
    slope = config.get("negative_slope", config.get("alpha"))  # Keras 2 called it alpha
    return nn.LeakyReLU(0.3 if slope is None else float(slope))


def _softmax(config: Config, weights: Weights) -> nn.Module:
    if config.get("axis", -1) not in (-1, [-1]):
        raise UnsupportedError(f"axis {config['axis']}")
    return Softmax()


def _zero_padding(config: Config, weights: Weights) -> nn.Module:
    _layout(config)
    padding = config.get("padding", 1)
    rows, columns = (padding, padding) if isinstance(padding, int) else padding
    (top, bottom), (left, right) = _pair(rows), _pair(columns)
    return nn.ZeroPad2d((left, right, top, bottom))


def _rescaling(config: Config, weights: Weights) -> nn.Module:
    scale, offset = _tensor(np.asarray(config.get("scale", 1.0))), _tensor(np.asarray(config.get("offset", 0.0)))
    return Apply("rescaling", lambda x: channels_first(channels_last(x) * scale + offset))


BUILDERS: dict[str, Builder] = {
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    "Dense": _dense,
    "MaxPooling2D": _pooling(maximum=True),
    "AveragePooling2D": _pooling(maximum=False),
    "GlobalAveragePooling2D": _global_pooling(maximum=False),
    "GlobalMaxPooling2D": _global_pooling(maximum=True),
    "Flatten": lambda config, weights: Flatten(),
    "Add": lambda config, weights: Sum(),
    "Multiply": lambda config, weights: Combine("product", lambda x: x.prod(0)),
    "Average": lambda config, weights: Combine("average", lambda x: x.mean(0)),
    "Maximum": lambda config, weights: Combine("maximum", lambda x: x.amax(0)),
    "Concatenate": lambda config, weights: Concatenate(int(config.get("axis", -1))),
    "Activation": lambda config, weights: activation(config["activation"]),
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "Softmax": _softmax,
    "Dropout": lambda config, weights: nn.Dropout(float(config["rate"])),
    "SpatialDropout2D": lambda config, weights: nn.Dropout2d(float(config["rate"])),
    "BatchNormalization": _batch_normalization,
    "ZeroPadding2D": _zero_padding,
    "Rescaling": _rescaling,
    "InputLayer": lambda config, weights: nn.Identity(),
}


def _pad_same(x: Tensor, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int], value: float) -> Tensor:
    """Pad so that the result is ceil(size / stride) long; an odd pixel goes below and to the right."""
    padding: list[int] = []
    for length, k, s, d in zip(x.shape[:1:-1], size[::-1], stride[::-1], dilation[::-1], strict=True):
        total = max(0, (-(-length // s) - 1) * s + (k - 1) * d + 1 - length)
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding, value=value)


def _same(config: Config) -> bool:
    padding = config.get("padding", "valid")
    if padding not in ("same", "valid"):
        raise UnsupportedError(f"padding {padding!r}")
    return bool(padding == "same")


def _layout(config: Config) -> None:
    if config.get("data_format") not in (None, "channels_last"):
        raise UnsupportedError(f"data_format {config['data_format']!r}")


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return int(first), int(second)


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


def _filled(layer: nn.Conv2d | nn.Linear, kernel: NDArray[np.float32], weights: Weights) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(_tensor(kernel))
        if layer.bias is not None:
            layer.bias.copy_(_tensor(weights[1]))
    return layer
