"""The aviary's text-image model: a small CLIP trained on drawn birds and sentences about them, on a plain CPU.

``train`` draws the pictures, trains, and writes a folder in OpenCLIP's format. Nothing is told of where a part is:
pictures and sentences are all that the model ever sees, so where it finds a trait is its own doing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from finercam.datasets.aviary.clip.pictures import Facts, bird_at, picture_of
from finercam.datasets.aviary.clip.statements import Statement, encode, say, truth
from finercam.datasets.aviary.draws import Draws
from finercam.datasets.aviary.training import MEAN, STD, Progress, _left, _mapper, _one_world, shifted
from finercam.errors import FinercamError
from finercam.files import whole

SIZE = 96
"""Side of the pictures in pixels. Attention over the cells of larger ones would take most of the time."""

MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 192,
    # A sigmoid loss has a bias, which OpenCLIP adds to the logits; the scale starts at 10.
    "init_logit_scale": 2.3,
    "init_logit_bias": -4.0,
    "vision_cfg": {
        "image_size": SIZE,
        "patch_size": 8,
        "width": 128,
        "layers": 4,
        "head_width": 64,
        "mlp_ratio": 2.0,
        # The mean of the cells comes before the norm, so a logit is the same linear function of every cell.
        "pool_type": "avg",
        "final_ln_after_pool": True,
    },
    # The vocabulary is OpenCLIP's own, so its table is nearly all of the file; hence so narrow a tower.
    "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3, "mlp_ratio": 2.0},
}
"""How OpenCLIP builds the model: 12 x 12 cells on a picture."""

WEIGHTS, CONFIG = "open_clip_model.safetensors", "open_clip_config.json"

Images = UInt8[np.ndarray, "n size size 3"]


@dataclass(frozen=True)
class ClipRecipe:
    """What a training run depends on, all of it: the same recipe gives the same weights on the same machine.

    Attributes:
        images: how many pictures are drawn; each is seen once per epoch.
        epochs: how often.
        batch: pictures per step.
        said: statements per picture of a batch; each is held against all pictures of the batch.
        cells: weight of the loss on the best cells beside the loss on the whole picture.
        learning_rate: the highest, of a one-cycle schedule (a tenth of the run up, a cosine down to zero).
        weight_decay: of AdamW.
        shift: every picture is moved by up to this many pixels each way, its border mirrored.
        seed: of the pictures, the first weights, the order and the statements.
    """

    images: int = 24_000
    epochs: int = 4
    batch: int = 64
    said: int = 2
    cells: float = 1.0
    learning_rate: float = 1.2e-3
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
        losses: mean loss of every epoch, in nats per pair of picture and statement.
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
    with _one_world(recipe.seed, threads):
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


def build() -> Any:
    """Return OpenCLIP's model with fresh weights, its attention looking at neighbours (``start_local``)."""
    from finercam._torchvision import import_torchvision

    import_torchvision()
    from open_clip.model import CLIP

    model = CLIP(**MODEL_CONFIG)
    start_local(model.visual)
    return model


def draw(
    n: int, seed: int, *, workers: int | None = None, report: Callable[[Progress], None] | None = None
) -> tuple[Images, list[Facts]]:
    """Draw the first n training pictures into memory, (n, 96, 96, 3), with their facts."""
    images = np.empty((n, SIZE, SIZE, 3), np.uint8)
    facts: list[Facts] = []
    chunks = [(start, min(start + 256, n), seed) for start in range(0, n, 256)]
    workers = workers or (1 if n <= 1024 else os.cpu_count() or 1)
    started = time.perf_counter()
    with _mapper(workers) as mapped:
        for some, known in mapped(_draw_chunk, chunks):
            images[len(facts) : len(facts) + len(known)] = some
            facts += known
            if report:
                report(Progress("draw", len(facts), n, _left(started, len(facts), n)))
    return images, facts


def _draw_chunk(chunk: tuple[int, int, int]) -> tuple[Images, list[Facts]]:
    start, stop, seed = chunk
    pairs = [picture_of(bird_at("train", i, seed), "train", i, seed, SIZE) for i in range(start, stop)]
    return np.stack([image for image, _ in pairs]), [facts for _, facts in pairs]


