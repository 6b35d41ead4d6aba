"""Torch modules as predictors."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.models.classifier import ANY_SHAPE, INVALID, Classifier, Parts, Shape
from harness.models.contracts import Images
from harness.models.errors import ModelError, in_one_line
from harness.models.settings import ModelSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TORCH_BATCH = 64
"""Images that torch is given at once: the activations of more fall out of the processor's cache, at half the speed."""


class TorchClassifier(Classifier):
    """A torch module, or another function of one tensor, as a predictor."""

    def __init__(
        self,
        module: "Callable[[Tensor], Tensor]",
        settings: ModelSettings,
        *,
        name: str,
        shape: Shape = ANY_SHAPE,
        parts: Parts | None = None,
        dtype: "torch.dtype | None" = None,
    ) -> None:
        """Set the module to answer.

        module: takes float (n, C, H, W), or (n, H, W, C) with the layout "nhwc". name: of the file, for errors. shape,
        parts, dtype: of its input, where they are known, else any shape and the data type of its weights. Raises
        ModelError where it takes no images.
        """
        import torch
        from torch import nn

        if isinstance(module, nn.Module):
            dtype = dtype or next((p.dtype for p in module.parameters() if p.is_floating_point()), None)
            module = module.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.module, self.dtype = module, dtype or torch.float32
        super().__init__(
            settings,
            name=name,
            usual_layout="nchw",
            shape=shape,
            parts=parts or Parts(1, TORCH_BATCH),
            whole=None if self.dtype.is_floating_point else str(self.dtype).removeprefix("torch."),
        )

    def answer(self, images: Images) -> NDArray[np.int64]:
        """Answer one part of a batch."""
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(images))
            x = (x.to(torch.float32) / self.scale).to(self.dtype)
            # permuted (n, H, W, C) is torch's channels_last, in which convolutions run twice as fast
            outputs = self._outputs(x.permute(0, 3, 1, 2) if self.layout == "nchw" else x)
            answers: NDArray[np.int64] = torch.where(outputs.isfinite().all(1), outputs.argmax(1), INVALID).numpy()
        return answers

    def _outputs(self, x: "Tensor") -> Any:
        try:
            outputs = self.module(x)
        except Exception as error:  # a stranger's module may raise anything
            raise ModelError(f"{self.name}: cannot be run ({in_one_line(error)})", stage="answer") from error
        if getattr(outputs, "ndim", 0) != 2:
            given = tuple(outputs.shape) if hasattr(outputs, "shape") else type(outputs).__name__
            raise ModelError(f"{self.name}: gives {given}; one row of outputs an image is expected", stage="answer")
        self.check_outputs(outputs.shape[1])
        return outputs
