"""What figures read of the folders of runs."""

from __future__ import annotations

from collections.abc import Sequence

from finercam.errors import FinercamError
from finercam.metrics.metric import Column
from finercam.report.explained import model_name
from finercam.report.printing import one_line
from finercam.studies.evaluate.contrasts import PLAIN_NAME, swept
from finercam.studies.evaluate.tables import Block, read_block


def only_block(runs: Sequence[str], name: str) -> Block:
    """Return the table of the one run that a figure is drawn from.

    Raises:
        FinercamError: there are several, or it is not an evaluation.
    """
    if len(runs) != 1:
        raise FinercamError(f"figure {name!r} is drawn from one run, not {len(runs)}")
    return read_block(runs[0])


def method_in(block: Block, method: str) -> str:
    """Return a method of a run, its first if none is named.

    Raises:
        FinercamError: the run does not have it.
    """
    there = list(
        dict.fromkeys(line.method for line in block.lines if line.contrast == PLAIN_NAME or swept(line.contrast))
    )
    if not there:
        raise FinercamError(f"the run of {block.model} on {block.data} has no method that could be shown")
    if method and method not in there:
        raise FinercamError(f"the run has no method {method!r}; it has {', '.join(there)}")
    return method or there[0]


def columns_in(block: Block, metrics: Sequence[str]) -> list[Column]:
    """Return columns of a run by name.

    Raises:
        FinercamError: the run does not have one.
    """
    there = {column.spec: column for column in block.columns}
    missing = next((spec for spec in metrics if spec not in there), None)
    if missing is not None:
        raise FinercamError(f"the run has no metric {missing!r}; evaluate with --metric {','.join(metrics)}")
    return [there[spec] for spec in metrics]


def data_of(block: Block) -> str:
    """Return a data set's name as it is shown: of a folder only the last part."""
    head, colon, place = block.data.rpartition(":")
    return one_line(f"{head}{colon}{model_name(place)}" if colon else block.data)
