"""The head that Adam finds, against Adam written out in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from finercam import FinercamError
from finercam.studies.probe.fitting import Epoch, Recipe, fit


def blobs(count: int, classes: int = 4, size: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    middles = torch.randn(classes, size, generator=torch.Generator().manual_seed(7))
    labels = torch.arange(count) % classes
    return middles[labels] + 0.8 * torch.randn(count, size, generator=generator), labels


def literal_adam(
    x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, recipe: Recipe
) -> tuple[Tensor, Tensor, list[float]]:
    """Kingma and Ba's algorithm 1 on the mean cross-entropy, its gradient by hand, in float64."""
    x, weights = x.double(), [weight.double(), bias.double()]
    first, second = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    order = torch.Generator().manual_seed(recipe.seed)
    step, losses = 0, []
    for _ in range(recipe.epochs):
        total = 0.0
        shuffled = torch.randperm(len(x), generator=order)
        size = recipe.minibatch or len(x)
        for start in range(0, len(x), size):
            rows = shuffled[start : start + size]
            step += 1
            logits = x[rows] @ weights[0].T + weights[1]
            p = logits.exp() / logits.exp().sum(1, keepdim=True)
            total += float(-p[torch.arange(len(rows)), y[rows]].log().sum())
            d = (p - torch.nn.functional.one_hot(y[rows], p.shape[1])) / len(rows)
            for i, g in enumerate((d.T @ x[rows], d.sum(0))):
                first[i] = 0.9 * first[i] + 0.1 * g
                second[i] = 0.999 * second[i] + 0.001 * g**2
                m, v = first[i] / (1 - 0.9**step), second[i] / (1 - 0.999**step)
                weights[i] = weights[i] - recipe.learning_rate * m / (v.sqrt() + 1e-8)
        losses.append(total / len(x))
    return weights[0], weights[1], losses


@pytest.mark.parametrize("minibatch", [0, 16])
def test_the_head_is_that_of_adam_written_out(minibatch: int) -> None:
    (x, y), (test_x, test_y) = blobs(50), blobs(40, seed=1)
    recipe = Recipe(epochs=12, learning_rate=0.02, minibatch=minibatch, seed=3)
    torch.manual_seed(3)
    start = torch.nn.Linear(6, 4)
    weight, bias, losses = literal_adam(x, y, start.weight.detach(), start.bias.detach(), recipe)
    seen: list[Epoch] = []
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    fitted = fit(x, y, test_x, test_y, 4, recipe, report=seen.append)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.testing.assert_close(fitted.weight.double(), weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fitted.bias.double(), bias, rtol=1e-4, atol=1e-5)
    assert [epoch.loss for epoch in fitted.epochs] == pytest.approx(losses, rel=1e-5)
    right = (test_x.double() @ weight.T + bias).argmax(1) == test_y
    assert fitted.chosen.accuracy == float(right.double().mean())
    assert 0.5 < fitted.chosen.accuracy < 1
    assert tuple(seen) == fitted.epochs
    assert (fitted.chosen.number, len(seen)) == (12, 12)


def test_the_defaults_are_the_papers() -> None:
    assert Recipe() == Recipe(epochs=100, learning_rate=3e-4, minibatch=128, patience=None)


def test_a_seed_gives_the_same_head_again_and_another_one_another() -> None:
    data = (*blobs(40), *blobs(40, seed=1), 4)
    one, again, other = (fit(*data, Recipe(epochs=3, minibatch=8, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(one.weight, again.weight)
    assert not torch.equal(one.weight, other.weight)


def test_early_stopping_takes_the_head_of_the_best_epoch() -> None:
    data = (*blobs(24), *blobs(200, seed=1), 4)
    whole = fit(*data, Recipe(epochs=60, learning_rate=0.1, minibatch=8))
    stopped = fit(*data, Recipe(epochs=60, learning_rate=0.1, minibatch=8, patience=4))
    accuracies = [epoch.accuracy for epoch in whole.epochs]
    expected = next(
        n for n in range(5, 60) if max(accuracies[: n - 4]) >= max(accuracies[:n])
    )  # the first epoch after four that brought nothing better
    assert len(stopped.epochs) == expected < 60
    assert stopped.epochs == whole.epochs[:expected]
    assert stopped.chosen.accuracy == max(accuracies[:expected])
    assert stopped.chosen.number == 1 + accuracies.index(stopped.chosen.accuracy)
    short = fit(*data, Recipe(epochs=stopped.chosen.number, learning_rate=0.1, minibatch=8))
    assert torch.equal(stopped.weight, short.weight)


def test_what_cannot_be_a_recipe() -> None:
    for options, says in [
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": 0.0}, "learning rate is 0"),
        ({"learning_rate": math.nan}, "learning rate is nan"),
        ({"minibatch": -1}, "minibatch is -1"),
        ({"patience": 0}, "early stopping after 0 epochs"),
    ]:
        with pytest.raises(FinercamError, match=says):
            Recipe(**options)


def test_a_loss_that_is_no_number_stops_it() -> None:
    x, y = blobs(8)
    with pytest.raises(FinercamError, match=r"the loss is (inf|nan) in epoch 1"):
        fit(x * 1e38, y, x, y, 4, Recipe(epochs=2, learning_rate=1e30))
