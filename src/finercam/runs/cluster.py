"""Running a study's parts on a Ray cluster, with the same worker that runs them on one machine.

What Ray Data is trusted with is the going round: handing parts to processes that each hold a model, starting those
again when their machine dies. What is not left to it is keeping account: a row of its data set is one whole part, a
part's rows are written by our own commit, and what is there already is never asked for. So a block that is run twice
writes the same file twice, and one that is dropped is missing in the final check.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finercam.errors import FinercamError
from finercam.runs.local import most_workers

#: Ray's data sets are made of blocks, one task each; more than this many would only burden its scheduler.
_MOST_BLOCKS = 10_000
#: Bytes of shared memory for a local cluster: what goes through it is numbers of parts. Ray's own choice is a third of
#: the memory, which containers do not give.
_SHARED_MEMORY = 200_000_000

#: What is known of a part that was run: numbers or text, by name.
Answer = Mapping[str, Any]


def run_parts(
    make: Callable[[], Callable[[int], Answer]],
    parts: Sequence[int],
    *,
    actors: int | None = None,
    address: str | None = None,
    gpus: float | None = None,
) -> Iterator[Answer]:
    """Run parts on a cluster and yield what comes back for each, as it comes.

    Args:
        make: sent to every process, which calls it once; the result is called with the number of a part, commits that
            part's rows and returns what is to be known of it, of plain types.
        parts: which parts.
        actors: how many processes; as many as there are GPUs, or without any processors, if left out.
        address: of a running cluster; that of ``RAY_ADDRESS`` if left out, and without one a cluster of this machine
            alone, which is started and stopped.
        gpus: for each process; 1 if the cluster has GPUs.

    Raises:
        FinercamError: Ray is not installed, there is no cluster at the address, or a process failed.
    """
    with _connected(address, actors, gpus) as ray:
        resources = ray.cluster_resources()
        each = (1.0 if resources.get("GPU", 0) else 0.0) if gpus is None else gpus
        most = int(resources.get("GPU", 0) // each) if each else int(resources.get("CPU", 1))
        count = max(1, min(most if actors is None else actors, len(parts)))
        work = ray.data.from_items(
            [{"part": part} for part in parts], override_num_blocks=min(len(parts), _MOST_BLOCKS)
        ).map_batches(
            _Process,
            fn_constructor_kwargs={"make": make},
            compute=ray.data.ActorPoolStrategy(size=count),
            batch_size=1,
            num_gpus=each or None,
            num_cpus=None if each else 1,
        )
        try:
            for row in work.iter_rows():
                if row["error"]:
                    raise FinercamError(row["error"])
                yield json.loads(row["answer"])
        except ray.exceptions.RayError as error:
            said = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            raise FinercamError(f"a process of the cluster failed: {said[-1].strip()}") from error


class _Process:
    """What Ray holds in each process: the worker, made when the first part comes.

    An error that the user can put right is handed back as an answer. Raised, it would be taken for a failing machine
    where the worker is made, and be tried again without end.
    """

    def __init__(self, make: Callable[[], Callable[[int], Answer]]) -> None:
        self._make = make
        self._run: Callable[[int], Answer] | None = None

    def __call__(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        answers, errors = [], []
        for part in batch["part"].tolist():
            try:
                if self._run is None:
                    self._run = self._make()
                answers.append(json.dumps(self._run(part)))
                errors.append("")
            except FinercamError as error:
                answers.append("")
                errors.append(str(error))
        return {"answer": np.array(answers), "error": np.array(errors)}


@contextmanager
def _connected(address: str | None, actors: int | None, gpus: float | None) -> Iterator[Any]:
    """Give the module ``ray``, connected to a cluster; what was connected or started here is undone."""
    # Nothing is sent home, and what Ray's native part has to say is in its logs.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise FinercamError("the ray engine needs Ray; pip install 'ray[data]'") from error
    if ray.is_initialized():
        yield ray
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {}
    if where == "local":
        if actors is not None and actors > most_workers():
            raise FinercamError(f"workers is {actors}; give 1 to {most_workers()} on this machine")
        options = {"include_dashboard": False, "object_store_memory": _SHARED_MEMORY}
        if actors is not None and not gpus:
            # Each takes one; where more are wanted than there are processors, they share.
            options["num_cpus"] = max(actors, os.cpu_count() or 1)
    _reach(where)
    on_stop = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=where, log_to_driver=False, logging_level="ERROR", **options)
    except (OSError, RuntimeError, ValueError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise FinercamError(f"no Ray cluster at {where!r}: {said}") from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)
    # Ray takes the signal that stops a process for itself.
    if on_stop is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_stop)
    try:
        yield ray
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Raise unless something answers at ``HOST:PORT``: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise FinercamError(f"no Ray cluster at {address!r}: {error}") from error
