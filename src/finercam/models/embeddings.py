"""Label embeddings from a file in place of words: a tree of life's classes without encoding a million prompts again.

What is read: ``.npy`` with the embeddings (D C, or C D) and beside it a ``.json`` of the same name with
``[[seven ranks], common name]`` each, as TreeOfLife publishes them for BioCLIP (``txt_emb_species.npy``); or
``.parquet`` with a column ``emb`` and columns of ranks, as emb-explorer has them, in which several rows of one taxon
are averaged.
"""

from __future__ import annotations

import csv
import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from finercam.contrast.labels import Labels
from finercam.contrast.taxa import RANKS, Taxon, taxon
from finercam.contrast.taxonomy import Taxonomy
from finercam.contrast.taxonomy_files import tree_of_life
from finercam.errors import FinercamError, nearest
from finercam.models.classifier import Classifier
from finercam.models.finding import find_device
from finercam.models.grid import Grid
from finercam.models.passes import forward_pass
from finercam.models.text import load_text_image
from finercam.models.text_image import ZeroShot
from finercam.models.undisturbed import undisturbed

#: Classes whose embeddings are in memory twice at a time.
_AT_ONCE = 65536


@dataclass(frozen=True, eq=False)
class LabelEmbeddings:
    """Taxa and their embeddings, which need not be in memory.

    Attributes:
        taxa: in order.
        size: of an embedding, D.
        rows: given indices, their embeddings n D, of any length.
    """

    taxa: Sequence[Taxon]
    size: int
    rows: Callable[[NDArray[Any]], NDArray[Any]]


def embedded(
    spec: str | os.PathLike[str],
    file: str | os.PathLike[str],
    *,
    subset: str | os.PathLike[str] | None = None,
    layer: str | Sequence[str] | None = None,
    grid: Grid | None = None,
    device: str = "auto",
    pretrained: bool = True,
    revision: str | None = None,
) -> Classifier:
    """Make a classifier of a model of images and text, and label embeddings that its text tower made before.

    Its logits are ``scale * cosine(image, label)``, as ``finercam.models.text`` has them.
    The labels carry the taxonomy.

    Args:
        spec: as for ``finercam.models.text``.
        file: ``.npy`` or ``.parquet``; see the head of this file.
        subset: a CSV whose first column is a rank: only classes whose taxon of that rank is among its values are kept.
        layer, grid, device, pretrained, revision: as for ``finercam.load``.

    Raises:
        FinercamError: no such model or file, or the embeddings are not of this model's size.
    """
    found = read_embeddings(Path(file))
    kept = np.arange(len(found.taxa)) if subset is None else _subset(found.taxa, Path(subset))
    model, target = load_text_image(spec, device=device, pretrained=pretrained, revision=revision), find_device(device)
    noise = torch.zeros(1, 3, *model.preprocessing.size, device=target)
    with undisturbed(model.visual):
        width = int(forward_pass(model.visual, noise, "float32").shape[-1])
    if width != found.size:
        raise FinercamError(
            f"{os.fspath(file)!r} has embeddings of {found.size} numbers and {spec} makes {width}; give the file that "
            "was made with this model"
        )
    head = nn.utils.skip_init(nn.Linear, width, len(kept), bias=model.bias is not None, device=target)
    with torch.no_grad():
        for start in range(0, len(kept), _AT_ONCE):
            rows = torch.from_numpy(found.rows(kept[start : start + _AT_ONCE])).to(target)
            lengths = rows.norm(dim=1, keepdim=True)
            if not bool((lengths.isfinite() & (lengths > 0)).all()):
                raise FinercamError(f"{os.fspath(file)!r} has embeddings that are zero or not finite")
            torch.mul(rows / lengths, model.scale, out=head.weight[start : start + len(rows)])
        if model.bias is not None:
            head.bias.fill_(model.bias)
    taxa = [found.taxa[index] for index in kept.tolist()]
    return Classifier.from_parts(
        ZeroShot(model.visual, head.requires_grad_(False)).eval(),
        model.preprocessing,
        layer=layer,
        grid=grid,
        class_names=Labels([one.label or f"class {index}" for index, one in enumerate(taxa)], Taxonomy.of(taxa)),
        trained=False,
        name=os.fspath(spec),
    )


def read_embeddings(path: Path) -> LabelEmbeddings:
    """Return the label embeddings of a file; see the head of this module.

    Raises:
        FinercamError: it cannot be read, or holds something else.
    """
    if not path.is_file():
        raise FinercamError(f"there is no file {str(path)!r}; give label embeddings as .npy (with .json) or .parquet")
    if path.suffix.lower() == ".npy":
        return _from_npy(path)
    if path.suffix.lower() == ".parquet":
        return _from_parquet(path)
    raise FinercamError(
        f"{str(path)!r} is not a file of label embeddings; give .npy (with .json beside it) or .parquet"
    )


