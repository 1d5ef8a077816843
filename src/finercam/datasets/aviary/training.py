"""The embedded model: a small residual network trained on drawn birds, on a plain CPU.

``train`` draws the pictures, trains, and writes a folder in timm's format; ``evaluate`` counts mistakes on pictures
that were never trained on. The network ends in global average pooling and one linear layer and has a fine last map,
so that what it says about a trait can be traced to where the trait is.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from finercam.datasets.aviary.samples import picture
from finercam.datasets.aviary.species import SPECIES, family_of, label_names
from finercam.errors import FinercamError
from finercam.running import device_of, undisturbed

ARCHITECTURE = "resnet26"
MODEL_ARGS: dict[str, Any] = {
    # One or two bottlenecks a stage and no stride after the second: the last map has a cell for every 8 pixels. With
    # one 3x3 convolution to a block a cell sees 95 pixels each way at the most, so it can tell where a trait is.
    "layers": [1, 2, 1, 1],
    "channels": [24, 32, 48, 64],
    "stem_type": "deep",
    "stem_width": 12,
    "output_stride": 8,
}
"""How timm builds the network: 16 x 16 cells on a picture of 128 x 128 pixels."""

SIZE = 128
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)

Images = UInt8[np.ndarray, "n size size 3"]
Labels = Int64[np.ndarray, " n"]


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
class Progress:
    """How far a run has come.

    Attributes:
        stage: ``draw`` or ``train``.
        done, total: pictures drawn, or steps taken.
        seconds_left: of this stage, at the pace so far.
        loss: cross-entropy in nats, a running mean; NaN while drawing.
        accuracy: share of training pictures named rightly, 0 to 1, a running mean; NaN while drawing.
    """

    stage: str
    done: int
    total: int
    seconds_left: float
    loss: float = math.nan
    accuracy: float = math.nan


@dataclass(frozen=True)
class TrainingResult:
    """What a run gave.

    Attributes:
        folder: config.json and model.safetensors, as timm and ``finercam.load`` read them.
        losses: mean cross-entropy of every epoch, in nats.
        accuracies: share of training pictures named rightly in every epoch, 0 to 1, while the weights were changing.
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


@dataclass(frozen=True)
class Evaluation:
    """Mistakes on fresh pictures.

    Attributes:
        n: how many pictures.
        top1: share named rightly, 0 to 1.
        inside_family: share whose highest logit among the species of the right family is the right one, 0 to 1.
        family: share put into the right family, 0 to 1.
        confusions: (true species, named species, how often), the most frequent first.
        mistakes: indices of the pictures named wrongly.
    """

    n: int
    top1: float
    inside_family: float
    family: float
    confusions: tuple[tuple[str, str, int], ...]
    mistakes: tuple[int, ...]


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
    _refuse_full(out)
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


def evaluate(
    model: str | os.PathLike[str] | nn.Module,
    n: int = 3200,
    *,
    split: str = "test",
    seed: int = 0,
    biased: bool = False,
    workers: int | None = None,
) -> Evaluation:
    """Count the mistakes of a trained network on fresh pictures.

    Args:
        model: the folder that ``train`` wrote, or its module.
        n: how many pictures; every species is shown equally often if it is a multiple of their number.
        split, seed: name the pictures; nothing is trained on any split but ``train``.
        biased: the pictures' backgrounds go with the species.
        workers: processes that draw.
    """
    module = model if isinstance(model, nn.Module) else build(Path(model))
    images, labels = draw(split, n, seed, biased=biased, workers=workers)
    logits = predict(module, images)
    named = logits.argmax(1)
    families = np.array([family_of(species).name for species in SPECIES])
    alike = families[None, :] == families[labels][:, None]
    inside = np.where(alike, logits, -np.inf).argmax(1)
    wrong = np.flatnonzero(named != labels)
    pairs = Counter((label_names[labels[i]], label_names[named[i]]) for i in wrong)
    return Evaluation(
        n=n,
        top1=float((named == labels).mean()),
        inside_family=float((inside == labels).mean()),
        family=float((families[named] == families[labels]).mean()),
        confusions=tuple((true, said, count) for (true, said), count in pairs.most_common()),
        mistakes=tuple(int(i) for i in wrong),
    )


def build(folder: str | os.PathLike[str] | None = None) -> nn.Module:
    """Return the network of a folder in timm's format, or with fresh weights; in evaluation mode, in float32."""
    from finercam._torchvision import import_torchvision

    import_torchvision()
    import timm

    if folder is not None:
        return timm.create_model(f"local-dir:{Path(folder)}", pretrained=True).eval()
    return timm.create_model(ARCHITECTURE, pretrained=False, num_classes=len(SPECIES), **MODEL_ARGS).eval()


