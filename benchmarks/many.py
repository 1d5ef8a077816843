"""``python -m benchmarks.many``: what a hundred thousand photos cost: planning a run, measuring a sample, resuming.

The photos are many names of a few small JPEGs, in a folder for each class. Every step runs in a process of its own, by
the processor's own count with one thread, and photos are opened in the same process; memory is the most that the step
has beyond what the process had before, with the model loaded. What is reported are ratios: between numbers of photos,
and between a run and bare forward passes of its photos, in batches of the same size, before and after it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import finercam
from benchmarks.cams import machine
from finercam.cli.classes import model_classes
from finercam.data.reading import read_dataset
from finercam.models.classifier import Classifier
from finercam.models.run import Run
from finercam.runs.engine import run_study
from finercam.runs.job import Done, Engine, Job
from finercam.runs.loaded import loaded_classifier
from finercam.runs.local import Local
from finercam.runs.memory import keep_memory
from finercam.studies.evaluate.evaluation import Evaluation

#: Pictures that all photos are names of.
PICTURES = 64
#: Little more than each study does with a photo: it is opened and looked at, and two maps are made and held against
#: those of another class.
STUDY = Evaluation(metrics=("class-sensitivity@random",), controls=False)


def main() -> None:
    """Measure, print and, with ``--out``, write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, nargs="+", default=[10_000, 100_000], help="photos of the data sets")
    parser.add_argument("--images", type=int, nargs="+", default=[200, 2_000], help="how many of the last are measured")
    parser.add_argument("--model", default="aviary")
    parser.add_argument("--out", type=Path, help="file for the report")
    parser.add_argument("--alone", nargs=4, metavar=("STEP", "FOLDER", "RUN", "IMAGES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.alone:
        step, folder, out, images = options.alone
        print(json.dumps(alone(step, folder, out, int(images), options.model)))
        return
    lines = [f"Measured on {machine(torch.device('cpu'))}; torch {torch.__version__}.", ""]
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        lines += ["| planned | x time | x peak | seconds | peak MiB |", "|---|---|---|---|---|"]
        planned = []
        for count in options.photos:
            furnish(scratch / str(count), count)
            planned.append(apart("plan", scratch / str(count), scratch / f"plan-{count}", 0, options.model))
            lines.append(
                f"| {count:,} | {against(planned, 'seconds')} | {against(planned, 'peak')} | {told(planned)} |"
            )
        lines += [
            "",
            "| photos measured | x bare forward passes | x peak | seconds | peak MiB | started again, x run |",
        ]
        lines += ["|---|---|---|---|---|---|"]
        runs = []
        for images in options.images:
            folder, out = scratch / str(options.photos[-1]), scratch / f"run-{images}"
            runs.append(apart("run", folder, out, images, options.model))
            again = apart("again", folder, out, images, options.model)
            bare = runs[-1]["seconds"] / runs[-1]["bare"]
            share = f"{again['seconds'] / runs[-1]['seconds']:.2f} ({again['seconds']:.1f} s)"
            lines.append(f"| {images:,} | {bare:.2f} | {against(runs, 'peak')} | {told(runs)} | {share} |")
            print(f"{images} photos: {runs[-1]}, again {again}", file=sys.stderr)
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines), encoding="utf-8")


def against(found: list[dict[str, float]], key: str) -> str:
    """Return how many times the first's the last's is."""
    return f"{found[-1][key] / max(found[0][key], 1e-9):.2f}"


def told(found: list[dict[str, float]]) -> str:
    """Return seconds and MiB of the last."""
    return f"{found[-1]['seconds']:.1f} | {found[-1]['peak']:.0f}"


def furnish(folder: Path, count: int) -> None:
    """Write a folder of class folders with so many names of a few drawn birds."""
    aviary = read_dataset("aviary", images=PICTURES)
    pictures = folder.with_name(f"{folder.name} pictures")
    pictures.mkdir()
    places = []
    for number, item in enumerate(aviary.items()):
        aviary.open(item).photo.save(pictures / f"{number}.jpg", quality=90)
        there = folder / aviary.class_names[item.label]
        there.mkdir(parents=True, exist_ok=True)
        places.append((pictures / f"{number}.jpg", there))
    for number in range(count):
        picture, there = places[number % PICTURES]
        os.link(picture, there / f"{number:06}.jpg")


class Planned(Exception):
    """All is listed, and nothing measured."""


class Never(Engine):
    """Measures nothing."""

    def do(self, job: Job) -> Iterator[Done]:
        """Stop where a run would begin."""
        raise Planned


def alone(step: str, folder: str, out: str, images: int, model: str) -> dict[str, float]:
    """Return what one step takes, in this process: seconds of the processor, MiB, and what else it tells."""
    keep_memory()
    classifier = finercam.load(model, device="cpu")
    passes(classifier, 1)
    found: dict[str, float] = {}
    if step == "run":
        found["bare"] = passes(classifier, images // 2)
    before, start = peak(), time.process_time()
    try:
        measured = measure(classifier, folder, out, images or None, Never() if step == "plan" else Local(0))
        assert measured == (images if step == "run" else 0)
    except Planned:
        assert step == "plan"
    found |= {"seconds": time.process_time() - start, "peak": peak() - before}
    if step == "run":
        found["bare"] += passes(classifier, images - images // 2)
    return found


def measure(classifier: Classifier, folder: str, out: str, images: int | None, engine: Engine) -> int:
    """Run the study as a command does, and return how many photos were measured."""
    data = read_dataset(f"folder:{folder}", "all", images)
    targets = model_classes(classifier, data, None, False)
    loaded = loaded_classifier(classifier)
    return run_study(STUDY, loaded, data, out, targets, run=Run(), engine=engine).measured


def passes(classifier: Classifier, photos: int) -> float:
    """Return seconds of the processor for bare forward passes of so many inputs, in batches as a run has them."""
    height, width = classifier.preprocessing.size[-2:]
    batch = torch.randn(Run().images, 3, height, width, generator=torch.Generator().manual_seed(0))
    start = time.process_time()
    with torch.inference_mode():
        for first in range(0, photos, len(batch)):
            classifier.module(batch[: photos - first])
    return time.process_time() - start


def peak() -> float:
    """Return the most that this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(step: str, folder: Path, out: Path, images: int, model: str) -> dict[str, Any]:
    """Return what ``alone`` does, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.many", "--model", model]
    command += ["--alone", step, str(folder), str(out), str(images)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
