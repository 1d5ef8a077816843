"""``python -m benchmarks.explainers``: every method where the truth is known, with its controls and its cost.

Marks planted into photos (one evaluation for each kind and size), drawn birds, and the photos as they are; each is
``finercam evaluate`` with the options that the report prints, and a run that was stopped is resumed. Settings were
chosen on marks of seed 0; the report is of seed 1. ``--images`` draws so many photos of each.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

#: Methods that answer from one run, or some tens of them, and those that need hundreds.
QUICK = (
    "gradcam",
    "layercam",
    "sharp",
    "sharpest",
    "integrated-gradients",
    "smoothgrad",
    "gradient-x-input",
    "lrp",
    "multiscale",
    "subtraction",
)
SLOW = ("scorecam", "occlusion", "rise@masks=1000", "mask@steps=100")
FEW = ("gradcam", "sharp", "sharpest")
#: Kinds and sizes of marks; the first is measured with all methods.
MARKS = (
    "tint",
    "tint@size=0.15",
    "stripes@size=0.15",
    "spots@size=0.15",
    "texture@size=0.15",
    "brightness@size=0.15",
)
SEED = 1
KNOWN = (
    "average-precision@difference",
    "pointing@difference",
    "average-precision@present",
    "pointing@present",
    "average-precision@absent",
    "pointing@absent",
    "localization@difference",
    "class-sensitivity@random",
    "class-sensitivity@reversed",
)
PHOTOS = (
    "relative-drop@0.05",
    "relative-drop@0.05@fill=blur",
    "relative-drop@0.05@cells=14",
    "average-precision",
    "parts-precision@0.1",
    "class-sensitivity@random",
    "class-sensitivity@reversed",
)


def main() -> None:
    """Run what is missing, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cub", required=True, help="folder of CUB-200-2011, or of some of its classes")
    parser.add_argument("--backbone", required=True, help="model whose features tell marks apart, and of the photos")
    parser.add_argument("--out", required=True, type=Path, help="folder of the runs and of the report")
    parser.add_argument("--images", type=int, default=60, help="photos of each evaluation")
    parser.add_argument("--slow-images", type=int, default=24, help="the same, for methods that need hundreds of runs")
    parser.add_argument("--cost", nargs=2, metavar=("METHOD", "MODEL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cost:
        print(json.dumps(cost(*options.cost)))
        return
    lines: list[str] = []
    for title, command, metrics in evaluations(options):
        folder = options.out / title.replace(" ", "-").replace("@", "-")
        options.out.mkdir(parents=True, exist_ok=True)
        # 1: photos failed, which the table says.
        done = subprocess.run([*_finercam(), *command, "--out", str(folder)], stdout=subprocess.DEVNULL)
        if done.returncode not in (0, 1):
            raise SystemExit(f"finercam {' '.join(command)} ended with {done.returncode}")
        lines += [f"### {title}", "", f"    finercam {' '.join(command)} --out OUT", ""]
        lines += [*table(folder / "table.csv", metrics), ""]
        (options.out / "report.md").write_text("\n".join(lines), encoding="utf-8")
    lines += ["### Cost", "", *costs(options.backbone)]
    (options.out / "report.md").write_text("\n".join(lines), encoding="utf-8")
    print(options.out / "report.md")


def evaluations(options: argparse.Namespace) -> Iterator[tuple[str, list[str], Sequence[str]]]:
    """Yield the title, the command and the columns of each evaluation."""
    known = ["--gamma", "1", "--against", "compared", "--metric", ",".join(KNOWN)]
    model = ["--backbone", options.backbone]
    photos, few = str(options.images), str(options.slow_images)

    def planted(mark: str) -> str:
        return f"planted@kind={mark}@seed={SEED}:cub:{options.cub}"

    for number, mark in enumerate(MARKS):
        methods = ",".join(FEW if number else QUICK)
        yield mark, ["evaluate", planted(mark), *model, "--method", methods, *known, "--images", photos], KNOWN
    aviary = ["evaluate", "aviary", "--model", "aviary", *known]
    yield "aviary", [*aviary, "--method", ",".join(QUICK), "--images", str(2 * options.images)], KNOWN
    command = ["evaluate", f"cub:{options.cub}", "--model", options.backbone, "--skip-unmatched", "--split", "all"]
    command += ["--method", ",".join(FEW), "--gamma", "0.6,1", "--metric", ",".join(PHOTOS)]
    yield "photos", [*command, "--images", photos], PHOTOS
    slow = ["--method", ",".join(SLOW), "--images", few]
    yield "aviary slow", [*aviary, *slow], KNOWN
    yield f"{MARKS[0]} slow", ["evaluate", planted(MARKS[0]), *model, *known, *slow], KNOWN


def table(path: Path, metrics: Sequence[str]) -> list[str]:
    """Return a table of a run: where a difference is known a line for each method, else one for each map."""
    with path.open(encoding="utf-8") as file:
        rows = {(row["method"], row["contrast"], row["metric"]): row for row in csv.DictReader(file)}
    maps = list(dict.fromkeys((method, contrast) for method, contrast, _ in rows))
    if metrics is PHOTOS:
        lines = [f"| map | {' | '.join(metrics)} |", f"|---|{'---|' * len(metrics)}"]
        for method, contrast in maps:
            cells = [
                _mean(rows[method, contrast, metric]) + _gain(rows[method, contrast, metric]) for metric in metrics
            ]
            lines.append(f"| {method}, {contrast} | {' | '.join(cells)} |")
        return lines
    lines = [
        "| method | AP plain | AP finer | gain | random class | reversed | peak plain | peak finer "
        "| AP, peak where present | AP, peak where absent | same for a random class, reversed |",
        "|---" * 11 + "|",
    ]
    finer = next(contrast for _, contrast in maps if contrast.startswith("finer"))
    for method in dict.fromkeys(method for method, contrast in maps if contrast != "control"):

        def cell(metric: str, contrast: str = finer, *, short: bool = False, method: str = method) -> str:
            row = rows.get((method, contrast, metric))
            return "" if row is None else _mean(row, interval=not short)

        def pair(*names: str, cell=cell) -> str:
            return ", ".join(cell(name, short=True) for name in names)

        known = "average-precision@difference"
        cells = [
            cell(known, "plain"),
            cell(known),
            _gain(rows[method, finer, known], alone=True),
            cell(known, f"{finer}, random class", short=True),
            cell(known, f"{finer}, reversed", short=True),
            cell("pointing@difference", "plain", short=True),
            cell("pointing@difference"),
            *(pair(f"average-precision@{side}", f"pointing@{side}") for side in ("present", "absent")),
            pair("class-sensitivity@random", "class-sensitivity@reversed"),
        ]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    for method, contrast in maps:
        if contrast == "control":
            own = rows[method, contrast, "average-precision@difference"], rows[method, contrast, "pointing@difference"]
            lines.append(
                f"| {method} | {_mean(own[0], interval=False)} | | | | | {_mean(own[1], interval=False)} | | | | |"
            )
    counts = next(rows[one] for one in rows if one[1:] == (finer, "average-precision@difference"))
    sides = [next(rows[one]["n"] for one in rows if one[1:] == (finer, f"average-precision@{side}"))
             for side in ("present", "absent")]  # fmt: skip
    return [*lines, "", f"{counts['n']} explained: {sides[0]} with the trait present, {sides[1]} with it absent."]


def _mean(row: dict[str, str], *, interval: bool = True) -> str:
    if not row["mean"]:
        return ""
    ends = f" [{float(row['low']):.2f}, {float(row['high']):.2f}]" if interval and row["low"] else ""
    return f"{float(row['mean']):.3f}{ends}"


def _gain(row: dict[str, str], *, alone: bool = False) -> str:
    """Return what the contrast changes, with a mark where it gains, but no more than a control does."""
    if not row["difference"]:
        return ""
    ends = [float(row[f"difference {end}"]) for end in ("low", "high")]
    real = ends[0] > 0 or ends[1] < 0
    text = f"{float(row['difference']):+.3f}"
    if alone:
        text += f" [{ends[0]:+.2f}, {ends[1]:+.2f}]"
    if row["beyond controls"] == "true":
        text = f"**{text}**"
    elif real and ends[0] > 0:
        text += " †"
    return text if alone else f" ({text})"


def costs(model: str) -> list[str]:
    """Return the table of costs, each method in a process of its own."""
    lines = [
        "| method | times a forward pass | seconds a photo | MiB more than the forward pass |",
        "|---|---|---|---|",
    ]
    for method in (*QUICK, *SLOW):
        command = [sys.executable, "-m", "benchmarks.explainers", "--cub", "", "--backbone", "", "--out", "."]
        found = subprocess.run([*command, "--cost", method, model], capture_output=True, text=True, check=True)
        passes, seconds, memory = json.loads(found.stdout.splitlines()[-1])
        lines.append(f"| {method} | {passes:.1f} | {seconds:.2f} | {memory:.0f} |")
    return lines


def cost(method: str, model: str) -> tuple[float, float, float]:
    """Return the time of one finer question about a photo, as a multiple of the forward pass and in seconds, and MiB.

    Batches of 8 photos of noise (of 1, for methods that need hundreds of runs), two threads, the better of two turns.
    """
    import torch

    import finercam
    from finercam.explanations.answering import gather
    from finercam.models.passes import forward_pass

    torch.set_num_threads(2)
    classifier = finercam.load(model, device="cpu")
    images = torch.randn(1 if method in SLOW else 8, 3, *classifier.image_size)
    contrast = finercam.Contrast(gamma=1, references=1)

    def timed(what) -> float:
        turns = []
        for _ in range(2):
            start = time.perf_counter()
            what()
            turns.append(time.perf_counter() - start)
        return min(turns)

    def forward() -> None:
        with torch.inference_mode():
            forward_pass(classifier.module, images, "float32")

    forward()
    bare = timed(forward)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def explained() -> None:
        evidence, (question,) = gather(classifier, images, [contrast], method=method)
        evidence.maps(question.rows)

    seconds = timed(explained)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return seconds / bare, seconds / len(images), memory / 1024


def _finercam() -> list[str]:
    return [sys.executable, "-m", "finercam"]


if __name__ == "__main__":
    main()
