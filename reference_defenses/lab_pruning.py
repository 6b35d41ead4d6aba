"""The lab's pruning: a convolution stops listening to the channels that clean images leave asleep."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from harness.models.contracts import BadNetView, Predictor, Progress, Validation
from harness.models.errors import ModelError
from harness.models.graph import Graph, Step
from harness.models.repaired import RepairedNet
from reference_defenses._nets import last_convolution, load_graph
from reference_defenses._removal import activations, by_activity, check_drop, removal


@dataclass(frozen=True, kw_only=True)
class LabPruning:
    """Silences inputs of a convolution, the least active on clean images first, until clean accuracy has dropped.

    Source: the pruning lab of CSAW-HackML-2020, after Liu, Dolan-Gavitt, Garg, RAID 2018, arXiv:1805.12185. For DeepID:
    channels are ranked by their mean activation in pool_3, and conv_4 no longer hears them.

    Differences from the paper: it removes output channels of the last convolution, the lab inputs of it. In DeepID
    pool_3 also feeds fc_1, past conv_4, and that way stays open, as in the lab.
    """

    accuracy_drop: float = 0.1
    """Clean validation accuracy that is given up, 0..1; the lab asked for 0.02, 0.04 and 0.1."""
    layer: str | None = None
    """The convolution whose inputs are silenced; None: the last one."""
    ranked_by: str | None = None
    """The layer whose activations rank the channels; None: the one that feeds the convolution."""

    def __post_init__(self) -> None:
        """Check the drop."""
        check_drop(self.accuracy_drop)

    def repair(
        self, badnet: BadNetView, validation: Validation, *, rng: np.random.Generator, progress: Progress
    ) -> Predictor:
        """Prune the BadNet; draws nothing from `rng`."""
        net = load_graph(badnet)
        step, convolution = _convolution(net, self.layer or last_convolution(net))
        ranking = net.key_of(self.ranked_by) if self.ranked_by else step.inputs[0]
        others = net.frontier(step.layer)[1:]
        known = activations(net, validation, {ranking, *step.inputs, *others}, scale=badnet.scale, progress=progress)
        order = by_activity(known[ranking])
        weight = convolution.weight.detach()
        if weight.shape[1] != len(order):
            raise ModelError(
                f"{step.layer} hears {weight.shape[1]} channels, {ranking.partition(':')[0]} has {len(order)}; state "
                "ranked_by = a layer with as many",
                stage="repair",
            )
        whole = weight.clone()
        curve = removal(
            net,
            known,
            (step, *net.after(step.layer)),
            lambda channel: weight[:, channel].zero_(),
            of=f"inputs of {step.layer}",
            order=order,
            labels=validation.labels,
            accuracy_drop=self.accuracy_drop,
            progress=progress,
        )
        weight.copy_(whole)
        weight[:, torch.from_numpy(curve.removed)] = 0
        return RepairedNet(net, badnet, curve.findings())


def _convolution(net: Graph, layer: str) -> tuple[Step, nn.Conv2d]:
    key, module = net.key_of(layer), net.layers[layer]
    if not isinstance(module, nn.Conv2d) or module.groups > 1:
        raise ModelError(f"{layer} is no plain convolution; state layer = the name of one", stage="repair")
    return next(step for step in net.steps if step.key == key), module
