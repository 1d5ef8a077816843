"""The first half of training: the text tower learns which statements are true together, without a picture.

What is known of a picture stands in for it: a table has a row for every value of every fact, and a picture's stand-in
is the sum of the rows of its facts, made a unit. Statements and stand-ins are trained like statements and pictures,
which takes a tenth of the time. Afterwards the text tower is done, and pictures are held against it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from finercam.aviary.captions import article, place_phrases
from finercam.aviary.clip.network import MODEL_CONFIG, embed_text
from finercam.aviary.clip.pictures import FACTS, Facts
from finercam.aviary.clip.statements import Statement, encode, say, trait, truth
from finercam.aviary.drawing import Progress, time_left
from finercam.aviary.draws import Draws
from finercam.aviary.props import THINGS
from finercam.aviary.species import ATTRIBUTES, label_names

PICTURES = 256
"""Whose facts a step of words holds against a statement about each of them."""


def every_statement() -> list[Statement]:
    """Return a statement for every value of every fact, in the plainest words."""
    said = [Statement("a bird", {"bird": ("yes",)}), Statement("no bird", {"bird": ("no",)})]
    said += [trait(key, value) for key, values in ATTRIBUTES.items() for value in values]
    said += [Statement(_thing(kind, colour), {kind: (colour,)}) for kind in THINGS for colour in FACTS[kind]]
    said += [Statement(article(family), {"family": (family,)}) for family in FACTS["family"]]
    said += [Statement(f"a photo of {article(name)}", {"species": (name,)}) for name in label_names]
    perches, backgrounds = FACTS["perch"], FACTS["background"]
    said += [Statement(place_phrases(perch, backgrounds[0])[0][0], {"perch": (perch,)}) for perch in perches]
    said += [Statement(place_phrases(perches[0], one)[1][0], {"background": (one,)}) for one in backgrounds]
    return said


def _thing(kind: str, colour: str) -> str:
    return f"{colour} {kind}" if kind == "berries" else article(f"{colour} {kind}")


def learn_words(
    model: Any,
    facts: Sequence[Facts],
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    report: Callable[[Progress], None] | None = None,
) -> list[int]:
    """Train the text tower in place, with the scale and the bias; return the tokens that were read.

    Args:
        model: OpenCLIP's.
        facts: of the pictures, pair after pair.
        steps: how many.
        learning_rate: the highest, of a one-cycle schedule.
        weight_decay: of AdamW.
        seed: of the table and the statements.
        report: called after every step.
    """
    known, tokenize = np.stack([encode(each) for each in facts]), tokenizer()
    table = nn.Parameter(
        torch.randn(known.shape[1], model.text_projection.shape[1]) * model.text_projection.shape[1] ** -0.5
    )
    learned = [(name, p) for name, p in model.named_parameters() if not name.startswith("visual.")]
    optimizer = torch.optim.AdamW(
        groups([*learned, ("table", table)], weight_decay), lr=learning_rate, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps, pct_start=0.1)
    chance, used, started = np.random.default_rng(seed), set[int](), time.perf_counter()
    for step in range(steps):
        some = in_pairs(chance.integers(0, len(facts) // 2, PICTURES // 2))
        draws = Draws("train", step, seed, "clip-words")
        # A sentence that is said of several pictures is read once.
        said = list({one.text: one for one in (say(facts[i], draws, facts[i ^ 1]) for i in some)}.values())
        tokens = tokenize(said)
        used.update(tokens.unique().tolist())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            text = embed_text(model, tokens)
        stand_ins = normalize(torch.from_numpy(known[some].astype(np.float32)) @ table, dim=-1)
        logits = model.logit_scale.exp() * stand_ins @ normalize(text.float(), dim=-1).T + model.logit_bias
        true = torch.from_numpy(truth(known[some], said).astype(np.float32))
        loss = binary_cross_entropy_with_logits(logits, true)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
        optimizer.step()
        schedule.step()
        if report:
            left = time_left(started, step + 1, steps)
            report(Progress("words", step + 1, steps, left, loss.item(), right(logits, true)))
    return sorted(used)


def in_pairs(pairs: Int[np.ndarray, " p"]) -> Int[np.ndarray, " two_p"]:
    """Return the two pictures of every pair."""
    return (2 * pairs[:, None] + np.arange(2)).ravel()


def right(logits: Float[Tensor, "b m"], true: Float[Tensor, "b m"]) -> float:
    """Return the share of pairs of picture and statement on the right side of 0."""
    return float(((logits.detach() > 0) == (true > 0)).float().mean())


def tokenizer() -> Callable[[Sequence[Statement]], Tensor]:
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


def groups(named: Sequence[tuple[str, nn.Parameter]], decay: float) -> list[dict[str, Any]]:
    """Return the parameters in two groups: weights decay; biases, norms' scales and embeddings do not."""
    decaying = [p for name, p in named if p.ndim > 1 and "embedding" not in name]
    others = [p for name, p in named if p.ndim <= 1 or "embedding" in name]
    return [{"params": decaying, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
