"""Running a study's parts on a Ray cluster, with the same worker that runs them on one machine.

What Ray Data is trusted with is the going round: handing parts to processes that each hold a model, starting those
again when their machine dies. What is not left to it is keeping account: a row of its data set is one whole part, a
part's rows are written by our own commit, and what is there already is never asked for. So a block that is run twice
writes the same file twice, and one that is dropped is missing in the final check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from finercam.errors import FinercamError

#: Ray's data sets are made of blocks, one task each; more than this many would only burden its scheduler.
_MOST_BLOCKS = 10_000


def run_parts(
    actor: type,
    arguments: Mapping[str, Any],
    parts: Sequence[int],
    *,
    actors: int | None = None,
    address: str | None = None,
    gpus: float | None = None,
) -> Iterator[dict[str, Any]]:
    """Run parts on a cluster and yield what comes back for each, as it comes.

    Args:
        actor: a class; made once per process with ``arguments``, then called with ``{"part": array of one number}``.
            What it returns is a mapping of arrays with one value each.
        arguments: sent to every process.
        parts: which parts.
        actors: how many processes; as many as there are GPUs, or without any processors, if left out.
        address: of a running cluster; a local one is started, and stopped at the end, if left out.
        gpus: for each process; 1 if the cluster has GPUs.

    Raises:
        FinercamError: Ray is not installed, or a process failed with an error of its own.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise FinercamError("the ray engine needs Ray; pip install 'finercam[ray]'") from error
    started = not ray.is_initialized()
    if started:
        ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    try:
        resources = ray.cluster_resources()
        there = resources.get("GPU", 0)
        each = (1.0 if there else 0.0) if gpus is None else gpus
        most = int(there // each) if each else int(resources.get("CPU", 1))
        count = max(1, min(most if actors is None else actors, len(parts)))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        work = ray.data.from_items(
            [{"part": part} for part in parts], override_num_blocks=min(len(parts), _MOST_BLOCKS)
        ).map_batches(
            actor,
            fn_constructor_kwargs=dict(arguments),
            compute=ray.data.ActorPoolStrategy(size=count),
            batch_size=1,
            num_gpus=each or None,
            num_cpus=None if each else 1,
        )
        yield from work.iter_rows()
    except ray.exceptions.RayError as error:
        raise FinercamError(f"a process of the cluster failed: {_cause(error)}") from error
    finally:
        if started:
            ray.shutdown()


def _cause(error: BaseException) -> str:
    """Return the innermost error's own words."""
    inner: Callable[[BaseException], BaseException | None] = lambda e: getattr(e, "cause", None) or e.__cause__  # noqa: E731
    seen = [error]
    while (deeper := inner(seen[-1])) is not None and isinstance(deeper, BaseException) and deeper not in seen:
        seen.append(deeper)
    lines = [line for line in str(seen[-1]).strip().splitlines() if line.strip()]
    return lines[-1] if lines else type(seen[-1]).__name__
