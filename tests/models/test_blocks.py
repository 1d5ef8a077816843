"""Attention seen as networks of every library compute it, and their blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from finercam import Classifier, FinercamError
from finercam._torchvision import import_torchvision
from finercam.models.attending import Attending, Attention
from finercam.models.blocks import Blocks, find_blocks, run_through
from finercam.models.grid import Grid
from models.small import SIZE, Tokens, classifier, images, made
from support.models import TinyViT
from support.models import classifier as by_name

torchvision = import_torchvision()
import timm  # noqa: E402

TOKENS = (2, 6, 8)
HEADS = 2


# --- the doors ---------------------------------------------------------------------------------------------------


def heads(tokens: Tensor) -> Tensor:
    return tokens.unflatten(2, (HEADS, -1)).transpose(1, 2)


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, value=v)


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


def scaled_before(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1))
    weights = weights - weights.amax(-1, keepdim=True)
    weights = nn.Dropout(0.5).eval()(nn.Softmax(dim=-1)(weights))
    return torch.matmul(weights, v)


def in_place_and_precise(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q.matmul(k.mT)
    scores *= q.shape[-1] ** -0.5
    return functional.softmax(scores, dim=3, dtype=torch.float64).to(q.dtype).matmul(v)


DOORS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "fused": fused,
    "written out": written_out,
    "scaled before": scaled_before,
    "in place and precise": in_place_and_precise,
}


def three(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (heads(torch.randn(TOKENS, generator=generator, dtype=torch.float64)) for _ in range(3))
    return q, k, v


@pytest.mark.parametrize("door", DOORS)
def test_a_call_is_seen_with_its_queries_keys_and_values(door: str) -> None:
    seen: list[Attention] = []
    q, k, v = three()
    expected = DOORS[door](q, k, v)
    with Attending(seen.append):
        output = DOORS[door](q, k, v)
    assert torch.equal(output, expected)
    (one,) = seen
    assert torch.equal(one.value, v)
    assert torch.equal(one.output, expected)
    assert torch.equal(one.key, k)
    # Where they were scaled beforehand, they are seen so.
    scale = 1 if door != "scaled before" else q.shape[-1] ** -0.5
    assert torch.equal(one.query, q * scale)


@pytest.mark.parametrize("door", DOORS)
def test_what_is_returned_is_what_the_network_sees(door: str) -> None:
    q, k, v = three()
    with Attending(lambda attention: attention.value.flip(2)):
        assert torch.equal(DOORS[door](q, k, v), v.flip(2))
    with Attending(lambda attention: None):
        assert torch.equal(DOORS[door](q, k, v), DOORS[door](q, k, v))


def test_only_this_thread_is_watched_and_only_for_so_long() -> None:
    seen: list[Attention] = []
    with Attending(seen.append):
        thread = threading.Thread(target=lambda: fused(*three()))
        thread.start()
        thread.join()
    fused(*three())
    assert seen == []


def test_products_that_are_no_attention_are_left_alone() -> None:
    seen: list[Attention] = []
    q, k, v = three()
    with Attending(seen.append):
        scores = q @ k.mT
        scores @ v  # no softmax
        scores.softmax(-2) @ v  # over the queries
        scores.softmax(-1).mT @ v  # transposed
        scores.softmax(-1)[:, :1] @ v[:, :1]  # a part
        (q[0] @ k[0].mT).softmax(-1) @ v[0]  # no batch
    assert seen == []


MULTIHEAD: dict[str, dict[str, Any]] = {
    "batch first": {"batch_first": True},
    "batch second": {},
    "without bias": {"bias": False},
    "other widths": {"kdim": 5, "vdim": 7},
}


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("options", MULTIHEAD)
def test_multihead_attention_gives_what_it_gives_unwatched(options: str, need_weights: bool) -> None:
    module = made(lambda: nn.MultiheadAttention(8, HEADS, **MULTIHEAD[options])).double()
    generator = torch.Generator().manual_seed(0)
    widths = (8, module.kdim, module.vdim)
    given = [torch.randn(*TOKENS[:2], width, generator=generator, dtype=torch.float64) for width in widths]
    seen: list[Attention] = []
    for average in (True, False):
        expected = module(*given, need_weights=need_weights, average_attn_weights=average)
        with Attending(seen.append):
            found = module(*given, need_weights=need_weights, average_attn_weights=average)
        assert torch.allclose(found[0], expected[0], atol=1e-12)
        assert (found[1] is None) == (expected[1] is None)
        assert found[1] is None or torch.allclose(found[1], expected[1], atol=1e-12)
    assert len(seen) == 2
    batch = TOKENS[0 if module.batch_first else 1]
    assert seen[0].value.shape[:2] == (batch, HEADS)
    with Attending(lambda attention: torch.zeros_like(attention.output)):
        silenced, _ = module(*given)
    bias = torch.zeros(8) if module.out_proj.bias is None else module.out_proj.bias
    assert torch.allclose(silenced, bias.double().expand_as(silenced))


@pytest.mark.parametrize("what", ["mask", "padding", "added", "training"])
def test_multihead_attention_with_more_to_it_is_left_to_itself(what: str) -> None:
    module = made(lambda: nn.MultiheadAttention(8, HEADS, batch_first=True, dropout=0.5, add_zero_attn=what == "added"))
    module.train(what == "training")
    tokens = torch.randn(*TOKENS)
    more = {
        "mask": {"attn_mask": torch.eye(TOKENS[1], dtype=torch.bool)},
        "padding": {"key_padding_mask": torch.arange(TOKENS[1])[None].expand(2, -1) > 3},
    }.get(what, {})
    seen: list[Attention] = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = module(tokens, tokens, tokens, **more)
        torch.manual_seed(0)
        with Attending(seen.append):
            found = module(tokens, tokens, tokens, **more)
    assert seen == []
    assert torch.allclose(found[0], expected[0])


# --- blocks ------------------------------------------------------------------------------------------------------


def small_timm(name: str, size: tuple[int, int] = (32, 32), **options: Any) -> Classifier:
    config = {"img_size": size, "num_classes": 5, "depth": 3, "embed_dim": 32, "num_heads": 2, **options}
    return Classifier.of(made(lambda: timm.create_model(name, **config)), image_size=size)


def found_in(model: Classifier) -> tuple[list[str], int]:
    blocks = find_blocks(model)
    return [block.name for block in blocks.each], blocks.grid.prefix


def test_blocks_of_known_families() -> None:
    assert found_in(small_timm("vit_tiny_patch16_224")) == ([f"blocks.{n}" for n in range(3)], 1)
    assert found_in(small_timm("deit_tiny_distilled_patch16_224")) == ([f"blocks.{n}" for n in range(3)], 2)
    assert found_in(small_timm("vit_small_patch14_reg4_dinov2", (28, 42))) == ([f"blocks.{n}" for n in range(3)], 5)
    assert found_in(small_timm("vit_base_patch16_siglip_224")) == ([f"blocks.{n}" for n in range(3)], 0)
    assert found_in(small_timm("eva02_tiny_patch14_224", (28, 28), embed_dim=48)) == (
        [f"blocks.{n}" for n in range(3)], 1,
    )  # fmt: skip
    assert found_in(by_name("vit")) == (["first", "last"], 2)
    vit = Classifier.of(
        made(lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 16, num_classes=5)), "encoder.ln",
        image_size=(32, 32),
    )  # fmt: skip
    assert found_in(vit) == ([f"encoder.layers.encoder_layer_{n}" for n in range(2)], 1)


@pytest.mark.parametrize("batch_first", [True, False])
def test_blocks_of_pytorchs_own(batch_first: bool) -> None:
    model = classifier(made(lambda: Tokens(1, batch_first)))
    blocks = find_blocks(model)
    assert [block.name for block in blocks.each] == [f"encoder.layers.{n}" for n in range(3)]
    assert blocks.grid.layout == ("tokens" if batch_first else "tokens-first")
    assert (blocks.each[1].norm, blocks.each[1].next_norm) == ("encoder.layers.1.norm1", "encoder.layers.1.norm2")
    assert blocks.by_patch
    shapes: list[tuple[int, ...]] = []
    with model.look(images(3)) as look:
        run_through(look, blocks, left=lambda place, tokens: shapes.append(tuple(tokens.shape)))
        assert look.passes == 2
    assert shapes == [(3, 49, 16)] * 3


def test_norms_behind_are_told_from_norms_before() -> None:
    blocks = find_blocks(classifier(made(lambda: Tokens(1, True, norm_first=False))))
    assert blocks.each[0].norm is None


def test_the_search_runs_once_and_only_on_noise() -> None:
    class Counted(TinyViT):
        batches: list[int]

        def forward(self, images: Tensor) -> Tensor:
            self.batches.append(len(images))
            return super().forward(images)

    net = made(Counted)
    net.batches = []
    model = Classifier.of(net, TinyViT.layer, image_size=(12, 16))
    net.batches.clear()
    find_blocks(model)
    assert net.batches == [1, 1, 1]
    find_blocks(model)
    assert net.batches == [1, 1, 1]


def test_a_grid_that_was_given_is_taken() -> None:
    net = made(TinyViT)
    for grid in (Grid("tokens", 2, (2, 6)), Grid("tokens", 2, (6, 2))):
        assert find_blocks(Classifier.of(net, "last.norm1", grid, image_size=(12, 16))).grid == grid


def test_tokens_that_are_changed_later_in_place() -> None:
    class InPlace(TinyViT):
        def forward(self, images: Tensor) -> Tensor:
            tokens = self.last(self.before(images))
            tokens += 1
            return self.head(self.norm(tokens)[:, 0])

    assert isinstance(find_blocks(Classifier.of(made(InPlace), TinyViT.layer, image_size=(12, 16))), Blocks)


class Shared(TinyViT):
    """One block, run twice."""

    def before(self, images: Tensor) -> Tensor:
        patches = self.patch(images).flatten(2).mT + self.position
        return self.last(torch.cat([self.tokens.expand(len(images), -1, -1), patches], 1))


class Around(TinyViT):
    """Its head reads the first block's tokens too."""

    def forward(self, images: Tensor) -> Tensor:
        x = self.before(images)
        return self.head(self.norm(self.last(x) + x)[:, 0])


