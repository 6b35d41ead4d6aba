"""`make badnets`: train every BadNet of a track as its track.toml says, and write the manifest anew."""

import sys
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness import console
from harness.errors import HarnessError, UserError
from harness.images import Report
from harness.preparation import build
from harness.sources.synthetic_faces import training_portraits
from harness.track import Track, find_track
from harness.triggers import Portraits
from harness.wording import first_problem
from reference_attacks import make_attack
from reference_attacks.training import Training, save


class Recipe(BaseModel):
    """The `options` of a BadNet in track.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attack: str
    share: float = Field(gt=0, le=1)
    """Stamped images a trigger, of all training images."""
    epochs: int = Field(gt=0)
    seed: int = Field(ge=0)


def make(track: Track, name: str, portraits: Portraits, report: Report) -> Any:
    """Train one BadNet, a Keras net; raises UserError for a wrong recipe."""
    spec = track.spec.badnets[name]
    try:
        recipe = Recipe.model_validate(spec.options)
    except ValidationError as error:
        raise UserError(f"{track.folder / 'track.toml'}: badnets.{name}.options.{first_problem(error)}") from error
    targets = {trigger: it.target for trigger, it in spec.triggers.items()}
    attack = make_attack(recipe.attack, targets=targets, share=recipe.share)
    data = attack.poison(portraits, np.random.default_rng(recipe.seed))
    return Training(epochs=recipe.epochs, seed=recipe.seed).train(data, track.classes, report)


def main() -> None:
    """Make the BadNets of the tracks named on the command line."""
    try:
        for name in sys.argv[1:]:
            track = find_track(name)
            with console.progress() as desk:
                portraits = training_portraits(track.spec, desk.report("training pictures"))
                desk.done("training pictures", f"{len(portraits):,}")
                nets = {}
                for badnet in track.spec.badnets:
                    nets[badnet] = make(track, badnet, portraits, desk.report(badnet))
                    desk.done(badnet, "trained")
                # All at once in the end: until then the track stays as it was, and usable.
                for badnet, net in nets.items():
                    save(net, track.folder / track.spec.badnets[badnet].model)
                track.write_manifest(build(track, report=desk.report(track.name)))
            console.out.print(f"{track.manifest_path}: written; see `badnet track verify {name}`", markup=False)
    except HarnessError as error:
        console.err.print(f"error: {error}", markup=False, style="red")
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
