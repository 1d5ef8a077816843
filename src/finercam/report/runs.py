"""What figures read of the folders of runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from finercam.errors import FinercamError
from finercam.metrics.metric import Column
from finercam.report.explained import model_name
from finercam.report.folder import data_name
from finercam.report.measured import meanings
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
    return one_line(data_name(block.data))


def meant(block: Block, columns: Sequence[Column]) -> str:
    """Return a sentence that ends a caption: what columns are, each definition behind the titles that have it."""
    known, titles = meanings(block), defaultdict[str, list[str]](list)
    for column in columns:
        titles[known.get(column.heading, "")].append(column.title)
    said = "; ".join(f"{', '.join(own)}: {text.rstrip('.')}" for text, own in titles.items() if text)
    return f" {said}." if said else ""


def titled(block: Block) -> Block:
    """Return a table whose model and data are named as they are shown."""
    return replace(block, model=model_name(block.model), data=data_name(block.data))
