"""LeGrad and GEM, literally and in float64, on transformers of every library; LeGrad beside torchcam's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from finercam import PLAIN, Classifier, Contrast, Explanation, FinercamError, Run, answer, explain, gather, saliency
from finercam._torchvision import import_torchvision
from finercam.methods.evidence import NotCollected
from finercam.methods.gem import PatchEvidence
from finercam.methods.legrad import AttentionEvidence
from finercam.models.text import BARE, text
from models.text_models import open_clip_config, save_open_clip
from support import transformers_literally as literally
from support.models import NETS, SIZE, DeepNet, Net, Probed, TinyViT, build, classifier, photos
from support.states import disturbing_net, untouched

torchvision = import_torchvision()
import timm  # noqa: E402

METHODS = ["legrad", "legrad@blocks=1@readout=own", "gem", "gem@blocks=2@iterations=2@centred=no"]
CONTRAST = Contrast([1, 2], gamma=0.6)


@dataclass(frozen=True)
class Case:
    """A classifier, and its network taken apart; how far rounding takes them apart."""

    model: Classifier
    parts: literally.Parts
    rounding: float = 1e-10


def seeded(make: Callable[[], nn.Module], size: tuple[int, int] = (32, 32)) -> Classifier:
    """Return what this makes as a classifier in float64, with random weights that tell images apart."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        module = make().double().eval()
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.ndim >= 2:
                    parameter.normal_(std=1.5 / parameter[0].numel() ** 0.5)
                else:
                    parameter += 0.2 * torch.randn_like(parameter)
    return Classifier.of(module, image_size=size)


def of_timm(name: str, size: tuple[int, int] = (32, 32), **options: Any) -> Case:
    config = {"img_size": size, "depth": 3, "embed_dim": 32, "num_heads": 2, "num_classes": 7, **options}
    model = seeded(lambda: timm.create_model(name, **config), size)
    return Case(model, literally.of_timm(model.module))


def of_open_clip(folder: Path) -> Case:
    save_open_clip(folder, open_clip_config())
    model = text(folder, ["red epaulets", "bird", "blue wing", "yellow beak"], templates=BARE)
    model.module.double()
    return Case(model, literally.of_open_clip(model.module))


def of_transformers(attention: str) -> Case:
    import transformers

    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48, image_size=32, patch_size=8,
        num_labels=7, attn_implementation=attention,
    )  # fmt: skip
    model = seeded(lambda: transformers.ViTForImageClassification(config))
    # Written out, its softmax is float32.
    return Case(model, literally.of_transformers(model.module), 1e-5 if attention == "eager" else 1e-10)


def of_torchvision() -> Case:
    model = seeded(lambda: torchvision.models.VisionTransformer(32, 8, 3, 2, 32, 48, num_classes=7))
    return Case(model, literally.of_torchvision(model.module))


CASES: dict[str, Callable[[Path], Case]] = {
    "by hand": lambda folder: Case(classifier("vit"), literally.tiny(classifier("vit").module)),
    "timm": lambda folder: of_timm("vit_tiny_patch16_224", (32, 48), patch_size=8),
    "timm, DeiT III": lambda folder: of_timm("deit3_small_patch16_224", patch_size=8),
    "timm, mean of patches": lambda folder: of_timm("vit_tiny_patch16_224", patch_size=8, global_pool="avg"),
    "timm, registers": lambda folder: of_timm("vit_tiny_patch16_224", patch_size=8, reg_tokens=3),
    "torchvision": lambda folder: of_torchvision(),
    "transformers": lambda folder: of_transformers("sdpa"),
    "transformers, written out": lambda folder: of_transformers("eager"),
    "OpenCLIP": of_open_clip,
}


@cache
def _kept(name: str, folder: Path) -> Case:
    return CASES[name](folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("towers") / "tower"


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, folder: Path) -> Case:
    return _kept(request.param, folder)


def images_of(model: Classifier, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, *model.image_size, generator=generator, dtype=torch.float64)


def assert_same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-9) -> None:
    peak = float(theirs.abs().max())
    assert peak > 0
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= tolerance * peak


# --- literally ---------------------------------------------------------------------------------------------------


def test_the_networks_taken_apart_are_the_networks(case: Case) -> None:
    images = images_of(case.model)
    with torch.no_grad(), case.model.look(images) as look:
        for image, logits in zip(images, look.logits, strict=True):
            assert_same(case.parts.logits(image), logits, case.rounding)


@pytest.mark.parametrize("readout", ["mean", "own"])
@pytest.mark.parametrize("blocks", [None, 1])
def test_legrad(case: Case, blocks: int | None, readout: str) -> None:
    images = images_of(case.model)
    spec = f"legrad@blocks={blocks}@readout={readout}"
    evidence, questions = gather(case.model, images, [PLAIN, CONTRAST], 0, method=spec)
    count = blocks or len(case.parts.blocks)
    for question in questions:
        maps = answer(evidence, question).maps
        for i, image in enumerate(images):
            row = question.rows[i, 0]
            assert_same(maps[i], literally.legrad(case.parts, image, row, count, readout == "mean"), case.rounding)