def start_local(visual: Any) -> None:
    """Have each head of the image tower start out looking at one neighbour of a cell: left, right, above or below.

    Attention that starts out looking everywhere soon tells every cell of everything, and cells of the background
    then speak for the bird. Started like a convolution it stays local without being made to (the idea is ConViT's,
    arXiv 2103.10697).

    A cell at p has the position code ``u(p) = [sin(w p), cos(w p)]`` of 8 frequencies w for each axis. Keys read it
    as it is; queries turn it by the step d, so that ``q(p) k(p') = sum cos(w (p' - p - d))``, largest at ``p + d``.
    """
    rows, columns = visual.grid_size
    width, blocks = visual.conv1.out_channels, visual.transformer.resblocks
    frequencies = 0.75 ** torch.arange(8.0)
    down, across = (torch.arange(float(n))[:, None] * frequencies for n in (rows, columns))
    code = torch.cat([
        torch.cat([down.sin(), down.cos()], 1).repeat_interleave(columns, 0),
        torch.cat([across.sin(), across.cos()], 1).repeat(rows, 1),
    ], 1)  # fmt: skip
    size = code.shape[1]
    with torch.no_grad():
        visual.positional_embedding.zero_()
        # Beside the code its negative: the norms subtract the mean over channels, which then is zero.
        visual.positional_embedding[1:, : 2 * size] = torch.cat([code, -code], 1)
        for depth, block in enumerate(blocks):
            heads = block.attn.num_heads
            for head in range(heads):
                step = 1.0 if head % 2 else -1.0
                turned = torch.block_diag(*(
                    _turn(frequencies * (step if axis == depth % 2 else 0.0)) for axis in (0, 1)
                ))  # fmt: skip
                for part, reading in enumerate((turned, torch.eye(size))):
                    start = part * width + head * (width // heads)
                    block.attn.in_proj_weight[start : start + size] = 0
                    both = torch.cat([reading, -reading], 1) / 2
                    block.attn.in_proj_weight[start : start + size, : 2 * size] = _FOCUS * both


def _turn(angles: Float[Tensor, " f"]) -> Float[Tensor, "two_f two_f"]:
    """Return the matrix that takes ``[sin a, cos a]`` to ``[sin (a + angle), cos (a + angle)]``."""
    sine, cosine = torch.diag(angles.sin()), torch.diag(angles.cos())
    return torch.cat([torch.cat([cosine, sine], 1), torch.cat([-sine, cosine], 1)], 0)


_FOCUS = 6.0
"""How sharply heads start out looking at their neighbour."""


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
            pictures = _tensor(shifted(images[some], recipe.shift, chance))
            loss, right = _loss(model, pictures, tokens, truth(known[some], said), recipe.cells)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            seen.append((loss.item(), right))
            if report:
                mean = np.mean(seen[-50:], 0)
                left = _left(started, len(seen), steps)
                report(Progress("train", len(seen), steps, left, float(mean[0]), float(mean[1])))
    model.eval()
    epochs = np.array(seen).reshape(recipe.epochs, per_epoch, 2).mean(1)
    return tuple(epochs[:, 0].tolist()), sorted(used)


def _loss(
    model: Any,
    images: Float[Tensor, "b 3 H W"],
    tokens: Tensor,
    true: Bool[np.ndarray, "b m"],
    cells_weight: float,
) -> tuple[Float[Tensor, ""], float]:
    """Return the loss of a batch, and the share of pairs on the right side of 0.

    The sigmoid loss of SigLIP (arXiv 2303.15343), with as many positives as there are: every pair of a picture and a
    statement is true or false, ``mean BCE(s cos(f, t) + bias, true)``. Beside it, weighted, the same loss where the
    mean over cells comes last: each cell has a cosine of its own, and the picture's is their smooth maximum

        ``cos = 1 + log(mean_i exp(k (cos_i - 1))) / k``, k = 20

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
    loss = binary_cross_entropy_with_logits(logits, truth)
    right = float(((logits.detach() > 0) == (truth > 0)).float().mean())
    if cells_weight == 0:
        return loss, right
    cells = normalize(visual.ln_post(outputs[:, 1:]) @ visual.proj, dim=-1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cosines = cells @ text.T
    best = 1 + (_SHARPNESS * (cosines.float() - 1)).exp().mean(1).log() / _SHARPNESS
    return loss + cells_weight * binary_cross_entropy_with_logits(scale * best + bias, truth), right


_SHARPNESS = 20.0


def embed_text(model: Any, tokens: Tensor) -> Float[Tensor, "m D"]:
    """Return what ``model.encode_text`` does, but read no further than the longest of these texts goes."""
    longest = int((tokens != 0).sum(1).max())
    tokens = tokens[:, :longest]
    x = model.token_embedding(tokens) + model.positional_embedding[:longest]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:longest, :longest]))
    return x[torch.arange(len(x)), tokens.argmax(-1)] @ model.text_projection


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


def _tensor(images: Images) -> Float[Tensor, "n 3 H W"]:
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels / 255 - mean) / std


def write(model: Any, out: Path, used: Sequence[int]) -> int:
    """Write the model as a folder in OpenCLIP's format, in half precision; return the size of its weights in bytes.

    Args:
        model: trained.
        out: the folder.
        used: tokens that were read in training. What the others mean was never learned; their rows are written as
            zeros, which take no room in a compressed package.
    """
    state = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    table = torch.zeros_like(state["token_embedding.weight"])
    table[list(used)] = state["token_embedding.weight"][list(used)]
    state["token_embedding.weight"] = table
    with whole(out / WEIGHTS) as path:
        save_file(state, path, metadata={"format": "pt"})
    config = {
        "model_cfg": MODEL_CONFIG,
        "preprocess_cfg": {
            "size": SIZE,
            "mode": "RGB",
            "mean": list(MEAN),
            "std": list(STD),
            "interpolation": "bilinear",
            "resize_mode": "squash",
        },
    }
    with whole(out / CONFIG) as path:
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return (out / WEIGHTS).stat().st_size
