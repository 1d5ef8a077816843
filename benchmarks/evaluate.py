"""``python -m benchmarks.evaluate``: a data set measured by ``finercam evaluate`` and by pipelines of other libraries.

All give the same numbers for the same photos: {Grad-CAM, + Finer} x {deletion with 50 steps, relative drop at 5 and
10 %, energy in the box}, from files on disk, the model's weights random. The contenders take turns in one process; what
is reported are ratios of time within a turn, by the clock and by the processor's own count.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.cams import machine
from finercam import Classifier
from finercam._torchvision import import_torchvision
from finercam.contrast.contrast import PLAIN, Contrast
from finercam.data.dataset import Dataset
from finercam.data.photos import open_photo
from finercam.data.placement import Placer
from finercam.data.reading import read_dataset
from finercam.metrics.localization import energy_inside
from finercam.models.run import Run
from finercam.runs.engine import run_study
from finercam.runs.loaded import loaded_classifier
from finercam.runs.local import Local
from finercam.runs.memory import keep_memory
from finercam.studies.evaluate.evaluation import Evaluation

import_torchvision()

import timm  # noqa: E402
from pytorch_grad_cam import FinerCAM, GradCAM  # noqa: E402
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: E402
from torchcam import methods as torchcam  # noqa: E402
from torchcam.metrics import DeletionInsertionMetric  # noqa: E402

METRICS = ("deletion", "relative-drop@0.05", "relative-drop@0.1", "localization")
STEPS = 50
#: Single values per step: divides 224 * 224, which Quantus asks for, and makes 48 steps of 3 * 224 * 224.
FLIPPED = 3136


def main() -> None:
    """Measure, print and, with ``--out``, write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", nargs="+", default=["resnet18", "mobilenetv2_100"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth", type=int, nargs="*", default=[32, 64, 128], help="photos of the scaling runs")
    parser.add_argument("--out", type=Path, help="file for the report")
    parser.add_argument("--alone", nargs=4, metavar=("NAME", "FOLDER", "PHOTOS", "NETWORK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = torch.device(options.device)
    if options.alone:
        name, folder, photos, architecture = options.alone
        print(json.dumps(alone(name, folder, int(photos), architecture, device)))
        return
    lines = [f"Measured on {machine(device)}; torch {torch.__version__}.", ""]
    with tempfile.TemporaryDirectory() as scratch:
        from finercam.aviary import export

        folder = export(Path(scratch) / "birds", max(options.photos, *options.growth, 1), split="test")
        for architecture in options.architectures:
            lines += side_by_side(architecture, folder, options.photos, options.rounds, device)
        if options.growth:
            lines += growth(options.architectures[-1], folder, options.growth, device)
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines), encoding="utf-8")


def build(architecture: str, device: torch.device) -> tuple[nn.Module, Classifier]:
    """Return a network with random weights, and our classifier around it."""
    torch.manual_seed(0)
    module = timm.create_model(architecture).eval().to(device)
    config = timm.data.resolve_model_data_config(module)
    preprocess = timm.data.create_transform(**config, is_training=False)
    return module, Classifier.of(module, preprocess=preprocess, mean=config["mean"], std=config["std"])


OURS = ("finercam, float32", "finercam, bfloat16")
OTHERS = ("torchcam maps and deletion", "grad-cam maps, Quantus pixel flipping")
DROPS = "drops and localisation only"


def alone(name: str, folder: str, photos: int, architecture: str, device: torch.device) -> tuple[float, float, float]:
    """Return seconds by the clock, seconds of the processor and peak MiB of one contender, in this process."""
    module, classifier = build(architecture, device)
    data = read_dataset(f"cub:{folder}", images=photos)
    layer = module.get_submodule(classifier.layers[0])
    runs: dict[str, Callable[[Dataset], object]] = {
        OURS[0]: lambda some: ours(classifier, some, "float32"),
        OURS[1]: lambda some: ours(classifier, some, "bfloat16"),
        OTHERS[0]: lambda some: by_torchcam(module, layer, classifier, some),
        OTHERS[1]: lambda some: by_grad_cam_and_quantus(module, layer, classifier, some),
        DROPS: lambda some: ours(classifier, some, "float32", METRICS[1:]),
    }
    if name in (*OURS, DROPS):
        # As the command does.
        keep_memory()
    runs[name](read_dataset(f"cub:{folder}", images=1))  # what only a first run does
    clock, processor = time.perf_counter(), time.process_time()
    runs[name](data)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return time.perf_counter() - clock, time.process_time() - processor, peak


def apart(name: str, folder: Path, photos: int, architecture: str, device: torch.device) -> tuple[float, float, float]:
    """Return what ``alone`` does, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.evaluate", "--device", str(device)]
    command += ["--alone", name, str(folder), str(photos), architecture]
    done = subprocess.run(command, capture_output=True, check=True)
    clock, processor, peak = json.loads(done.stdout)
    return clock, processor, peak


def side_by_side(architecture: str, folder: Path, photos: int, rounds: int, device: torch.device) -> list[str]:
    """Return the table of one architecture; the contenders take turns, each in a process of its own."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in (*OURS, *OTHERS)}
    for turn in range(rounds):
        for name, own in found.items():
            own.append(apart(name, folder, photos, architecture, device))
        print(f"{architecture}: turn {turn + 1} of {rounds}", file=sys.stderr)
    lines = [f"### {architecture}, {photos} photos", ""]
    lines += ["| | photos per second | finercam float32 is faster by | finercam bfloat16 is faster by | peak MiB |"]
    lines += ["|---|---|---|---|---|"]
    for name, own in found.items():
        rate = photos / statistics.median(clock for clock, _, _ in own)
        peak = statistics.median(peak for _, _, peak in own)
        cells = [
            f"{_ratio(own, found[base], 0):.2f} x ({_ratio(own, found[base], 1):.2f} x of processor time)"
            for base in OURS
        ]
        lines.append(f"| {name} | {rate:.2f} | {cells[0]} | {cells[1]} | {peak:.0f} |")
    return [*lines, ""]


