"""A net as named layers and the steps that connect them, so that defenses can look at, replace and cache any layer."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from harness.models.errors import ModelError

INPUT = "input:0"


class Step(NamedTuple):
    """One call of a layer: its result's key, the layer's name, and the keys of what it is called with."""

    key: str
    layer: str
    inputs: tuple[str, ...]


class Graph(nn.Module):
    """Runs its steps in order: float (n, C, H, W) in, the value of the key `output_key` out.

    Every layer is a direct submodule under its own name, so that the state dict's keys read "conv_1.weight".
    """

    def __init__(self, layers: Mapping[str, nn.Module], steps: Iterable[Step], output: str) -> None:
        super().__init__()
        self.steps = tuple(steps)
        self.output_key = output
        for name, layer in layers.items():
            if hasattr(self, name) or "." in name:
                raise ModelError(f"layer {name!r}: torch keeps this name for itself; rename the layer")
            self.add_module(name, layer)

    @property
    def layers(self) -> dict[str, nn.Module]:
        """The layers by name, in the order of their first use."""
        return dict(self.named_children())

    def replace(self, name: str, layer: nn.Module) -> None:
        """Put another module in the place of layer `name`; raises ModelError where there is none."""
        if name not in self.layers:
            raise ModelError(f"no layer {name!r}; layers are {', '.join(self.layers)}", stage="repair")
        self.add_module(name, layer)

    def forward(self, images: Tensor) -> Tensor:
        """Answer images (n, C, H, W), already divided by the net's scale: (n, outputs)."""
        return self.resume({INPUT: images}, self.steps)

    def resume(self, values: Mapping[str, Tensor], steps: Iterable[Step]) -> Tensor:
        """Run `steps` on values that are known already; returns the value of `output_key`."""
        return self._run(values, tuple(steps), {self.output_key})[self.output_key]

    def values(self, images: Tensor, keys: Iterable[str]) -> dict[str, Tensor]:
        """The values of `keys` for images (n, C, H, W); steps that they do not need are not run."""
        wanted = set(keys)
        return self._run({INPUT: images}, self._needed(wanted), wanted)

    def _run(self, values: Mapping[str, Tensor], steps: Sequence[Step], wanted: set[str]) -> dict[str, Tensor]:
        known, layers = dict(values), self.layers
        uses = Counter(key for step in steps for key in step.inputs)
        for step in steps:
            known[step.key] = layers[step.layer](*(known[key] for key in step.inputs))
            for key in step.inputs:
                uses[key] -= 1
                if not uses[key] and key not in wanted:
                    del known[key]  # nothing after this step needs it, so its memory can be used again
        return {key: known[key] for key in wanted}

    def key_of(self, layer: str) -> str:
        """The key of layer `layer`'s value; raises ModelError where there is no such layer or it is called twice."""
        keys = [step.key for step in self.steps if step.layer == layer]
        if len(keys) != 1:
            problem = f"is called {len(keys)} times" if keys else "does not exist"
            raise ModelError(f"layer {layer!r} {problem}; layers are {', '.join(self.layers)}", stage="repair")
        return keys[0]

    def after(self, layer: str) -> tuple[Step, ...]:
        """The steps whose values change when layer `layer`'s value does, without the layer itself."""
        changed = {self.key_of(layer)}
        later: list[Step] = []
        for step in self.steps:
            if changed.intersection(step.inputs):
                changed.add(step.key)
                later.append(step)
        return tuple(later)

    def frontier(self, layer: str) -> tuple[str, ...]:
        """The keys that `resume` needs to run only the steps after layer `layer`: its own value first."""
        later = self.after(layer)
        made = {step.key for step in later}
        needed = {key for step in later for key in step.inputs} - made
        own = self.key_of(layer)
        return (own, *sorted(needed - {own}))

    def _needed(self, wanted: set[str]) -> list[Step]:
        needed: set[str] = set(wanted)
        steps: list[Step] = []
        for step in reversed(self.steps):
            if step.key in needed:
                needed.update(step.inputs)
                steps.append(step)
        return steps[::-1]


class Flatten(nn.Module):
    """Flattens (n, C, H, W) in Keras' order, height before width before channels: (n, H * W * C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Flatten x; what is flat already stays."""
        return channels_last(x).flatten(1)


class Sum(nn.Module):
    """Adds its inputs, all of one shape."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Add the inputs up."""
        return torch.stack(inputs).sum(0) if len(inputs) > 2 else inputs[0] + inputs[-1]


def channels_last(x: Tensor) -> Tensor:
    """Move the channels of (n, C, H, W) to the end; other shapes stay."""
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x


def channels_first(x: Tensor) -> Tensor:
    """Move the channels of (n, H, W, C) to the second place; other shapes stay."""
    return x.permute(0, 3, 1, 2) if x.dim() == 4 else x
