"""The aviary's text-image model: a small CLIP trained on drawn birds and sentences about them, on a plain CPU.

``train`` draws the pictures, trains, and writes a folder in OpenCLIP's format. Nothing is told of where a part is:
pictures and sentences are all that the model ever sees, so where it finds a trait is its own doing.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from finercam.aviary.clip.network import MODEL_CONFIG, SIZE, Images, as_input, build, embed_text, write
from finercam.aviary.clip.pictures import Facts, bird_at, picture_of
from finercam.aviary.clip.statements import Statement, encode, say, truth
from finercam.aviary.drawing import Progress, mapper, time_left
from finercam.aviary.draws import Draws
from finercam.aviary.training import one_world, shifted
from finercam.errors import FinercamError


@dataclass(frozen=True)
class ClipRecipe:
    """What a training run depends on, all of it: the same recipe gives the same weights on the same machine.

    Attributes:
        images: how many pictures are drawn; each is seen once per epoch.
        epochs: how often.
        batch: pictures per step.
        said: statements per picture of a batch; each is held against all pictures of the batch.
        cells: weight of the loss on the best cells beside the loss on the whole picture.
        scenes: how many times a picture without a bird counts. In what such models are usually trained on, most
            pictures show no bird, so what they learn of "red wings" is first of all that there is a bird.
        learning_rate: the highest, of a one-cycle schedule (a tenth of the run up, a cosine down to zero).
        weight_decay: of AdamW.
        shift: every picture is moved by up to this many pixels each way, its border mirrored.
        seed: of the pictures, the first weights, the order and the statements.
    """

    images: int = 24_000
    epochs: int = 3
    batch: int = 64
    said: int = 2
    cells: float = 1.0
    scenes: float = 3.0
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    shift: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        if self.images < self.batch or self.epochs < 1 or self.batch < 2 or self.said < 1:
            raise FinercamError(
                f"images is {self.images}, epochs {self.epochs}, batch {self.batch}, said {self.said}; give at least "
                "1 epoch, 2 pictures to a batch, 1 statement a picture, and as many pictures as go into a batch"
            )


@dataclass(frozen=True)
class ClipResult:
    """What a run gave.

    Attributes:
        folder: as OpenCLIP and ``finercam.load`` read it.
        losses: mean loss of every epoch, both terms together, in nats per pair of picture and statement.
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
        report: called while drawing and after every step. The accuracy it is told of is over pairs of picture and
            statement.

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
        losses, used = _fit(model, images, facts, recipe, report)
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
) -> tuple[tuple[float, ...], list[int]]:
    """Train the model in place; return the loss of every epoch and the tokens that were read."""
    model.train()
    known = np.stack([encode(each) for each in facts])
    tokenize = _tokenizer()
    per_epoch = len(images) // recipe.batch
    steps = per_epoch * recipe.epochs
    optimizer = torch.optim.AdamW(_groups(model, recipe.weight_decay), lr=recipe.learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, steps, pct_start=0.1)
    chance = np.random.default_rng(recipe.seed)
    used: set[int] = set()
    seen: list[tuple[float, float]] = []
    started = time.perf_counter()
    for _ in range(recipe.epochs):
        for some in np.split(chance.permutation(len(images))[: per_epoch * recipe.batch], per_epoch):
            draws = Draws("train", len(seen), recipe.seed, "clip-words")
            said = [say(facts[i], draws) for i in some for _ in range(recipe.said)]
            tokens = tokenize(said)
            used.update(tokens.unique().tolist())
            pictures = as_input(shifted(images[some], recipe.shift, chance))
            counts = torch.tensor([1.0 if facts[i]["bird"] == "yes" else recipe.scenes for i in some])
            loss, right = _loss(model, pictures, tokens, truth(known[some], said), counts, recipe.cells)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            seen.append((loss.item(), right))
            if report:
                mean = np.mean(seen[-50:], 0)
                left = time_left(started, len(seen), steps)
                report(Progress("train", len(seen), steps, left, float(mean[0]), float(mean[1])))
    model.eval()
    epochs = np.array(seen).reshape(recipe.epochs, per_epoch, 2).mean(1)
    return tuple(epochs[:, 0].tolist()), sorted(used)


def _loss(
    model: Any,
    images: Float[Tensor, "b c H W"],
    tokens: Tensor,
    true: Bool[np.ndarray, "b m"],
    counts: Float[Tensor, " b"],
    cells_weight: float,
) -> tuple[Float[Tensor, ""], float]:
    """Return the loss of a batch, and the share of pairs on the right side of 0.

    The sigmoid loss of SigLIP (arXiv 2303.15343), with as many positives as there are: every pair of a picture and a
    statement is true or false, ``mean BCE(s cos(f, t) + bias, true)``, each picture as often as ``counts`` says.
    Beside it, with its weight, the same loss where the mean over cells comes last: each cell has a logit of its own,
    and the picture's is their smooth maximum

        ``log mean_i exp(s cos_i + bias)``

    (multiple-instance learning: a statement is true of a picture if some cell shows it). It uses the same true or
    false per picture, nothing of where anything is.
    """
    truth = torch.from_numpy(true).to(images)
    visual = model.visual
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens_out = visual.transformer(visual._embeds(images))
        text = embed_text(model, tokens)
    outputs, text = tokens_out.float(), normalize(text.float(), dim=-1)
    pooled, _ = visual._pool(outputs)
    scale, bias = model.logit_scale.exp(), model.logit_bias
    logits = scale * normalize(pooled @ visual.proj, dim=-1) @ text.T + bias
    weight = (counts / counts.mean())[:, None]
    loss = binary_cross_entropy_with_logits(logits, truth, weight)
    right = float(((logits.detach() > 0) == (truth > 0)).float().mean())
    if cells_weight == 0:
        return loss, right
    cells = normalize(visual.ln_post(outputs[:, 1:]) @ visual.proj, dim=-1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cosines = cells @ text.T
    best = (scale * cosines.float()).logsumexp(1) - math.log(cells.shape[1]) + bias
    return loss + cells_weight * binary_cross_entropy_with_logits(best, truth, weight), right


def _tokenizer() -> Callable[[Sequence[Statement]], Tensor]:
    """Return OpenCLIP's tokenizer for statements, which remembers what it has read."""
    from open_clip.tokenizer import SimpleTokenizer

    read = SimpleTokenizer(context_length=MODEL_CONFIG["text_cfg"]["context_length"])
    known: dict[str, Tensor] = {}

    def tokenize(statements: Sequence[Statement]) -> Tensor:
        for statement in statements:
            if statement.text not in known:
                known[statement.text] = read(statement.text)[0]
        return torch.stack([known[statement.text] for statement in statements])

    return tokenize


def _groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Return the parameters in two groups: weights decay; biases, norms' scales and embeddings do not."""
    learned = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decaying = [p for name, p in learned if p.ndim > 1 and "embedding" not in name]
    others = [p for name, p in learned if p.ndim <= 1 or "embedding" in name]
    return [{"params": decaying, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