@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_gem(case: Case, iterations: int) -> None:
    images, count = images_of(case.model), len(case.parts.blocks)
    for blocks in (1, count):
        spec = f"gem@blocks={blocks}@iterations={iterations}@centred=no"
        evidence, questions = gather(case.model, images, [PLAIN, CONTRAST], 0, method=spec)
        for question in questions:
            maps = answer(evidence, question).maps
            for i, image in enumerate(images):
                theirs = literally.gem(case.parts, image, question.rows[i, 0], blocks, iterations)
                assert_same(maps[i], theirs, case.rounding)


def test_gem_centred_is_less_its_mean_and_takes_half_of_the_blocks(case: Case) -> None:
    images, count = images_of(case.model), len(case.parts.blocks)
    evidence, (question,) = gather(case.model, images, [CONTRAST], 0, method="gem")
    half = f"gem@blocks={(count + 1) // 2}@centred=no"
    raw, _ = gather(case.model, images, [CONTRAST], 0, method=half)
    maps = answer(raw, question).maps
    assert_same(answer(evidence, question).maps, maps - maps.mean((1, 2), keepdim=True))


@pytest.mark.parametrize("layers", [1, 3])
def test_torchcams_legrad(layers: int) -> None:
    torchcam = pytest.importorskip("torchcam.methods")
    case = of_torchvision()
    images, net = images_of(case.model), case.model.module
    with torchcam.LeGrad(net, list(net.encoder.layers)[-layers:]) as cam:
        (theirs,) = cam([3, 5], net(images), normalized=False)
    evidence, (question,) = gather(case.model, images, [PLAIN], [3, 5], method=f"legrad@blocks={layers}")
    assert_same(answer(evidence, question).maps, theirs.detach(), 1e-10)


# --- promises ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_single_images(case: Case, method: str) -> None:
    images = images_of(case.model, 3)
    evidence, (question,) = gather(case.model, images, [CONTRAST], [0, 3, 1], method=method)
    maps = answer(evidence, question).maps
    for i, target in enumerate([0, 3, 1]):
        alone, (question,) = gather(case.model, images[i : i + 1], [CONTRAST], [target], method=method)
        assert_same(maps[i : i + 1], answer(alone, question).maps, case.rounding)
        assert_same(maps[i : i + 1], answer(evidence.of(slice(i, i + 1)), question).maps, 1e-12)


def disturbed(method: str) -> Net:
    net = disturbing_net(TinyViT)
    if method.startswith("gem"):
        # Behind the user's own hook the logits are no longer the head's output.
        net._forward_hooks.clear()
    return net


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_untouched(method: str) -> None:
    net = disturbed(method)
    with untouched(net):
        model = Classifier.of(net, TinyViT.layer, image_size=SIZE)
        explain(model, photos(), 0, method=method, keep=True)


@pytest.mark.parametrize("method", METHODS)
def test_the_libraries_models_are_untouched(case: Case, method: str) -> None:
    module = case.model.module
    module.train()
    try:
        with untouched(module):
            saliency(case.model, images_of(case.model), 0, method=method)
    finally:
        module.eval()


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_untouched_when_it_raises(method: str) -> None:
    net = Probed(disturbed(method))
    model = Classifier.of(net, "inner.last.norm1", image_size=SIZE)
    saliency(model, photos(), 0, method=method)
    net.fails = True
    with untouched(net), pytest.raises(RuntimeError, match="the model broke"):
        saliency(model, photos(), 0, method=method)


@pytest.mark.parametrize("method", METHODS)
def test_callers_modes_and_frozen_models_make_no_difference(method: str) -> None:
    expected = saliency(classifier("vit"), photos(), 0, method=method)
    frozen = build(TinyViT).requires_grad_(False)
    with torch.inference_mode():
        born = build(TinyViT)
        under = saliency(classifier("vit"), photos(), 0, method=method)
    with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16):
        rounded = saliency(classifier("vit"), photos(), 0, method=method)
    assert torch.equal(under, expected)
    assert torch.equal(rounded, expected)
    for net in (frozen, born):
        model = Classifier.of(net, TinyViT.layer, image_size=SIZE)
        assert torch.equal(saliency(model, photos(), 0, method=method), expected)


@pytest.mark.parametrize("method", METHODS)
def test_how_often_the_model_runs(method: str) -> None:
    net = Probed(build(TinyViT))
    model = Classifier.of(net, "inner.last.norm1", image_size=SIZE)
    saliency(model, photos(), 0, method=method)  # finds the blocks
    net.batches.clear()
    evidence, questions = gather(model, photos(3), [PLAIN, CONTRAST], 0, method=method)
    assert net.batches == [3] * (3 if method.startswith("gem") else 2)
    for question in questions:
        answer(evidence, question)
    assert len(net.batches) == (3 if method.startswith("gem") else 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS)
