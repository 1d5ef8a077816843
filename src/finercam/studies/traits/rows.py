"""What carries the difference on one photo, and how it is kept as a row of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from finercam.runs.rows import Rows

#: Cells of a kept map each way, over the whole of the model's input whatever its shape.
HEAT = 28

_NUMBER, _NUMBERS = pa.float64(), pa.list_(pa.float32())
_PATCH = pa.struct([("box", pa.list_(pa.int32())), ("share", _NUMBER), ("features", _NUMBERS)])
SCHEMA = pa.schema(
    [
        ("other", pa.int32()),
        ("correct", pa.bool_()),
        ("confidence", _NUMBER),
        ("margin", _NUMBER),
        ("empty", pa.bool_()),
        ("places", pa.list_(pa.string())),
        *((name, pa.list_(_NUMBER)) for name in ("shares", "plain", "even", "falls", "elsewhere")),
        ("off", _NUMBER),
        ("off_even", _NUMBER),
        ("heat", _NUMBERS),
        ("box", _NUMBERS),
        ("points", _NUMBERS),
        ("features", _NUMBERS),
        ("patches", pa.list_(_PATCH)),
    ]
)


@dataclass(frozen=True, eq=False)
class Carried:
    """One photo of class c, asked about c against d.

    Saliency is the contrast's. Shares are of all of it, 0 to 1; places may overlap, so theirs need not add up to 1.

    Attributes:
        id: number of the photo in the run.
        key: of the photo in its data set.
        target, other: the classes c and d of the model.
        correct: whether c is the top class.
        confidence: c's probability.
        margin: ``y_c - y_d``.
        empty: whether there is no saliency; shares are then NaN.
        places: those of the object that are in sight, and of each
        shares: its share of the saliency,
        plain: its share of the saliency of c alone (gamma 0),
        even: its share of a map that lies evenly over the object, at the map's resolution: what its area would give.
        off: the share off the object, beyond ``CELLS_BEYOND`` (``studies.places``); NaN where its outline is not known.
        off_even: the share that a map evenly over the whole input has there.
        heat: the saliency in ``HEAT`` x ``HEAT`` cells over the model's input, row by row, adding up to 1; or zeros.
        box: of the object, x0 y0 x1 y1 in fractions of the input's width and height; empty where it is not known.
        points: x y of each of the data set's parts, in fractions of the input, NaN where out of sight; or empty.
        features: what the target layer shows where the saliency lies: the mean of its channels weighted by the
            saliency, of length 1; empty where there is no saliency.
        patches: connected regions with the most saliency, most first: ``box`` x0 y0 x1 y1 in the photo's pixels,
            ``share``, and ``features`` as above, within the patch.
        falls: of each place by how much the margin falls as it is painted over with what surrounds it, and
        elsewhere: as a patch of its shape somewhere else on the object is: what painting over does anyway.
    """

    id: int
    key: str
    target: int
    other: int
    correct: bool
    confidence: float
    margin: float
    empty: bool
    places: Sequence[str]
    shares: Sequence[float]
    plain: Sequence[float]
    even: Sequence[float]
    off: float
    off_even: float
    heat: Sequence[float]
    box: Sequence[float]
    points: Sequence[float]
    features: Sequence[float]
    patches: Sequence[Mapping[str, Any]]
    falls: Sequence[float] = ()
    elsewhere: Sequence[float] = ()


def read_carried(rows: Rows, most: int | None = None) -> list[Carried]:
    """Return what was found on the photos of a run, in its order.

    Args:
        rows: of the run.
        most: of each class against each other one as many photos at most, spread evenly over the run; all if left out.
            Those that are not returned are not read whole: a photo's row holds some thousand numbers.
    """
    where = None
    if most is not None:
        asked: dict[tuple[int, int], list[int]] = {}
        for one in rows.table(["id", "target", "other"]).sort_by("id").to_pylist():
            asked.setdefault((one["target"], one["other"]), []).append(one["id"])
        spread = [
            ids[len(ids) * at // most] if len(ids) > most else ids[at]
            for ids in asked.values()
            for at in range(min(most, len(ids)))
        ]
        where = pc.field("id").isin(spread)
    return sorted(rows.records(Carried, where), key=lambda one: one.id)
