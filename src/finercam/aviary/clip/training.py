"""The aviary's text-image model: a small CLIP trained on drawn birds and sentences about them, on a plain CPU.

``train`` draws the pictures, trains, and writes a folder in OpenCLIP's format. First the text tower learns which
statements are true together (``words``), then the image tower to agree with it. Nothing is told of where a part is:
pictures and sentences are all that the model ever sees, so where it finds a trait is its own doing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from finercam.aviary.clip.network import LOCKED, build, embed_text, write
from finercam.aviary.clip.pictures import Facts, bird_at, picture_of
from finercam.aviary.clip.statements import encode, truth
from finercam.aviary.clip.words import every_statement, groups, in_pairs, learn_words, right, tokenizer
from finercam.aviary.drawing import SIZE, Images, Progress, mapper, time_left
from finercam.aviary.network import as_input
from finercam.aviary.training import one_world, shifted, spread
from finercam.errors import FinercamError


@dataclass(frozen=True)
class ClipRecipe:
    """What a training run depends on, all of it: the same recipe gives the same weights on the same machine.

    Attributes:
        images: how many pictures are drawn; each is seen once per epoch.
        epochs: how often.
        batch: pictures per step, an even number: pictures come in pairs.
        words: steps of the text tower, of 256 pictures' facts each, before pictures are looked at.
        word_rate, learning_rate: the highest of the text tower and of the image tower, each of a one-cycle schedule
            (a tenth of the run up, a cosine down to zero).
        weight_decay: of AdamW.
        concentration: weight of the ``spread`` of the last map in the loss, growing from 0 to this over the run.
        shift: every picture is moved by up to this many pixels each way, its border mirrored.
        seed: of the pictures, the first weights, the order and the statements.
    """

    images: int = 24_000
    epochs: int = 1
    batch: int = 64
    words: int = 500
    word_rate: float = 2e-3
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    concentration: float = 0.02
    shift: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.images < self.batch or self.epochs < 1 or self.batch < 2 or self.batch % 2 or self.words < 1:
            raise FinercamError(
                f"images is {self.images}, epochs {self.epochs}, batch {self.batch}, words {self.words}; give at least "
                "1 epoch, 1 step of words, an even number of pictures to a batch, and as many pictures as go into one"
            )


@dataclass(frozen=True)
class ClipResult:
    """What a run gave.

    Attributes:
        folder: as OpenCLIP and ``finercam.load`` read it.
        losses: mean loss of every epoch, in nats per pair of picture and statement, without the spread.
        seconds_drawing, seconds_training: wall-clock time.
        parameters: how many numbers were learned, unused rows of the vocabulary left out.
        size: of the weights' file, in bytes.
    """

    folder: Path
    losses: tuple[float, ...]
    seconds_drawing: float
    seconds_training: float
    parameters: int
    size: int


def train(
    out: str | os.PathLike[str],
    recipe: ClipRecipe | None = None,
    *,
    threads: int = 1,
    workers: int | None = None,
    report: Callable[[Progress], None] | None = None,
) -> ClipResult:
    """Draw pictures, train the model on them and on statements about them, and write it to a folder.

    Args:
        out: a folder that does not exist yet, or is empty.
        recipe: the published one if not given.
        threads: of the arithmetic. With one the weights do not depend on the number of cores.
        workers: processes that draw; as many as there are cores if not given.
        report: called while drawing and after every step, of words first. The accuracy it is told of is over pairs
            of picture and statement.

    Raises:
        FinercamError: the recipe is out of range, or the folder holds something.
    """
    recipe = recipe or ClipRecipe()
    out = Path(out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FinercamError(f"{str(out)!r} exists already; give a folder that does not, or remove it first")
    started = time.perf_counter()
    images, facts = draw(recipe.images, recipe.seed, workers=workers, report=report)
    drawn = time.perf_counter()
    with one_world(recipe.seed, threads):
        model = build()
        used = learn_words(
            model,
            facts,
            steps=recipe.words,
            learning_rate=recipe.word_rate,
            weight_decay=recipe.weight_decay,
            seed=recipe.seed,
            report=report,
        )
        losses = _fit(model, images, facts, recipe, report)
    trained = time.perf_counter()
    size = write(model, out, used)
    table = model.token_embedding.weight
    return ClipResult(
        folder=out,
        losses=losses,
        seconds_drawing=drawn - started,
        seconds_training=trained - drawn,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad) - table.numel() + table[used].numel(),
        size=size,
    )


def draw(
    n: int, seed: int, *, workers: int | None = None, report: Callable[[Progress], None] | None = None
) -> tuple[Images, list[Facts]]:
    """Draw the first n training pictures into memory, (n, 96, 96, 3), with their facts."""
    images = np.empty((n, SIZE, SIZE, 3), np.uint8)
    facts: list[Facts] = []
    chunks = [(start, min(start + 256, n), seed) for start in range(0, n, 256)]
    workers = workers or (1 if n <= 1024 else os.cpu_count() or 1)
    started = time.perf_counter()
    with mapper(workers) as mapped:
        for some, known in mapped(_draw_chunk, chunks):
            images[len(facts) : len(facts) + len(known)] = some
            facts += known
            if report:
                report(Progress("draw", len(facts), n, time_left(started, len(facts), n)))
    return images, facts


def _draw_chunk(chunk: tuple[int, int, int]) -> tuple[Images, list[Facts]]:
    start, stop, seed = chunk
    pairs = [picture_of(bird_at("train", i, seed), "train", i, seed, SIZE) for i in range(start, stop)]
    return np.stack([image for image, _ in pairs]), [facts for _, facts in pairs]


def _fit(
    model: Any, images: Images, facts: Sequence[Facts], recipe: ClipRecipe, report: Callable[[Progress], None] | None
) -> tuple[float, ...]:
    """Train the image tower in place, held against a statement for every fact; return the loss of every epoch."""
    said = every_statement()
    true = torch.from_numpy(truth(np.stack([encode(each) for each in facts]), said).astype(np.float32))
    with torch.no_grad():
        text = normalize(embed_text(model, tokenizer()(said)), dim=-1)
    visual = model.visual.train().to(memory_format=torch.channels_last)
    per_epoch = len(images) // recipe.batch
    steps = per_epoch * recipe.epochs
    learned = [(name, p) for name, p in visual.named_parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(groups(learned, recipe.weight_decay), lr=recipe.learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, steps, pct_start=0.1)
    chance = np.random.default_rng(recipe.seed)
    seen: list[tuple[float, float]] = []
    started = time.perf_counter()
    for _ in range(recipe.epochs):
        order = chance.permutation(len(images) // 2)[: per_epoch * recipe.batch // 2]
        for pairs in np.split(order, per_epoch):
            some = in_pairs(pairs)
            cells = _cells(visual.trunk, as_input(shifted(images[some], recipe.shift, chance)))
            logits = _logits(model, cells, text)
            loss = binary_cross_entropy_with_logits(logits, true[some])
            weight = recipe.concentration * len(seen) / steps
            optimizer.zero_grad(set_to_none=True)
            (loss + weight * spread(cells)).backward()
            torch.nn.utils.clip_grad_norm_([p for _, p in learned], 1.0)
            optimizer.step()
            schedule.step()
            seen.append((loss.item(), right(logits, true[some])))
            if report:
                mean = np.mean(seen[-50:], 0)
                left = time_left(started, len(seen), steps)
                report(Progress("train", len(seen), steps, left, float(mean[0]), float(mean[1])))
    model.eval()
    epochs = np.array(seen).reshape(recipe.epochs, per_epoch, 2).mean(1)
    return tuple(epochs[:, 0].tolist())


def _cells(trunk: Any, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b K h w"]:
    """Return the last map; what is ``LOCKED`` takes part as it is, its norms too."""
    for name in LOCKED:
        getattr(trunk, name).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.no_grad():
            low = trunk.layer1(trunk.maxpool(trunk.act1(trunk.bn1(trunk.conv1(images)))))
        cells: Tensor = trunk.layer4(trunk.layer3(trunk.layer2(low)))
    return cells.float()


def _logits(model: Any, cells: Float[Tensor, "b K h w"], text: Float[Tensor, "m D"]) -> Float[Tensor, "b m"]:
    """Return ``scale * cosine + bias`` of pictures, from their last map, and statements' unit embeddings."""
    pictures = normalize(model.visual.head(cells.mean((2, 3))), dim=-1)
    return model.logit_scale.detach().exp() * pictures @ text.T + model.logit_bias.detach()
