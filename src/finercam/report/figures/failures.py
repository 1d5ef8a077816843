"""The photos on which the comparison loses most, found by the numbers of a run: the paper's Fig. 10."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow.compute as pc

from finercam.contrast.contrast import Contrast, exactly
from finercam.contrast.labels import full_name
from finercam.errors import FinercamError, check_between
from finercam.models import Classifier
from finercam.report.album import Album, answers, last_part
from finercam.report.explained import briefly, model_name, named
from finercam.report.figure import figure
from finercam.report.grid import draw_grid, first_cells, map_cell
from finercam.report.printing import ONE_COLUMN, Figure, finished
from finercam.report.runs import columns_in, meant, method_in, only_block
from finercam.runs.rows import Rows
from finercam.studies.evaluate.contrasts import PLAIN_NAME, swept
from finercam.studies.evaluate.tables import method_title

METRIC = "relative-drop@0.05"


@figure("failures", "Photos on which the comparison loses most", paper="10")
def failures(
    runs: Sequence[str],
    classifier: Classifier,
    album: Album,
    *,
    method: str = "",
    metric: str = METRIC,
    count: int = 4,
    width: float = ONE_COLUMN,
) -> Figure:
    """Draw the photos on which the finer map is worse than the plain one by most, with both numbers.

    Args:
        runs: one evaluation of plain and finer maps.
        classifier, album: what was evaluated: maps are made again, for rows hold numbers only.
        method: its spec; the run's first if left out.
        metric: by which photos are found.
        count: how many at most.
        width: in millimetres.

    Raises:
        FinercamError: the run lacks the metric or the method, the comparison loses on no photo, or a photo is not in
            the album.
    """
    check_between("count", count, 1, 20)
    block = only_block(runs, "failures")
    how = method_in(block, method)
    (column,) = columns_in(block, [metric])
    finer = next((one.contrast for one in block.lines if one.method == how and swept(one.contrast)), None)
    if finer is None or not column.better:
        raise FinercamError(f"the run has no finer map of {how}, or {metric} no better side; failures are losses by it")
    sign = 1 if column.better == "higher" else -1
    before, after = (_numbers(runs[0], how, contrast, metric) for contrast in (PLAIN_NAME, finer))
    changes = {key: sign * (after[key] - before[key]) for key in after.keys() & before.keys()}
    worst = [key for key, change in sorted(changes.items(), key=lambda one: (one[1], one[0])) if change < 0][:count]
    if not worst:
        raise FinercamError(f"by {metric} the comparison loses on none of {len(changes)} photos; there is no failure")
    strength = swept(finer)
    assert strength is not None
    explained = Rows(runs[0]).described["plan"]["target"]
    contrast = Contrast(gamma=strength[0], references=strength[1])
    found = [answers(classifier, shot, [(contrast, how)])[0] for shot in album.keyed(worst, explained == "label")]
    rows, said = first_cells(found, album), []
    for key, row, one in zip(worst, rows, found, strict=True):
        top = int(one.logits.argmax())
        right = "correctly classified" if top == one.target else f"says {named(one, top)}"
        row[0] = replace(row[0], lines=[*row[0].lines, "correct" if top == one.target else f"says {briefly(one, top)}"])
        over = ("plain", "finer") if row is rows[0] else ("", "")
        numbers = [f"{column.title} {value:+.3f}" for value in (before[key], after[key])]
        row += [map_cell(one, over[0], [numbers[0]], saliency=one.plain), map_cell(one, over[1], [numbers[1]])]
        said.append(f"{last_part(key)}: {full_name(one.target_name)}, {right}, {numbers[0]} to {after[key]:+.3f}")
    lost = sum(change < 0 for change in changes.values())
    return finished(
        draw_grid(rows, width),
        f"{len(worst)} of {len(changes)} photos, those on which the comparison (gamma {exactly(contrast.strength)}, "
        f"{contrast.references} references) loses most {column.title} against the plain map of {method_title(how)}; it "
        f"loses on {lost}. {model_name(classifier.name)}. {'; '.join(said)}.{meant(block, [column])}",
    )


def _numbers(run: str, method: str, contrast: str, metric: str) -> dict[str, float]:
    chosen = (pc.field("method") == method) & (pc.field("contrast") == contrast) & pc.field(metric).is_valid()
    table = Rows(run).table(["key", metric], chosen)
    return dict(zip(table["key"].to_pylist(), table[metric].to_pylist(), strict=True))