def predict(module: nn.Module, images: Images, batch: int = 100) -> Float32[np.ndarray, "n classes"]:
    """Return the logits, (n, species), of uint8 pictures."""
    device = device_of(module)
    with undisturbed(module):
        rows = [module(_tensor(images[at : at + batch]).to(device)).float() for at in range(0, len(images), batch)]
    return torch.cat(rows).cpu().numpy()


def draw(
    split: str,
    n: int,
    seed: int,
    *,
    biased: bool = False,
    workers: int | None = None,
    report: Callable[[Progress], None] | None = None,
) -> tuple[Images, Labels]:
    """Draw the first n pictures of a split into memory, (n, 128, 128, 3), with their labels, (n,).

    Args:
        split, n, seed, biased: name the pictures.
        workers: processes that draw. A few pictures are drawn here; else as many processes as there are cores.
        report: called after every chunk of pictures.
    """
    images = np.empty((n, SIZE, SIZE, 3), np.uint8)
    labels = np.empty(n, np.int64)
    chunks = [(split, start, min(start + 256, n), seed, biased) for start in range(0, n, 256)]
    workers = workers or (1 if n <= 1024 else os.cpu_count() or 1)
    started = time.perf_counter()
    with mapper(workers) as mapped:
        for start, some, theirs in mapped(_draw_chunk, chunks):
            stop = start + len(theirs)
            images[start:stop], labels[start:stop] = some, theirs
            if report:
                report(Progress("draw", stop, n, time_left(started, stop, n)))
    return images, labels


def _draw_chunk(chunk: tuple[str, int, int, int, bool]) -> tuple[int, Images, Labels]:
    split, start, stop, seed, biased = chunk
    pairs = [picture(split, index, seed, biased=biased, size=SIZE) for index in range(start, stop)]
    return start, np.stack([image for image, _ in pairs]), np.array([label for _, label in pairs], np.int64)


@contextmanager
def mapper(workers: int) -> Iterator[Callable[..., Any]]:
    """Give a ``map`` that keeps the order, over so many processes."""
    if workers == 1:
        yield map
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Started afresh, not forked: torch's threads do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield pool.map


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
            cells = features(_tensor(shifted(images[some], recipe.shift, chance)))
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


def _tensor(images: Images) -> Tensor:
    """Return uint8 pictures as the network takes them: b 3 128 128, normalised, channels last in memory."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    # permute leaves the memory as it was, so this is channels last without a copy.
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels / 255 - mean) / std


def time_left(started: float, done: int, total: int) -> float:
    """Return the seconds that the rest will take at the speed so far; ``started`` by ``time.perf_counter``."""
    return (time.perf_counter() - started) / done * (total - done)


def write(module: nn.Module, out: Path) -> int:
    """Write the module as a folder in timm's format, in half precision; return the size of its weights in bytes."""
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous(memory_format=torch.contiguous_format)
        for name, value in module.state_dict().items()
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".part-", dir=out.parent))
    try:
        save_file(state, aside / "model.safetensors", metadata={"format": "pt"})
        (aside / "config.json").write_text(json.dumps(_config(), indent=2) + "\n", encoding="utf-8")
        _refuse_full(out)
        _open_up(aside)
        if out.is_dir():
            out.rmdir()
        aside.replace(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return (out / "model.safetensors").stat().st_size


def _open_up(folder: Path) -> None:
    """Give a folder and its files the rights that new ones have: mkdtemp and safetensors write for the owner alone."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.iterdir():
        path.chmod(0o666 & ~umask)
    folder.chmod(0o777 & ~umask)


def _refuse_full(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FinercamError(f"{str(out)!r} exists already; give a folder that does not, or remove it first")


def _config() -> dict[str, Any]:
    return {
        "architecture": ARCHITECTURE,
        "num_classes": len(SPECIES),
        "model_args": MODEL_ARGS,
        "pretrained_cfg": {
            "tag": "aviary",
            "custom_load": False,
            "input_size": [3, SIZE, SIZE],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "squash",
            "mean": list(MEAN),
            "std": list(STD),
            "num_classes": len(SPECIES),
            "pool_size": [16, 16],
            "first_conv": "conv1.0",
            "classifier": "fc",
            "license": "apache-2.0",
            "label_names": list(label_names),
        },
    }
