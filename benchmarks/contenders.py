"""The same explanation by each library, as its users would ask for it; random weights, as speed is all that counts."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr

import torch
from torch import Tensor, nn

from finercam import PLAIN, Classifier, Contrast, gather, saliency
from finercam import Run as HowToRun
from finercam._torchvision import import_torchvision
from finercam.explanations.answering import answer

import_torchvision()

import captum.attr as captum_attr  # noqa: E402
import pytorch_grad_cam as grad_cam  # noqa: E402
import timm  # noqa: E402
import torchcam.methods as torchcam  # noqa: E402
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: E402

ARCHITECTURES = {"resnet50": "ResNet-50", "vit_base_patch16_224": "ViT-B/16"}

Run = Callable[[], object]


def build(architecture: str, device: torch.device) -> tuple[nn.Module, Classifier]:
    """Return the bare module and our classifier around it."""
    torch.manual_seed(0)
    module = timm.create_model(architecture).eval().to(device)
    return module, Classifier.of(module)


def gradient_methods(architecture: str, images: Tensor, precision: str = "float32") -> dict[str, Run]:
    """Return the bare forward pass and Grad-CAM, plain and finer, by each library."""
    module, classifier = build(architecture, images.device)
    layer = module.get_submodule(classifier.layers[0])
    tokens = classifier.grids[0].layout == "tokens"
    size = (images.shape[-2], images.shape[-1])

    def to_maps(output: Tensor) -> Tensor:
        return classifier.grids[0].maps(output, size)

    reshape = to_maps if tokens else None
    reordered = images.contiguous(memory_format=torch.channels_last)
    kept, _ = gather(classifier, images, [Contrast()], collect=[])
    run = HowToRun(precision)
    runs: dict[str, Run] = {
        "forward pass": lambda: forward(module, images, precision),
        "forward pass, channels last": lambda: forward(module, reordered, precision),
        "finercam Grad-CAM": lambda: saliency(classifier, images, contrast=PLAIN, run=run),
        "finercam Finer-CAM": lambda: saliency(classifier, images, run=run),
        "finercam Finer-CAM, Layer-CAM": lambda: saliency(classifier, images, method="layercam", run=run),
        "finercam another gamma and references": lambda: answer(
            kept, Contrast(gamma=0.9, references=2).ask(kept.logits)
        ),
    }
    if precision != "float32":
        return runs
    runs["grad-cam GradCAM"] = lambda: _grad_cam(grad_cam.GradCAM, module, layer, reshape, images)
    runs["grad-cam FinerCAM"] = lambda: _grad_cam(grad_cam.FinerCAM, module, layer, reshape, images)
    runs["torchcam GradCAM"] = lambda: _torchcam(torchcam.GradCAM, module, layer, reshape, images)
    runs["torchcam FinerCAM"] = lambda: _torchcam(torchcam.FinerCAM, module, layer, reshape, images)
    if not tokens:  # captum pools the wrong axes of tokens
        runs["captum LayerGradCam"] = lambda: _captum(module, layer, images)
    return runs


def score_methods(architecture: str, images: Tensor) -> dict[str, Run]:
    """Return Score-CAM by us, in two precisions, and by grad-cam."""
    module, classifier = build(architecture, images.device)
    layer = module.get_submodule(classifier.layers[0])
    size = (images.shape[-2], images.shape[-1])
    reshape = None if classifier.grids[0].layout != "tokens" else lambda out: classifier.grids[0].maps(out, size)
    return {
        "grad-cam ScoreCAM": lambda: _grad_cam(grad_cam.ScoreCAM, module, layer, reshape, images),
        "finercam Finer Score-CAM": lambda: saliency(classifier, images, method="scorecam"),
        "finercam Finer Score-CAM, bfloat16": lambda: saliency(
            classifier, images, method="scorecam", run=HowToRun("bfloat16")
        ),
    }


def forward(module: nn.Module, images: Tensor, precision: str) -> Tensor:
    """Run the bare module."""
    reduced = precision != "float32"
    with torch.no_grad(), torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=reduced):
        logits: Tensor = module(images)
        return logits


def _grad_cam(method: type, module: nn.Module, layer: nn.Module, reshape: object, images: Tensor) -> object:
    finer = method is grad_cam.FinerCAM
    with method(model=module, target_layers=[layer], reshape_transform=reshape) as cam, redirect_stderr(io.StringIO()):
        if finer:
            return cam(input_tensor=images, alpha=0.6, comparison_categories=[1, 2, 3])
        return cam(input_tensor=images, targets=[ClassifierOutputTarget(7)] * len(images))


def _torchcam(method: type, module: nn.Module, layer: nn.Module, reshape: object, images: Tensor) -> object:
    with method(module, target_layer=layer, reshape_transform=reshape) as cam:
        scores = module(images)
        maps = cam(scores.argmax(1).tolist(), scores)
    return nn.functional.interpolate(maps[0][:, None], images.shape[-2:], mode="bilinear")


def _captum(module: nn.Module, layer: nn.Module, images: Tensor) -> object:
    with torch.no_grad():
        target = module(images).argmax(1)
    maps = captum_attr.LayerGradCam(module, layer).attribute(images, target=target, relu_attributions=True)
    return nn.functional.interpolate(maps, images.shape[-2:], mode="bilinear")