def test_half_precision_stays_near(method: str, dtype: torch.dtype) -> None:
    exact = saliency(classifier("vit"), photos(), 0, method=method)
    model = classifier("vit", torch.float32)
    run = Run(precision="float32" if dtype == torch.float32 else "bfloat16")
    found = saliency(model, photos(dtype=torch.float32), 0, method=method, run=run)
    assert found.dtype == torch.float32
    assert_same(found.double(), exact, 1e-4 if dtype == torch.float32 else 0.1)


# --- kept evidence -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_kept_evidence_answers_other_questions_as_a_fresh_look_would(method: str, tmp_path: Path) -> None:
    net = Probed(build(TinyViT))
    model = Classifier.of(net, "inner.last.norm1", image_size=SIZE)
    kept = explain(model, photos()[0], 0, against=[1, 2], method=method, keep=True)
    kept.save(tmp_path / "one.safetensors")
    loaded = Explanation.load(tmp_path / "one.safetensors")
    net.batches.clear()
    changes = ({"gamma": 1.5}, {"against": [2]}, {"aggregate": "max"}, {"reverse": True}, {"gamma": 0})
    again = [(kept.again(**change), loaded.again(**change)) for change in changes]
    assert net.batches == []
    for change, (one, other) in zip(changes, again, strict=True):
        fresh = explain(model, photos()[0], 0, **{"against": [1, 2], "method": method, **change})
        assert_same(one.map, fresh.map)
        assert_same(other.map, fresh.map)


def test_what_each_can_be_asked_about() -> None:
    found = explain(classifier("vit"), photos()[0], 0, against=[1], method="legrad", keep=True)
    assert isinstance(found.evidence, AttentionEvidence)
    with pytest.raises(NotCollected) as caught:
        found.again(against=[5])
    assert caught.value.classes == [5]
    found = explain(classifier("vit"), photos()[0], 0, against=[1], method="gem", keep=True)
    assert isinstance(found.evidence, PatchEvidence)
    assert found.evidence.classes() is None
    assert_same(found.again(against=[5]).map, explain(classifier("vit"), photos()[0], 0, against=[5], method="gem").map)


@pytest.mark.parametrize("method", METHODS)
def test_blocks_that_work_in_place(method: str) -> None:
    """Each adds to its own input, and so does what follows to the last one's output."""

    class Adding(TinyViT):
        def forward(self, images: Tensor) -> Tensor:
            tokens = self.last(self.before(images))
            tokens *= 1
            return self.head(self.norm(tokens)[:, 0])

        def __init__(self) -> None:
            super().__init__()
            for block in (self.first, self.last):
                block.forward = lambda x, b=block: self.run_block(b, x)

        @staticmethod
        def run_block(block: nn.Module, x: Tensor) -> Tensor:
            normed = block.norm1(x)
            q, k, v = (t.unflatten(2, (block.heads, -1)).transpose(1, 2) for t in block.qkv(normed).chunk(3, 2))
            weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
            x += block.proj((weights @ v).transpose(1, 2).flatten(2))
            return x + block.mlp(block.norm2(x))

    model = Classifier.of(build(Adding), TinyViT.layer, image_size=SIZE)
    expected = saliency(classifier("vit"), photos(), 0, method=method)
    assert_same(saliency(model, photos(), 0, method=method), expected)


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["legrad", "gem"])
@pytest.mark.parametrize("name", sorted(set(NETS) - {"vit"}))
def test_a_network_without_attention_is_refused(name: str, method: str) -> None:
    with pytest.raises(FinercamError, match=r"is not a plain vision transformer.*use another, such as gradcam"):
        saliency(classifier(name), photos(), method=method)


@pytest.mark.parametrize("spec", ["legrad@blocks=0", "legrad@blocks=3", "gem@blocks=3", "gem@blocks=-1"])
def test_more_blocks_than_there_are(spec: str) -> None:
    with pytest.raises(FinercamError, match=r"blocks is .*; the network has 2"):
        saliency(classifier("vit"), photos(), method=spec)


def test_rounds_out_of_range() -> None:
    with pytest.raises(FinercamError, match="iterations is -1; give a whole number from 0 to 100"):
        saliency(classifier("vit"), photos(), method="gem@iterations=-1")


def test_gem_needs_a_linear_head() -> None:
    class Twice(TinyViT):
        def forward(self, images: Tensor) -> Tensor:
            return 2 * super().forward(images)

    model = Classifier.of(build(Twice), TinyViT.layer, image_size=SIZE)
    with pytest.raises(FinercamError, match="the logits of Twice are not the output of one; use legrad"):
        saliency(model, photos(), method="gem")
    saliency(model, photos(), method="legrad")


def test_gem_needs_norms_on_both_sides_of_attention() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=False)

    class Behind(DeepNet):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, 16, 4, 4)
            self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.end = nn.Linear(16, 7)

        def forward(self, images: Tensor) -> Tensor:
            return self.end(self.blocks(self.patch(images).flatten(2).mT).mean(1))

    model = Classifier.of(build(Behind), image_size=SIZE)
    with pytest.raises(FinercamError, match=r"gem needs blocks with a norm before attention.*'blocks\.layers\.\d'"):
        saliency(model, photos(), method="gem")
    saliency(model, photos(), method="legrad")
