"""``python -m fuzz``: run many cases in several processes, and say what was violated.

python -m fuzz --cases 10000 --workers 2
python -m fuzz --kind options --first 37 --cases 1     # one case again
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

#: Of a hundred cases, how many are of each kind.
SHARES = {"pictures": 32, "annotations": 40, "models": 12, "runs": 8, "options": 8}


def planned(cases: int, first: int, kind: str | None) -> list[tuple[str, int]]:
    """Return the cases, kinds mixed, each kind's numbered from ``first`` on."""
    shares = SHARES if kind is None else {kind: 100}
    counts = {one: round(cases * share / 100) for one, share in shares.items()}
    placed = [((number + 0.5) / count, one, first + number) for one, count in counts.items() for number in range(count)]
    return [(one, number) for _, one, number in sorted(placed)]


def work(todo: list[tuple[str, int]], seconds: float, done: multiprocessing.Queue[tuple[str, int, str]]) -> None:
    """Run cases until they or the seconds are over."""
    for kind, number, what in run_all(todo, seconds):
        done.put((kind, number, what))
    done.put(("", 0, ""))


def run_all(todo: list[tuple[str, int]], seconds: float) -> Iterator[tuple[str, int, str]]:
    """Yield each case that was run with what was violated, or nothing."""
    root = Path(tempfile.mkdtemp(prefix="finercam-fuzz-"))
    os.environ |= {"FINERCAM_CACHE": str(root / "cache"), "HF_HUB_OFFLINE": "1", "COLUMNS": "100"}
    # What libraries warn of is not this package's to say.
    warnings.simplefilter("ignore")
    import torch

    from fuzz.cases import run_case
    from fuzz.world import World

    torch.set_num_threads(1)
    world, started = World(root / "world"), time.monotonic()
    # What cases are made from is not made on a case's time.
    world.build({kind for kind, _ in todo})
    try:
        for kind, number in todo:
            if time.monotonic() - started > seconds:
                return
            folder = root / "case"
            folder.mkdir(parents=True)
            try:
                run_case(kind, number, world, folder)
                yield kind, number, ""
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                cause = error.__cause__ or error
                places = [
                    f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(cause.__traceback__)
                ]
                yield kind, number, f"{type(error).__name__}: {str(error)[:600]} [{' '.join(places[-6:])}]"
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main() -> None:
    """Run the cases and end with 1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each kind")
    parser.add_argument("--kind", choices=sorted(SHARES))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    given = parser.parse_args()
    faulthandler.enable()
    todo = planned(given.cases, given.first, given.kind)
    context = multiprocessing.get_context("spawn")
    done: multiprocessing.Queue[tuple[str, int, str]] = context.Queue()
    parts = [todo[number :: given.workers] for number in range(given.workers)]
    processes = [context.Process(target=work, args=(part, given.seconds, done)) for part in parts]
    for process in processes:
        process.start()
    ran: Counter[str] = Counter()
    violated: list[str] = []
    running = len(processes)
    while running:
        try:
            kind, number, what = done.get(timeout=5)
        except Exception:
            if any(process.exitcode not in (None, 0) for process in processes):
                violated.append("a process died")
                break
            continue
        if not kind:
            running -= 1
            continue
        ran[kind] += 1
        if what:
            violated.append(f"{kind} {number}: {what}")
            print(violated[-1], flush=True)
    for process in processes:
        process.join()
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(ran.items()))
    print(f"{sum(ran.values())} cases ({counts}); {len(violated)} violations")
    sys.exit(1 if violated else 0)
