"""Many pictures of the aviary at once, drawn by several processes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from finercam.aviary.samples import picture

SIZE = 128
"""Side of the pictures that the embedded classifier is trained on."""

Images = UInt8[np.ndarray, "n size size 3"]
Labels = Int64[np.ndarray, " n"]


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        stage: ``draw`` or ``train``.
        done, total: pictures drawn, or steps taken.
        seconds_left: of this stage, at the pace so far.
        loss: cross-entropy in nats, a running mean; NaN while drawing.
        accuracy: share of training pictures classified correctly, 0 to 1, a running mean; NaN while drawing.
    """

    stage: str
    done: int
    total: int
    seconds_left: float
    loss: float = math.nan
    accuracy: float = math.nan


def draw(
    split: str,
    n: int,
    seed: int,
    *,
    biased: bool = False,
    workers: int | None = None,
    report: Callable[[Progress], None] | None = None,
) -> tuple[Images, Labels]:
    """Draw the first n pictures of a split into memory, (n, 128, 128, 3), with their labels, (n,).

    Args:
        split, n, seed, biased: name the pictures.
        workers: processes that draw. A few pictures are drawn here; else as many processes as there are cores.
        report: called after every chunk of pictures.
    """
    images = np.empty((n, SIZE, SIZE, 3), np.uint8)
    labels = np.empty(n, np.int64)
    chunks = [(split, start, min(start + 256, n), seed, biased) for start in range(0, n, 256)]
    workers = workers or (1 if n <= 1024 else os.cpu_count() or 1)
    started = time.perf_counter()
    with mapper(workers) as mapped:
        for start, some, theirs in mapped(_draw_chunk, chunks):
            stop = start + len(theirs)
            images[start:stop], labels[start:stop] = some, theirs
            if report:
                report(Progress("draw", stop, n, time_left(started, stop, n)))
    return images, labels


def _draw_chunk(chunk: tuple[str, int, int, int, bool]) -> tuple[int, Images, Labels]:
    split, start, stop, seed, biased = chunk
    pairs = [picture(split, index, seed, biased=biased, size=SIZE) for index in range(start, stop)]
    return start, np.stack([image for image, _ in pairs]), np.array([label for _, label in pairs], np.int64)


@contextmanager
def mapper(workers: int) -> Iterator[Callable[..., Any]]:
    """Give a ``map`` that keeps the order, over so many processes."""
    if workers == 1:
        yield map
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Started afresh, not forked: torch's threads do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield pool.map


def time_left(started: float, done: int, total: int) -> float:
    """Return the seconds that the rest will take at the speed so far; ``started`` by ``time.perf_counter``."""
    return (time.perf_counter() - started) / done * (total - done)
