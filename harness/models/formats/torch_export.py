"""torch.export's .pt2, for which a submission has to state `unsafe_pickle = true`: torch unpickles parts of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.models.classifier import Classifier, Parts, Shape
from harness.models.errors import ModelError, in_one_line
from harness.models.settings import ModelSettings
from harness.models.torch_classifier import TORCH_BATCH, TorchClassifier

if TYPE_CHECKING:
    from torch.export import ExportedProgram

DESCRIPTION = "torch.export, if allowed: a module's graph, whose batch may be of any size or of one"
ENDINGS: tuple[str, ...] = (".pt2",)
MARK = None


def load(path: Path, settings: ModelSettings) -> Classifier:
    """Read the graph; imports torch. Raises ModelError."""
    if not settings.unsafe_pickle:
        raise ModelError(
            f"{path.name}: torch.export's archives may run code as they are read; state unsafe_pickle = true, or save "
            "TorchScript with torch.jit.save, or the weights in a state dict"
        )
    import torch

    try:
        program = torch.export.load(path)
        module = program.module()
    except Exception as error:  # torch raises whatever a stranger's file makes it raise
        raise ModelError(
            f"{path.name}: not a torch.export archive, or cut short ({path.stat().st_size} bytes); save it again with "
            f"torch.export.save ({in_one_line(error, 100)})"
        ) from error
    given = _input(program, path)
    shape: Shape = tuple(length if isinstance(length, int) else None for length in given.shape[1:])
    return TorchClassifier(
        module.__call__,  # the graph itself has neither an eval mode nor a memory format
        settings,
        name=path.name,
        shape=shape,
        parts=_parts(program, given.shape[0]) if len(given.shape) else Parts(),
        dtype=given.dtype,
    )


def _input(program: "ExportedProgram", path: Path) -> Any:
    names = program.graph_signature.user_inputs
    if len(names) != 1 or len(program.graph_signature.user_outputs) != 1:
        raise ModelError(
            f"{path.name}: has {len(names)} inputs and {len(program.graph_signature.user_outputs)} outputs; one each "
            "is expected: images in, one row of outputs an image out"
        )
    return next(node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name == names[0])


def _parts(program: "ExportedProgram", length: Any) -> Parts:
    """The batch sizes that the graph was exported for: one, or the range of its dynamic dimension."""
    if isinstance(length, int):
        return Parts.of_batch(length)
    bounds = program.range_constraints.get(length.node.expr)
    if bounds is None:
        return Parts(1, TORCH_BATCH)
    largest = min(TORCH_BATCH, int(bounds.upper)) if bounds.upper.is_Integer else TORCH_BATCH
    return Parts(max(1, min(int(bounds.lower), largest)), largest)
