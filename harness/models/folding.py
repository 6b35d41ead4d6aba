"""Modules that stand in for a layer, such as one with channels held at zero, as plain layers that give the same values."""

import copy
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from harness.models.errors import ModelError
from harness.models.graph import Graph


@runtime_checkable
class Foldable(Protocol):
    """A module that can be told as a layer of its BadNet's own kind, with other weights."""

    def folded(self) -> nn.Module:
        """A plain layer that gives the same values; raises ModelError where there is none."""
        ...


def fold(net: Graph) -> Graph:
    """A copy of the net in which every foldable module is the plain layer that it amounts to; raises ModelError."""
    plain = copy.deepcopy(net)
    for name, layer in net.layers.items():
        if isinstance(layer, Foldable):
            try:
                plain.replace(name, layer.folded())
            except ModelError as error:
                raise ModelError(f"layer {name!r} {error}", stage="repair") from error
    return plain


def without_channels(layer: nn.Module, keep: Tensor) -> nn.Module:
    """A copy of the layer that gives zero on the output channels at which `keep` (channels,) is 0; exact.

    Raises ModelError unless it is a convolution or a dense layer whose activation leaves zero as it is.
    """
    if isinstance(layer, Foldable):
        layer = layer.folded()
    if not isinstance(layer, (nn.Conv2d, nn.Linear)):
        raise ModelError(f"is a {type(layer).__name__}, of which no channel can be held at zero by its weights")
    activation = getattr(layer, "activation", nn.Identity())
    if activation(torch.zeros(1, 1)).any():
        raise ModelError(f"has the activation {activation}, which does not leave zero as it is")
    plain = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in (plain.weight, plain.bias):
            if parameter is not None:
                parameter[keep == 0] = 0
    return plain