class Exact(TinyViT):
    """Insists on as many rows as there were images."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        assert len(logits) == len(images)
        return logits


REFUSED = {
    "runs more than once": lambda: Classifier.of(made(Shared), "norm", image_size=(12, 16)),
    "depend on more than what 'last' puts out": lambda: Classifier.of(made(Around), "norm", image_size=(12, 16)),
    "depend on more than what 'last'": lambda: Classifier.of(made(Exact), "last.norm1", image_size=(12, 16)),
    "depend on more than what 'blocks.2.attns.1'": lambda: small_timm("vit_small_patch16_18x2_224"),
    r"depend on more than what 'layers\.3": lambda: Classifier.of(
        made(lambda: timm.create_model("swin_tiny_patch4_window7_224", num_classes=5, img_size=224, embed_dim=24)),
        image_size=(224, 224),
    ),
    "no self-attention was seen": lambda: by_name("deep"),
    "stands in no block of its own": lambda: Classifier.of(
        made(lambda: timm.create_model("xcit_nano_12_p16_224", num_classes=5)), image_size=(64, 64)
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_no_plain_transformer_is_refused(why: str) -> None:
    with pytest.raises(FinercamError, match=rf"is not a plain vision transformer \(.*{why}.*\); this method reads"):
        find_blocks(REFUSED[why]())


def test_only_the_tokens_own_attention_counts() -> None:
    """Attention of one learned query over the patches, as in SigLIP's pooling, is no block's."""
    model = small_timm("vit_base_patch16_siglip_224")
    seen: list[tuple[int, int]] = []
    with model.look(torch.randn(2, 3, 32, 32)) as look:
        run_through(look, find_blocks(model), attended=lambda place, one: seen.append((place, one.query.shape[2])))
    assert seen == [(0, 4), (1, 4), (2, 4)]


def test_sizes_differ() -> None:
    assert SIZE[0] != SIZE[1]  # else a transposed grid would pass