def _from_npy(path: Path) -> LabelEmbeddings:
    names = path.with_suffix(".json")
    if not names.is_file():
        raise FinercamError(f"there is no file {str(names)!r}; it must have the names of the embeddings in {path.name}")
    try:
        taxa = list(tree_of_life(json.loads(names.read_text(encoding="utf-8"))))
    except (OSError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise FinercamError(f"{str(names)!r} is not a list of [[seven ranks], common name] ({error})") from error
    try:
        # Left on disk: only the rows that are kept are read, a part at a time.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FinercamError(f"{str(path)!r} cannot be read as .npy: {error}") from error
    if array.ndim != 2 or array.dtype.kind != "f" or len(taxa) not in array.shape or not taxa:
        raise FinercamError(
            f"{str(path)!r} is an array of {array.dtype} of shape {array.shape}, and {names.name} has {len(taxa)} "
            "names; there must be one embedding for each name"
        )
    if array.shape[1] == len(taxa):
        return LabelEmbeddings(taxa, array.shape[0], lambda at: np.array(_columns(array, at).T, np.float32, order="C"))
    return LabelEmbeddings(taxa, array.shape[1], lambda at: np.array(array[at], np.float32, order="C"))


def _columns(array: NDArray[Any], at: NDArray[Any]) -> NDArray[Any]:
    # A run of columns is read in long pieces, single ones one by one.
    run = len(at) and at[-1] - at[0] == len(at) - 1
    return array[:, at[0] : at[-1] + 1] if run else array[:, at]


def _from_parquet(path: Path) -> LabelEmbeddings:
    import pyarrow as pa
    import pyarrow.parquet as pq

    places: dict[Taxon, int] = {}
    sums: list[NDArray[Any]] = []
    try:
        file = pq.ParquetFile(path)
        columns = [name for name in ("emb", *RANKS, "common_name") if name in file.schema_arrow.names]
        if "emb" not in columns or not set(columns) & set(RANKS):
            raise FinercamError(
                f"{str(path)!r} has the columns {', '.join(file.schema_arrow.names)}; label embeddings have emb and "
                f"{', '.join(RANKS)}, as far as they are known"
            )
        for batch in file.iter_batches(columns=columns):
            for row in batch.to_pylist():
                one = taxon([row.get(rank) for rank in RANKS], row.get("common_name"))
                vector = np.asarray(row["emb"], np.float64)
                if not one.scientific:
                    continue
                unit = vector / max(float(np.linalg.norm(vector)), 1e-300)
                place = places.setdefault(one, len(sums))
                if place == len(sums):
                    sums.append(unit)
                else:
                    sums[place] = sums[place] + unit
        rows = np.stack(sums).astype(np.float32)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        if isinstance(error, FinercamError):
            raise
        raise FinercamError(f"{str(path)!r} cannot be read as label embeddings: {error}") from error
    return LabelEmbeddings(list(places), rows.shape[1], lambda at: rows[at])


def _subset(taxa: Sequence[Taxon], path: Path) -> NDArray[Any]:
    """Return the classes whose taxon is in the first column of a CSV, whose header is a rank."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line[0].strip() for line in csv.reader(file) if line and line[0].strip()]
    except FileNotFoundError:
        raise FinercamError(f"there is no file {str(path)!r}; give a CSV whose first column is a rank") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FinercamError(f"{str(path)!r} cannot be read as CSV: {error}") from error
    rank = lines[0].casefold() if lines else ""
    if rank not in RANKS:
        raise FinercamError(f"{str(path)!r} begins with {rank!r}; its first column must be a rank: {', '.join(RANKS)}")
    level, wanted = RANKS.index(rank), {name.casefold(): name for name in lines[1:]}
    own = [one.ranks[level].casefold() for one in taxa]
    kept = np.array([index for index, name in enumerate(own) if name and name in wanted], dtype=np.int64)
    missing = [wanted[name] for name in wanted.keys() - set(own)]
    if not len(kept):
        known = list(dict.fromkeys(one.ranks[level] for one in taxa[:100_000] if one.ranks[level]))
        hint = nearest(missing[0], known) if missing else "it has no values"
        raise FinercamError(f"none of the {rank} names in {str(path)!r} are among the label embeddings'; {hint}")
    if missing:
        shown = ", ".join(sorted(missing)[:5])
        warnings.warn(f"{len(missing)} of {len(wanted)} in {path.name} are not among the labels: {shown}", stacklevel=3)
    return kept
