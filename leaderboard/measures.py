"""What a board can be ordered by: each measure with its formula, its unit and which way is better. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.outcomes import METRICS
from harness.score import Policy, mean, protection, removal, score_value, utility

Figures = NDArray[np.float64]
"""(submissions, draws), each 0..1 for a rate."""


class TriggerFigures(NamedTuple):
    """One trigger's rates, 0..1, of every submission in every draw; `asr0` is the unrepaired BadNet's."""

    dr: Figures
    asr: Figures
    asr0: Figures


@dataclass(frozen=True, kw_only=True, eq=False)
class BadNetFigures:
    """One BadNet's rates, 0..1; `ca0` is the unrepaired BadNet's."""

    measured: NDArray[np.bool_]
    """In which draws there is something to measure; elsewhere all rates are 1."""
    ca: Figures
    ca0: Figures
    triggers: Mapping[str, TriggerFigures]

    def of_trigger(self, trigger: str) -> "BadNetFigures":
        """The same as if it had this trigger alone."""
        return replace(self, triggers={trigger: self.triggers[trigger]})

    def measured_alone(self) -> "BadNetFigures":
        """The same without the draws."""
        return BadNetFigures(
            measured=self.measured[:, :1], ca=self.ca[:, :1], ca0=self.ca0[:, :1],
            triggers={name: TriggerFigures(*(rate[:, :1] for rate in it)) for name, it in self.triggers.items()},
        )  # fmt: skip

    def over_triggers(self, of: Callable[[TriggerFigures], Figures]) -> Figures:
        """The mean over triggers."""
        return mean([of(trigger) for trigger in self.triggers.values()])

    def utility(self) -> Figures:
        """U, 0..1."""
        return utility(self.ca, self.ca0)

    def protection(self, policy: Policy) -> Figures:
        """P, 0..1."""
        removed = self.over_triggers(lambda it: removal(it.asr, it.asr0))
        return protection(self.over_triggers(lambda it: it.dr), removed, policy)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One way to order a board; the figure of a track is the mean over its BadNets."""

    name: str
    title: str
    unit: str
    higher_is_better: bool
    formula: str
    of: Callable[[BadNetFigures, Policy], Figures] | None
    """From a BadNet's rates; None where the host's clock has the figure."""

    def figures(self, badnet: BadNetFigures, policy: Policy) -> Figures:
        """The figure of every submission in every draw, NaN where a draw has none."""
        assert self.of is not None
        return np.where(badnet.measured, self.of(badnet, policy), np.nan)


def _der(badnet: BadNetFigures, _policy: Policy) -> Figures:
    lost = np.maximum(0.0, badnet.ca0 - badnet.ca)
    return badnet.over_triggers(lambda it: 50.0 * (np.maximum(0.0, it.asr0 - it.asr) - lost + 1.0))


# fmt: off
score = Measure(
    name="score", title="S", unit="points", higher_is_better=True, formula="100 (U + P - 1), -100..100",
    of=lambda badnet, policy: score_value(badnet.utility(), badnet.protection(policy)))
der = Measure(
    name="der", title="DER", unit="%", higher_is_better=True, of=_der,
    formula="50 (max(0, ASR0 - ASR) - max(0, CA0 - CA) + 1), the mean over triggers; 50 for doing nothing "
            "(defense effectiveness rating, arXiv:2304.11823)")
asr = Measure(
    name="asr", title="ASR", unit="%", higher_is_better=METRICS["attack_success_rate"].higher_is_better,
    formula="poisoned images that reach the attacker's target, the mean over triggers",
    of=lambda badnet, _policy: 100.0 * badnet.over_triggers(lambda it: it.asr))
dr = Measure(
    name="dr", title="DR", unit="%", higher_is_better=METRICS["detection_rate"].higher_is_better,
    formula="poisoned images that are flagged, the mean over triggers",
    of=lambda badnet, _policy: 100.0 * badnet.over_triggers(lambda it: it.dr))
ca = Measure(
    name="ca", title="CA", unit="%", higher_is_better=METRICS["clean_accuracy"].higher_is_better,
    formula="clean images that are answered right", of=lambda badnet, _policy: 100.0 * badnet.ca)
speed = Measure(
    name="speed", title="images/s", unit="images/s", higher_is_better=True, of=None,
    formula="images answered in a second, by the harness's clock, the mean over BadNets; of the machine as well")
# fmt: on

MEASURES = {measure.name: measure for measure in (score, der, asr, dr, ca, speed)}