def _ratio(theirs: list[tuple[float, float, float]], own: list[tuple[float, float, float]], which: int) -> float:
    return statistics.median(a[which] / b[which] for a, b in zip(theirs, own, strict=True))


def ours(classifier: Classifier, data: Dataset, precision: str, metrics: tuple[str, ...] = METRICS) -> None:
    """Measure with finercam, without the controls that the others do not have."""
    study = Evaluation(("gradcam",), (PLAIN, Contrast()), metrics, steps=STEPS, controls=False)
    targets = range(len(data.class_names))
    with tempfile.TemporaryDirectory() as out:
        run_study(study, loaded_classifier(classifier), data, out, targets, run=Run(precision), engine=Local(0))


def by_torchcam(module: nn.Module, layer: nn.Module, classifier: Classifier, data: Dataset) -> list[object]:
    """Measure with torchcam's maps and its deletion (which comes with insertion), and a few lines for the rest."""
    found: list[object] = []
    device = classifier.device
    for images, boxes, labels in _batches(classifier, data):
        for method in (torchcam.GradCAM, torchcam.FinerCAM):
            with method(module, target_layer=layer) as cam:
                deletion = DeletionInsertionMetric(cam, lambda logits: logits.softmax(-1), steps=STEPS)
                deletion.update(images, labels)
                found.append(deletion.summary()["deletion_auc"])
                logits = module(images)
                maps = cam(labels, logits)[0]
            saliency = nn.functional.interpolate(maps[:, None], images.shape[-2:], mode="bilinear")[:, 0]
            found += _rest(module, images, saliency, boxes, torch.tensor(labels, device=device), logits)
    return found


def by_grad_cam_and_quantus(module: nn.Module, layer: nn.Module, classifier: Classifier, data: Dataset) -> list[object]:
    """Measure with grad-cam's maps and Quantus' pixel flipping, and a few lines for the rest."""
    import quantus

    found: list[object] = []
    device = classifier.device
    flipping = quantus.PixelFlipping(
        features_in_step=FLIPPED, perturb_baseline=0.0, abs=False, normalise=False, disable_warnings=True
    )
    for images, boxes, labels in _batches(classifier, data):
        for method in (GradCAM, FinerCAM):
            with method(model=module, target_layers=[layer]) as cam:
                if method is GradCAM:
                    maps = cam(input_tensor=images, targets=[ClassifierOutputTarget(label) for label in labels])
                else:
                    maps = cam(input_tensor=images, alpha=0.6, comparison_categories=[1, 2, 3])
            saliency = torch.from_numpy(maps).to(device)
            found.append(
                flipping(
                    module,
                    images.cpu().numpy(),
                    torch.tensor(labels).numpy(),
                    maps[:, None],
                    softmax=True,
                    device=str(device),
                )
            )
            with torch.no_grad():
                logits = module(images)
            found += _rest(module, images, saliency, boxes, torch.tensor(labels, device=device), logits)
    return found


def _batches(classifier: Classifier, data: Dataset):
    """Yield all photos as one batch, preprocessed by the same code, with boxes and labels."""
    placer = Placer(classifier.preprocessing)
    items = list(data.items())
    photos = [open_photo(item.uri) for item in items]
    images = torch.stack([classifier.preprocessing(photo) for photo in photos]).to(classifier.device)
    boxes = torch.stack([placer(photo.size).box(item.box) for photo, item in zip(photos, items, strict=True)])
    yield images, boxes.to(classifier.device), [item.label for item in items]


def _rest(
    module: nn.Module, images: Tensor, saliency: Tensor, boxes: Tensor, labels: Tensor, logits: Tensor
) -> list[object]:
    """Return the relative drops and the energy in the box, as one would write them by hand."""
    found: list[object] = [energy_inside(saliency, boxes)]
    rows = torch.arange(len(images), device=images.device)
    distance = (logits.detach() - logits.detach()[rows, labels][:, None]).abs()
    other = distance.scatter(1, labels[:, None], torch.inf).argmin(1)
    before = logits.detach().softmax(1)
    for fraction in (0.05, 0.1):
        top = saliency.flatten(1).topk(int(fraction * saliency[0].numel())).indices
        masked = images.flatten(2).clone()
        masked.scatter_(2, top[:, None].expand(-1, 3, -1), 0)
        with torch.no_grad():
            after = module(masked.view_as(images)).softmax(1)
        fall = before - after
        found.append(fall[rows, labels] - fall[rows, other])
    return found


def growth(architecture: str, folder: Path, sizes: list[int], device: torch.device) -> list[str]:
    """Return how time and peak memory grow with the number of photos, each in a process of its own."""
    lines = ["### Growth, relative drops and localisation only", ""]
    lines += ["| photos | seconds of the processor | per photo | peak MiB |", "|---|---|---|---|"]
    for size in sizes:
        _, seconds, peak = apart(DROPS, folder, size, architecture, device)
        lines.append(f"| {size} | {seconds:.1f} | {seconds / size:.3f} | {peak:.0f} |")
    return [*lines, ""]


if __name__ == "__main__":
    main()
