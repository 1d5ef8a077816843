"""Training the embedded classifier on drawn birds, on a plain CPU.

``train`` draws the pictures, trains, and writes a folder in timm's format.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from finercam.aviary.drawing import Images, Labels, Progress, draw, time_left
from finercam.aviary.network import as_input, build, refuse_full, write
from finercam.errors import FinercamError


@dataclass(frozen=True)
class Recipe:
    """What a training run depends on, all of it: the same recipe gives the same weights on the same machine.

    Attributes:
        images: how many pictures are drawn; each is seen once per epoch.
        epochs: how often.
        batch: pictures per step.
        learning_rate: the highest, of a one-cycle schedule (a tenth of the run up, a cosine down to zero).
        weight_decay: of AdamW.
        concentration: weight of ``spread`` of the last map in the loss, growing from 0 to this over the run: each
            channel is to fire on few cells, so that a trait is found where it is and not all around it.
        shift: every picture is moved by up to this many pixels each way, its border mirrored.
        seed: of the pictures, the first weights and the order.
        biased: train where the background goes with the species.
    """

    images: int = 32_000
    epochs: int = 5
    batch: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    concentration: float = 1.0
    shift: int = 8
    seed: int = 0
    biased: bool = False

    def __post_init__(self) -> None:
        if self.images < self.batch or self.epochs < 1 or self.batch < 2:
            raise FinercamError(
                f"images is {self.images}, epochs {self.epochs}, batch {self.batch}; give at least 1 epoch, "
                "2 pictures to a batch, and as many pictures as go into one"
            )


@dataclass(frozen=True)
class TrainingResult:
    """What a run gave.

    Attributes:
        folder: config.json and model.safetensors, as timm and ``finercam.load`` read them.
        losses: mean cross-entropy of every epoch, in nats.
        accuracies: share of training pictures classified correctly in every epoch, 0 to 1, while the weights
            were changing.
        seconds_drawing, seconds_training: wall-clock time.
        parameters: how many numbers were learned.
        size: of the weights' file, in bytes.
    """

    folder: Path
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]
    seconds_drawing: float
    seconds_training: float
    parameters: int
    size: int


def train(
    out: str | os.PathLike[str],
    recipe: Recipe | None = None,
    *,
    threads: int = 1,
    workers: int | None = None,
    report: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Draw pictures, train the network on them and write it to a folder.

    Args:
        out: a folder that does not exist yet, or is empty. It appears whole or not at all.
        recipe: the published one if not given.
        threads: of the arithmetic. With one the weights do not depend on the number of cores, and a machine that has
            other work to do is not slowed to a crawl by threads that wait for each other.
        workers: processes that draw; as many as there are cores if not given.
        report: called while drawing and after every step.

    Raises:
        FinercamError: the recipe is out of range, or the folder holds something.
    """
    recipe = recipe or Recipe()
    out = Path(out)
    refuse_full(out)
    started = time.perf_counter()
    images, labels = draw("train", recipe.images, recipe.seed, biased=recipe.biased, workers=workers, report=report)
    drawn = time.perf_counter()
    with one_world(recipe.seed, threads):
        module = build()
        losses, accuracies = _fit(module, images, labels, recipe, report)
    trained = time.perf_counter()
    size = write(module, out)
    return TrainingResult(
        folder=out,
        losses=losses,
        accuracies=accuracies,
        seconds_drawing=drawn - started,
        seconds_training=trained - drawn,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        size=size,
    )


@contextmanager
def one_world(seed: int, threads: int) -> Iterator[None]:
    """Seed torch and set its threads, and put both back."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def _fit(
    module: nn.Module, images: Images, labels: Labels, recipe: Recipe, report: Callable[[Progress], None] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Train the module in place; return the loss and the accuracy of every epoch."""
    # timm's names for the two halves; torch takes whatever a module holds for a tensor.
    features: Any = module.forward_features
    head: Any = module.forward_head
    module.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # The last, smaller batch of an epoch is left out: its statistics would be of few pictures.
    per_epoch = len(images) // recipe.batch
    steps = per_epoch * recipe.epochs
    optimizer = torch.optim.AdamW(_groups(module, recipe.weight_decay), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, steps, pct_start=0.1)
    chance = np.random.default_rng(recipe.seed)
    seen: list[tuple[float, float]] = []
    started = time.perf_counter()
    for _ in range(recipe.epochs):
        for some in np.split(chance.permutation(len(images))[: per_epoch * recipe.batch], per_epoch):
            target = torch.from_numpy(labels[some])
            cells = features(as_input(shifted(images[some], recipe.shift, chance)))
            logits = head(cells)
            loss = cross_entropy(logits, target)
            weight = recipe.concentration * len(seen) / steps
            optimizer.zero_grad(set_to_none=True)
            (loss + weight * spread(cells)).backward()
            optimizer.step()
            schedule.step()
            seen.append((loss.item(), (logits.argmax(1) == target).float().mean().item()))
            if report:
                mean = np.mean(seen[-50:], 0)
                left = time_left(started, len(seen), steps)
                report(Progress("train", len(seen), steps, left, float(mean[0]), float(mean[1])))
    module.eval()
    epochs = np.array(seen).reshape(recipe.epochs, per_epoch, 2).mean(1)
    return tuple(epochs[:, 0].tolist()), tuple(epochs[:, 1].tolist())


def spread(cells: Float[Tensor, "b K h w"]) -> Float[Tensor, ""]:
    """Return how widely the channels fire, from ``1 / sqrt(h w)`` (one cell each) to 1 (all cells alike).

    The mean over pictures and channels of a channel's mean over its root mean square (Hoyer's measure of sparsity,
    JMLR 5:1457, up to scale). It does not depend on how strongly a channel fires, so logits may grow as they need.

    Args:
        cells: not negative.
    """
    # The small number keeps the gradient of a channel that is silent on a picture finite.
    return (cells.mean((2, 3)) / (cells.square().mean((2, 3)) + 1e-4).sqrt()).mean()


def _groups(module: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Return the parameters in two groups: weights decay, biases and the norms' scales do not."""
    weights = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in module.parameters() if parameter.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def shifted(images: Images, most: int, chance: np.random.Generator) -> Images:
    """Return the pictures, each moved by up to ``most`` pixels each way, with mirrored borders."""
    if most == 0:
        return images
    padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), "reflect")
    corners = chance.integers(0, 2 * most, (len(images), 2), endpoint=True)
    size = images.shape[1]
    return np.stack([one[y : y + size, x : x + size] for one, (y, x) in zip(padded, corners, strict=True)])
