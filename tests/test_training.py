"""The training loop that defenses share, and the output that they add."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness.models.errors import ModelError
from harness.models.graph import INPUT, Flatten, Graph, Step
from harness.models.keras_layers import BatchNormalization, Dense
from reference_defenses._nets import widen
from reference_defenses._training import Training, labelled
from tests.small_nets import one_thread  # noqa: F401 - a fixture is found by its name


def net(*, seed: int = 0, bias: bool = True, between: nn.Module | None = None, end: nn.Module | None = None) -> Graph:
    torch.manual_seed(seed)
    layers = {"flat": Flatten(), "between": between or nn.Identity(), "output": Dense(12, 3, bias=bias)}
    layers["end"] = end or nn.Identity()
    names = list(layers)
    keys = [INPUT, *(f"{name}:0" for name in names)]
    return Graph(layers, [Step(keys[i + 1], name, (keys[i],)) for i, name in enumerate(names)], keys[-1])


def examples(count: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    labels = np.arange(count) % 3
    images = rng.integers(0, 100, (count, 2, 2, 3), dtype=np.uint8)
    images[np.arange(count), :, :, labels] += 100
    return images, labels


def train(graph: Graph, training: Training, *, count: int = 30, seed: int = 0, **options: Any) -> Graph:
    images, labels = examples(count)
    training.run(
        graph,
        labelled(images, labels),
        count,
        scale=255,
        rng=np.random.default_rng(seed),
        progress=lambda *_: None,
        **options,
    )
    return graph


def test_training_learns_and_leaves_the_net_ready_to_answer() -> None:
    graph = train(net(between=nn.Dropout(0.2)), Training(epochs=40, learning_rate=0.05, batch_size=8))
    images, labels = examples(30)
    assert not graph.training
    right = graph(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).argmax(1).numpy() == labels
    assert right.mean() >= 0.95


def test_the_same_seed_trains_the_same_net_with_dropout_and_leaves_torchs_own_generator_alone() -> None:
    training = Training(epochs=2, learning_rate=0.01, batch_size=8)
    fresh = [net(between=nn.Dropout(0.5)) for _ in range(3)]
    state = torch.get_rng_state()
    first, again, other = (
        train(it, training, seed=seed).state_dict() for it, seed in zip(fresh, (1, 1, 2), strict=True)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first["output.weight"], again["output.weight"])
    assert not torch.equal(first["output.weight"], other["output.weight"])


def test_what_requires_no_gradient_stays() -> None:
    graph = net()
    graph.layers["output"].weight.requires_grad_(False)
    before = graph.state_dict()["output.weight"].clone()
    train(graph, Training(epochs=2, learning_rate=0.1, batch_size=8))
    assert torch.equal(graph.state_dict()["output.weight"], before)


def test_a_rate_that_falls_along_a_cosine_ends_at_nothing() -> None:
    path: list[Any] = []
    graph = net()

    def note(done: int) -> None:
        path.append(graph.state_dict()["output.weight"].clone())

    train(graph, Training(epochs=8, learning_rate=0.1, batch_size=10, cosine=True), after_step=note)
    assert len(path) == 24
    assert (path[-1] - path[-2]).abs().max() < 0.02 * (path[1] - path[0]).abs().max()


@given(st.integers(2, 40), st.integers(3, 9))
def test_every_example_is_shown_once_an_epoch_in_batches_of_two_at_least(count: int, batch: int) -> None:
    images, labels = examples(count)
    seen: list[Any] = []
    simple = labelled(images, labels)

    def draw(chosen: Any) -> Any:
        seen.append(chosen)
        return simple(chosen)

    training = Training(epochs=2, learning_rate=0.1, batch_size=batch)
    graph = net(between=BatchNormalization({}, [np.ones(12, np.float32)] * 4))
    told: list[Any] = []
    training.run(graph, draw, count, scale=255, rng=np.random.default_rng(0), progress=lambda *step: told.append(step))
    assert len(seen) == training.steps(count)
    assert max(map(len, seen)) <= batch
    assert np.array_equal(np.sort(np.concatenate(seen)), np.repeat(np.arange(count), 2))
    assert [done for _, done, _ in told] == list(range(training.steps(count) + 1))


@pytest.mark.parametrize(
    "wrong", [{"epochs": -1}, {"batch_size": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}]
)
def test_values_that_cannot_be_meant_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Training(**({"epochs": 1, "batch_size": 1, "learning_rate": 1.0} | wrong))


def test_no_examples_is_told() -> None:
    with pytest.raises(ModelError, match="no clean validation images to train on"):
        train(net(), Training(epochs=1, learning_rate=1.0, batch_size=1), count=0)


@given(st.integers(0, 1000), st.booleans())
def test_a_new_output_changes_no_answer_and_is_never_likely(seed: int, bias: bool) -> None:
    before, after = net(seed=seed, bias=bias), net(seed=seed, bias=bias)
    widen(after)
    x = 10 * torch.randn(20, 3, 2, 2)
    with torch.inference_mode():
        old, new = before(x), after(x)
    assert new.shape == (20, 4)
    assert torch.allclose(old, new[:, :3], atol=1e-4)
    assert (new.softmax(1)[:, 3] <= 1 / 3 + 1e-6).all()
    assert after.layers["output"].out_features == 4


def test_only_a_net_that_ends_in_a_dense_layer_gets_one_more_output() -> None:
    with pytest.raises(ModelError, match="the net ends in 'end', a ReLU; only a dense layer can"):
        widen(net(end=nn.ReLU()))
