"""Fair timing on a noisy machine: the contenders take turns, and what is reported are ratios within a turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def take_turns(
    contenders: Mapping[str, Callable[[], object]], device: torch.device, rounds: int = 7, warm_up: int = 1
) -> dict[str, list[float]]:
    """Return seconds per contender and round, after ``warm_up`` rounds that are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(warm_up + rounds):
        for name, run in contenders.items():
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(seconds: Mapping[str, list[float]], base: str) -> dict[str, tuple[float, float, float]]:
    """Return (least, median, greatest) ratio to the base, turn by turn."""
    found = {}
    for name, own in seconds.items():
        each = sorted(mine / theirs for mine, theirs in zip(own, seconds[base], strict=True))
        found[name] = (each[0], statistics.median(each), each[-1])
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
