"""Classifiers made of words: their logits, gradients and grids, and real architectures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import finercam
from finercam import Classifier, Contrast, FinercamError, Grid, load
from finercam._torchvision import import_torchvision
from finercam.explanations.answering import answer, gather
from finercam.models.text import BARE, CLASS_TEMPLATES, text
from finercam.models.text_image import ZeroShot
from models.text_models import (
    OPEN_CLIP,
    SIZE,
    TRANSFORMERS,
    images,
    open_clip_config,
    save_open_clip,
    save_transformers,
)

import_torchvision()  # before open_clip

pytestmark = pytest.mark.usefixtures("words_kept_in")

NAMES = ["red epaulets", "bird", "yellow beak", "blue grosbeak"]
MODELS = (*OPEN_CLIP, *TRANSFORMERS)


def batch(name: str, count: int = 2) -> Tensor:
    return images(count, (64, 64) if name == "ResNet" else (SIZE, SIZE))


def patches(pixels: Tensor, side: int = 8) -> dict[str, Tensor]:
    """What SigLIP 2's own image processor makes of these images, cut by hand."""
    b, _, height, width = pixels.shape
    cut = [
        [
            image[:, y : y + side, x : x + side].permute(1, 2, 0).flatten()
            for y in range(0, height, side)
            for x in range(0, width, side)
        ]
        for image in pixels
    ]
    values = torch.stack([torch.stack(image) for image in cut])
    return {
        "pixel_values": values,
        "pixel_attention_mask": torch.ones(values.shape[:2], dtype=torch.long),
        "spatial_shapes": torch.tensor([(height // side, width // side)] * b),
    }


def own_logits(name: str, folder: Path, model: Any, pixels: Tensor, prompts: list[str]) -> Tensor:
    """The library's own zero-shot logits."""
    import open_clip
    import transformers

    if name in OPEN_CLIP:
        ids = open_clip.get_tokenizer(f"local-dir:{folder}")(prompts)
        if name == "CoCa":
            # Called as a whole it would also write a caption.
            return model.logit_scale.exp() * model.encode_image(pixels) @ model.encode_text(ids).T
        of_images, of_text, scale, *bias = model(pixels, ids)
        return scale * of_images @ of_text.T + (bias[0] if bias else 0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(prompts, padding="max_length", return_tensors="pt")
    given = patches(pixels) if name == "siglip2" else {"pixel_values": pixels}
    return model(**ids, **given).logits_per_image


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_the_librarys_own(name: str, saved: Any) -> None:
    folder, model = saved(name)
    classifier = text(folder, NAMES, templates=BARE, device="cpu")
    with torch.no_grad():
        expected = own_logits(name, folder, model, batch(name), NAMES)
        found = classifier.module(batch(name))
    assert expected.std() > 0.1  # prompts and images are told apart
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert list(classifier.labels.names) == NAMES


@pytest.mark.parametrize("name", ["ViT", "CoCa"])
def test_templates_are_averaged_as_open_clip_does(name: str, saved: Any) -> None:
    import open_clip

    folder, model = saved(name)
    templates = ["a photo of a {}.", "the {} in red", "{}"]
    classifier = text(folder, NAMES, templates=templates, device="cpu")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    expected = open_clip.build_zero_shot_classifier(model, tokenizer, NAMES, templates)
    torch.testing.assert_close(classifier.rows, model.logit_scale.exp().detach() * expected.T, rtol=1e-5, atol=1e-5)


def library_layer(name: str, model: Any) -> nn.Module:
    """The target layer as each library's own model has it."""
    if name == "ResNet":
        return model.visual.layer4
    if name in ("ViT", "ViT with bias"):
        return model.visual.transformer.resblocks[-1].ln_1
    if name == "clip":
        return model.vision_model.encoder.layers[-1].layer_norm1
    return model.vision_model.post_layernorm


@pytest.mark.parametrize("name", ["ResNet", "ViT", "ViT with bias", "clip", "siglip", "siglip2"])
def test_maps_are_autograds_of_the_literal_formula(name: str, saved: Any) -> None:
    """Grad-CAM of ``y_c - 0.6 y_b`` from the library's own logits, in float64, through the image's normalisation."""
    import copy

    folder, model = saved(name)
    model = copy.deepcopy(model).double()
    classifier = text(folder, NAMES, templates=BARE, device="cpu")
    classifier.module.double()
    pixels = batch(name).double()
    evidence, (question,) = gather(classifier, pixels, [Contrast(against=["bird"])], "red epaulets")
    found = answer(evidence, question).maps

    seen = []

    def keep(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        seen.append(output)
        return output

    handle = library_layer(name, model).register_forward_hook(keep)
    logits = own_logits(name, folder, model, pixels, NAMES)
    handle.remove()
    (activations,) = seen
    (gradients,) = torch.autograd.grad((logits[:, 0] - 0.6 * logits[:, 1]).sum(), activations)
    if activations.ndim == 3:
        prefix = 1 if name in ("ViT", "ViT with bias", "clip") else 0
        activations, gradients = (
            t[:, prefix:].unflatten(1, (4, 4)).permute(0, 3, 1, 2) for t in (activations, gradients)
        )
    alpha = gradients.mean((2, 3), keepdim=True)
    expected = (alpha * activations).sum(1)
    # Text embeddings are kept in float32.
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-6 * float(expected.detach().abs().max()))
    torch.testing.assert_close(evidence.logits, logits.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "method"), [*((name, "gradcam") for name in MODELS), ("ViT", "layercam"), ("siglip", "scorecam")]
)
def test_a_batch_is_its_single_images(name: str, method: str, saved: Any) -> None:
    folder, _ = saved(name)
    classifier = text(folder, NAMES, templates=BARE, device="cpu")
    classifier.module.double()
    pixels = batch(name, 3).double()
    together = finercam.explain(classifier, pixels, "bird", method=method)
    for one, image in zip(together, pixels, strict=True):
        alone = finercam.explain(classifier, image, "bird", method=method)
        torch.testing.assert_close(one.map, alone.map, rtol=1e-7, atol=1e-9 * float(one.map.abs().max()))


@pytest.mark.parametrize(
    ("name", "layer", "grid"),
    [
        ("ViT", "visual.transformer.resblocks.1.ln_1", Grid("tokens", prefix=1)),
        ("ResNet", "visual.layer4", Grid("nchw")),
        ("CoCa", "visual.tower.attn_pool.ln_k", Grid("tokens", prefix=1)),
        ("clip", "visual.vision_model.encoder.layers.1.layer_norm1", Grid("tokens", prefix=1)),
        ("siglip", "visual.vision_model.post_layernorm", Grid("tokens")),
        ("siglip2", "visual.vision_model.post_layernorm", Grid("tokens")),
    ],
)
def test_layers_grids_and_head(name: str, layer: str, grid: Grid, saved: Any) -> None:
    folder, _ = saved(name)
    classifier = text(folder, NAMES, device="cpu")
    assert (classifier.layers, classifier.grids) == ((layer,), (grid,))
    assert classifier.head is classifier.module.head
    assert not classifier.pooled
    explanation = finercam.explain(classifier, batch(name)[0], "bird")
    assert explanation.map.shape == ((2, 2) if name == "ResNet" else (4, 4))
    assert not [key for key in classifier.module.state_dict() if "text" in key or "token_embedding" in key]


def test_siglip_2_keeps_a_photos_shape(saved: Any) -> None:
    """Native aspect ratios: the input and the map are as wide as the photo; the pixels are the processor's own."""
    import transformers

    folder, model = saved("siglip2")
    classifier = text(folder, NAMES, templates=BARE, device="cpu")
    photo = Image.linear_gradient("L").resize((120, 30)).convert("RGB")
    image = classifier.preprocessing(photo)
    assert image.shape == (3, 16, 64)
    given = transformers.AutoImageProcessor.from_pretrained(folder)(images=photo, return_tensors="pt")
    ids = transformers.AutoTokenizer.from_pretrained(folder)(NAMES, padding="max_length", return_tensors="pt")
    with torch.no_grad():
        expected = model(**ids, **given).logits_per_image
        torch.testing.assert_close(classifier.module(image[None]), expected, rtol=1e-5, atol=1e-5)
    assert finercam.explain(classifier, photo, "bird").map.shape == (2, 8)


class Mean(nn.Module):
    """A tower whose embedding is the mean of its last map, with no projection."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU())

    def forward(self, pixels: Tensor) -> Tensor:
        return self.body(pixels).mean((2, 3))


def test_the_closed_form_is_not_claimed_for_a_normalised_mean() -> None:
    """But for the normalisation this is pooling and one linear layer, whose gradient is the weight row."""
    module = ZeroShot(Mean(), nn.Linear(8, 3, bias=False)).eval()
    classifier = Classifier.of(module, image_size=(16, 16))
    assert classifier.layers == ("visual.body",)
    assert classifier.head is module.head
    assert not classifier.pooled


def test_rows_are_what_weights_compares(saved: Any) -> None:
    folder, model = saved("ViT")
    classifier = text(folder, NAMES, templates=BARE, device="cpu")
    scale = float(model.logit_scale.detach().exp())
    torch.testing.assert_close(classifier.rows.norm(dim=1), torch.full((4,), scale))
    similar = classifier.rows @ classifier.rows[1] / scale**2
    nearest = [i for i in similar.argsort(descending=True).tolist() if i != 1]
    explanation = finercam.explain(classifier, batch("ViT")[0], "bird", against="weights", references=3)
    assert list(explanation.references) == nearest


def test_prompts_of_the_same_tokens_are_the_same_to_the_last_bit(saved: Any, runs: list[int]) -> None:
    """They go through the text tower once: a batch on an accelerator need not treat its rows alike."""
    folder, _ = saved("ViT")
    rows = text(folder, ["bird", "red wing", "Bird", "a yellow beak", " BIRD"], templates=BARE, device="cpu").rows
    assert runs == [3]
    assert torch.equal(rows[0], rows[2])
    assert torch.equal(rows[0], rows[4])
    assert not torch.equal(rows[0], rows[1])


def test_class_names_are_said_as_people_say_them(saved: Any) -> None:
    folder, _ = saved("ViT")
    written = text(folder, ["010.Red_winged_Blackbird", "bird"], device="cpu")
    said = text(folder, ["Red winged Blackbird", "bird"], device="cpu")
    sentence = text(folder, ["a photo of a Red winged Blackbird.", "a photo of a bird."], templates=BARE, device="cpu")
    torch.testing.assert_close(written.rows, said.rows)
    torch.testing.assert_close(written.rows, sentence.rows)
    assert written.labels.names[0] == "010.Red_winged_Blackbird"
    bare = text(folder, ["010.Red_winged_Blackbird", "bird"], templates=BARE, device="cpu")
    assert not torch.allclose(bare.rows[0], said.rows[0])
    assert CLASS_TEMPLATES == ("a photo of a {}.",)
    braces = text(folder, ["wing {}", "bird"], device="cpu")
    assert not torch.allclose(braces.rows[0], text(folder, ["wing"], device="cpu").rows[0])


def test_load_with_classes(saved: Any) -> None:
    folder, _ = saved("ViT")
    classifier = load(f"open_clip/local-dir:{folder}", classes=NAMES, device="cpu", layer="visual.conv1")
    torch.testing.assert_close(classifier.rows, text(folder, NAMES, device="cpu").rows)
    assert classifier.layers == ("visual.conv1",)
    assert classifier.name == f"open_clip/local-dir:{folder}"
    assert load(f"open_clip/local-dir:{folder}", device="cpu").labels is None


def test_open_clip_with_a_tokenizer_of_its_own(tmp_path: Path, saved: Any) -> None:
    """A folder whose tokenizer is transformers'."""
    from transformers import AutoTokenizer

    config = open_clip_config()
    config["text_cfg"] |= {"hf_tokenizer_name": "own", "vocab_size": 32}
    model = save_open_clip(tmp_path, config)
    AutoTokenizer.from_pretrained(saved("clip")[0]).save_pretrained(tmp_path)
    classifier = text(tmp_path, NAMES, templates=BARE, device="cpu")
    with torch.no_grad():
        expected = own_logits("ViT", tmp_path, model, batch("ViT"), NAMES)
        torch.testing.assert_close(classifier.module(batch("ViT")), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(FinercamError, match="knows none of the words in 'spangled drongo'"):
        text(tmp_path, ["bird", "spangled drongo"], device="cpu")
    with pytest.raises(FinercamError, match="is 14 tokens long and the text tower reads 12"):
        text(tmp_path, ["bird " * 12], templates=BARE, device="cpu")


def test_words_the_model_does_not_know(tmp_path: Path, saved: Any) -> None:
    """Of some it knows nothing; of tokens that its training never read the embeddings are zero."""
    model = save_open_clip(tmp_path, open_clip_config())
    import open_clip
    from safetensors.torch import save_file

    never = open_clip.get_tokenizer(f"local-dir:{tmp_path}").encode("spangled drongo")
    with torch.no_grad():
        model.token_embedding.weight[never] = 0
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "open_clip_model.safetensors")
    for folder in (tmp_path, saved("clip")[0]):
        with pytest.raises(FinercamError, match="knows none of the words in 'spangled drongo'"):
            text(folder, ["bird", "spangled drongo"], device="cpu")
        with pytest.warns(UserWarning, match="does not know all the words of 'red drongo'; it uses the others"):
            text(folder, ["bird", "red drongo"], device="cpu")


def test_weights_saved_in_half_precision_are_read_in_full(tmp_path: Path) -> None:
    model = save_transformers(tmp_path, "clip")
    model.half().save_pretrained(tmp_path)
    classifier = text(tmp_path, NAMES, device="cpu")
    assert {tensor.dtype for tensor in classifier.module.parameters()} == {torch.float32}


# --- the real architectures --------------------------------------------------------------------------------------


class Letters:
    """In place of a tokenizer that is on a hub: one token per letter. Only the words' meaning is lost."""

    def __init__(self, context: int) -> None:
        self.context_length, self.all_special_ids, self.tokenizer_mode = context, [0, 1], ""

    def encode(self, prompt: str) -> list[int]:
        return [2 + ord(letter) % 1000 for letter in prompt]

    def __call__(self, prompts: list[str]) -> Tensor:
        ids = torch.zeros(len(prompts), self.context_length, dtype=torch.long)
        for row, prompt in zip(ids, prompts, strict=True):
            own = self.encode(prompt)
            row[: len(own) + 1] = torch.tensor([*own, 1])
        return ids


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "layer", "cells"),
    [
        ("open_clip/ViT-B-16", "visual.transformer.resblocks.11.ln_1", 14),
        ("open_clip/RN50", "visual.layer4", 7),
        ("open_clip/ViT-B-16-SigLIP", "visual.trunk.norm", 14),
        ("open_clip/coca_ViT-B-32", "visual.tower.attn_pool.ln_k", 7),
    ],
)
def test_real_architectures_of_open_clip(spec: str, layer: str, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    if "SigLIP" in spec:
        # Its tokenizer is on a hub.
        monkeypatch.setattr(open_clip, "get_tokenizer", lambda name: Letters(64))
    classifier = text(spec, ["red epaulets", "bird"], templates=BARE, pretrained=False, device="cpu")
    _check_architecture(classifier, layer, cells)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_real_architectures_of_transformers(kind: str, tmp_path: Path) -> None:
    """The sizes of ViT-B/16, with random weights and the small models' tokenizer."""
    import transformers

    save_transformers(tmp_path, kind)
    sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    config = {"clip": transformers.CLIPConfig, "siglip": transformers.SiglipConfig}[kind](
        vision_config={**sizes, "patch_size": 16, "image_size": 224},
        text_config={"eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0},
    )
    torch.manual_seed(0)
    {"clip": transformers.CLIPModel, "siglip": transformers.SiglipModel}[kind](config).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    side = {"height": 224, "width": 224}
    settings |= {"size": side, "crop_size": side} if "crop_size" in settings else {"size": side}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    classifier = text(tmp_path, ["red epaulets", "bird"], templates=BARE, device="cpu")
    block = "visual.vision_model.encoder.layers.11.layer_norm1"
    _check_architecture(classifier, block if kind == "clip" else "visual.vision_model.post_layernorm", 14)


def _check_architecture(classifier: Classifier, layer: str, cells: int) -> None:
    """The right grid, a gradient on every cell, and nothing left of a concept that is its own base."""
    from finercam.explanations.concepts import concept_against
    from finercam.explanations.explaining import explain_batch

    assert classifier.layers == (layer,)
    assert not classifier.pooled
    pixels = torch.randn(1, 3, *classifier.image_size, generator=torch.Generator().manual_seed(0))
    evidence, _ = gather(classifier, pixels, [Contrast(against=["bird"])], "red epaulets")
    (gradients,) = evidence.gradients
    assert gradients.shape[-2:] == (cells, cells)
    assert float((gradients.abs().amax((0, 1, 2)) > 0).float().mean()) == 1.0
    asked = [concept_against(classifier, concept, "bird", gamma=1.0) for concept in ("red epaulets", "bird")]
    ((found, void),) = explain_batch(classifier, pixels, asked, sources=[None])
    assert found.map.shape == (cells, cells)
    assert float(found.map.abs().max()) > 0
    assert void.empty
    assert float(void.map.abs().max()) == 0
