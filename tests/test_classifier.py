"""Classifiers answer the right class, at any batch size, and never turn NaN into an answer."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harness.models.errors import ModelError
from harness.models.quiet import import_keras
from harness.models.settings import ModelSettings
from harness.models.tensorflow_classifier import KerasClassifier
from harness.models.torch_classifier import TorchClassifier

CLASSES = 3
Maker = Any


class ChannelNet(nn.Module):
    """Outputs: the mean of each colour channel, and `extra` columns of -1; NaN or inf where an image is black."""

    def __init__(self, extra: int = 0, bad: float = 0.0) -> None:
        super().__init__()
        self.extra, self.bad = extra, bad

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        means = x.mean((2, 3))
        means = torch.where(means.sum(1, keepdim=True) == 0, means + self.bad, means)
        return torch.cat([means, -torch.ones(len(x), self.extra)], 1) if self.extra else means


def keras_channel_net(extra: int = 0, bad: float = 0.0) -> Any:
    keras = import_keras()
    image = keras.layers.Input((4, 4, 3))
    means = keras.ops.mean(image, axis=(1, 2))
    black = keras.ops.equal(keras.ops.sum(means, axis=1, keepdims=True), 0)
    means = keras.ops.where(black, means + bad, means)
    if extra:
        means = keras.ops.concatenate(
            [means, keras.ops.zeros_like(means)[:, :1] - 1] + [means[:, :1] - 9] * (extra - 1), 1
        )
    return keras.Model(image, means)


def make(library: str, *, extra: int = 0, bad: float = 0.0, **options: Any) -> Any:
    settings = ModelSettings(**({"classes": CLASSES} | options))
    if library == "keras":
        return KerasClassifier(keras_channel_net(extra, bad), settings, name="net.h5")
    return TorchClassifier(ChannelNet(extra, bad), settings, name="net.h5")


def coloured(channels: list[int]) -> Any:
    images = np.full((len(channels), 4, 4, 3), 9, np.uint8)
    for image, channel in zip(images, channels, strict=True):
        image[..., channel] = 200
    return images


both = pytest.mark.parametrize("library", ["keras", "torch"])


@both
@pytest.mark.parametrize("count", [0, 1, 7, 64, 65, 130])
def test_answers_are_int64_in_any_batch_size(library: str, count: int) -> None:
    channels = [i % 3 for i in range(count)]
    got = make(library)(coloured(channels))
    assert got.dtype == np.int64
    assert got.tolist() == channels


@both
def test_bgr_models_see_the_channels_in_their_order(library: str) -> None:
    assert make(library, channels="bgr")(coloured([0, 1, 2])).tolist() == [2, 1, 0]


@both
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_with_nan_or_infinity_is_invalid_and_alone(library: str, bad: float) -> None:
    images = coloured([2, 1, 2])
    images[1] = 0
    assert make(library, bad=bad)(images).tolist() == [2, -1, 2]


def keras_brightness_net() -> Any:
    """Says 2 where the scaled mean is above 1, else 0."""
    keras = import_keras()
    image = keras.layers.Input((4, 4, 3))
    mean = keras.ops.mean(image, axis=(1, 2))[:, :1]
    return keras.Model(image, keras.ops.concatenate([mean * 0 + 1, mean * 0, mean], 1))


@both
@pytest.mark.parametrize(("scale", "answer"), [(255.0, 0), (1.0, 2)])
def test_images_are_divided_by_the_scale(library: str, scale: float, answer: int) -> None:
    class Brightness(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mean = x.mean((2, 3))[:, :1]
            return torch.cat([mean * 0 + 1, mean * 0, mean], 1)

    settings = ModelSettings(classes=3, scale=scale)
    made: Any = (
        KerasClassifier(keras_brightness_net(), settings, name="net")
        if library == "keras"
        else TorchClassifier(Brightness(), settings, name="net")
    )
    assert made(np.full((2, 4, 4, 3), 100, np.uint8)).tolist() == [answer, answer]


@both
def test_one_output_more_than_classes_is_allowed(library: str) -> None:
    assert make(library, extra=1)(coloured([1])).tolist() == [1]


@both
def test_another_number_of_outputs_is_refused(library: str) -> None:
    wanted = "net.h5 has 5 outputs; classes are 3, so 3 (never flags) or 4 (flags) are expected"
    with pytest.raises(ModelError) as raised:
        make(library, extra=2)(coloured([1]))
    assert str(raised.value) == wanted


@both
@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_a_scale_that_is_no_positive_number_is_refused(library: str, scale: float) -> None:
    with pytest.raises(ModelError, match=r"is not a positive number; use 255, or 1"):
        make(library, scale=scale)


@both
def test_an_unknown_order_of_channels_is_refused(library: str) -> None:
    with pytest.raises(ModelError, match=r"channels 'gbr'; one of rgb, bgr"):
        make(library, channels="gbr")


@both
@pytest.mark.parametrize("images", [np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 4, 4), np.uint8)])
def test_images_of_another_kind_are_refused(library: str, images: Any) -> None:
    with pytest.raises(ModelError, match=r"takes uint8 images"):
        make(library)(images)


def test_images_of_another_size_are_refused_by_keras() -> None:
    with pytest.raises(ModelError, match=r"takes uint8 images \(n, 4, 4, 3\), was given uint8 \(1, 5, 4, 3\)"):
        make("keras")(np.zeros((1, 5, 4, 3), np.uint8))


def test_a_model_with_two_outputs_is_refused() -> None:
    keras = import_keras()
    image = keras.layers.Input((4, 4, 3))
    flat = keras.layers.Flatten()(image)
    two = keras.Model(image, [keras.layers.Dense(3)(flat), keras.layers.Dense(3)(flat)])
    with pytest.raises(ModelError, match=r"net.h5: "):
        KerasClassifier(two, ModelSettings(classes=3), name="net.h5")


def test_a_module_that_fails_is_told_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"net: cannot be run") as raised:
        TorchClassifier(nn.Linear(7, 3), ModelSettings(classes=3), name="net")(coloured([1]))
    assert "\n" not in str(raised.value)


def test_keras_is_traced_once_for_all_batch_sizes() -> None:
    classifier = make("keras")
    for count in (1, 5, 5, 64, 3):
        classifier(coloured([0] * count))
    assert classifier._answer.experimental_get_tracing_count() == 1


def test_no_keras_warning_reaches_the_reader() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make("keras")(coloured([0]))
