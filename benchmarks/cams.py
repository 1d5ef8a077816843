"""``python -m benchmarks.cams``: what an explanation costs, as a multiple of the model's bare forward pass."""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.measuring import ratios, take_turns

BASE = "forward pass"


def main() -> None:
    """Measure, print and, with ``--out``, write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--score-batch", type=int, default=1, help="images for Score-CAM; 0 leaves it out")
    parser.add_argument("--score-rounds", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file for the report")
    parser.add_argument("--peak", nargs=3, metavar=("CONTENDER", "ARCHITECTURE", "BATCH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = torch.device(options.device)
    if options.peak:
        print(json.dumps(peak_here(*options.peak[:2], int(options.peak[2]), device)))
        return

    lines = [f"Measured on {machine(device)}; torch {torch.__version__}.", ""]
    for section in sections(options, device):
        print("\n".join(section), flush=True)
        lines += [*section, ""]
    if options.out:
        options.out.write_text("\n".join(lines), encoding="utf-8")


def sections(options: argparse.Namespace, device: torch.device):
    """Yield the report's tables as lists of lines."""
    from benchmarks.contenders import ARCHITECTURES, gradient_methods, score_methods

    for architecture, title in ARCHITECTURES.items():
        for batch in options.batches:
            images = random_images(batch, device)
            for precision in ("float32", "bfloat16"):
                peaked = precision == "float32" and batch == max(options.batches)
                seconds = take_turns(gradient_methods(architecture, images, precision), device, options.rounds)
                peaks = peaks_apart(list(seconds), architecture, batch, device) if peaked else {}
                yield table(f"{title}, batch {batch}, {precision}", seconds, BASE, peaks)
        if options.score_batch:
            images = random_images(options.score_batch, device)
            runs = score_methods(architecture, images)
            # Minutes a run, so that a first run's warming up does not show.
            seconds = take_turns(runs, device, options.score_rounds, warm_up=0)
            lines = table(f"{title}, Score-CAM, batch {options.score_batch}", seconds, "grad-cam ScoreCAM", {})
            both = [runs[f"finercam Finer Score-CAM{suffix}"]() for suffix in ("", ", bfloat16")]
            lines.append(f"\nRank correlation of float32 and bfloat16 maps: {rank_correlation(*both):.4f}.")
            yield lines


def table(title: str, seconds: dict[str, list[float]], base: str, peaks: dict[str, float]) -> list[str]:
    """Return one Markdown table: ratios to the base, milliseconds, and peak memory where it was measured."""
    lines = [f"### {title}", "", f"| | x {base}, median (least to greatest) | ms, median | peak MiB over the model |"]
    lines.append("|---|---|---|---|")
    for name, (least, median, most) in ratios(seconds, base).items():
        peak = f"{peaks[name]:.0f}" if name in peaks else ""
        own = 1000 * statistics.median(seconds[name])
        lines.append(f"| {name} | {median:.3f} ({least:.3f} to {most:.3f}) | {own:.1f} | {peak} |")
    return lines


def peaks_apart(names: list[str], architecture: str, batch: int, device: torch.device) -> dict[str, float]:
    """Return each contender's peak memory over that of the loaded model, each in a process of its own."""
    found = {}
    for name in names:
        command = [sys.executable, "-m", "benchmarks.cams", "--device", str(device)]
        done = subprocess.run([*command, "--peak", name, architecture, str(batch)], capture_output=True, check=True)
        found[name] = float(json.loads(done.stdout))
    return found


def peak_here(name: str, architecture: str, batch: int, device: torch.device) -> float:
    """Return MiB at the peak of three runs over what was held before them."""
    from benchmarks.contenders import gradient_methods

    run = gradient_methods(architecture, random_images(batch, device))[name]
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        for _ in range(3):
            run()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    reset_peak()
    before = resident("VmRSS")
    for _ in range(3):
        run()
    return (resident("VmHWM") - before) / 1024


def resident(key: str) -> float:
    """Return this process's resident memory, now (``VmRSS``) or at its peak (``VmHWM``), in KiB."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith(key)))


def reset_peak() -> None:
    """Let the peak of resident memory count from now, where the system can."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def random_images(batch: int, device: torch.device) -> torch.Tensor:
    """Return noise of the models' size; their speed does not depend on what is seen."""
    return torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(1)).to(device)


def rank_correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the mean over images of Spearman's correlation of two maps b H W."""
    ranks = [maps.flatten(1).argsort(1).argsort(1).double() for maps in (a, b)]
    centred = [r - r.mean(1, keepdim=True) for r in ranks]
    return float(torch.nn.functional.cosine_similarity(*centred, dim=1).mean())


def machine(device: torch.device) -> str:
    """Return the machine in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} threads of a {platform.machine()} CPU"


if __name__ == "__main__":
    main()
