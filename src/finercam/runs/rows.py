"""The rows of a run, read from its folder as far as they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pd

from finercam.errors import FinercamError
from finercam.runs.run_folder import ROWS, RunFolder, part_name
from finercam.runs.storage import Folder

Record = TypeVar("Record")


@dataclass(frozen=True)
class Rows:
    """The rows of a run, complete or not.

    Args:
        out: the run's folder, or a URI.
    """

    out: str

    @cached_property
    def described(self) -> dict[str, Any]:
        """What decides the run's numbers, as ``study``, ``settings``, ``model``, ``data``, ``classes`` and more.

        Raises:
            FinercamError: the folder holds no run.
        """
        found = RunFolder(Folder(self.out)).fingerprint
        if found is None or "study" not in found:
            raise FinercamError(f"{self.out!r} holds no run of a study; give the --out folder of one")
        return found

    @cached_property
    def dataset(self) -> pd.Dataset:
        """All parts that are there, unread.

        Raises:
            FinercamError: there are none, or one of them is not this run's.
        """
        run = RunFolder(Folder(self.out))
        paths = [run.folder.path(f"{ROWS}/{part_name(part)}") for part in sorted(run.done())]
        if not paths:
            raise FinercamError(f"{self.out!r} holds no rows yet")
        return pd.dataset(paths, filesystem=run.folder.filesystem)

    def table(self, columns: Sequence[str] | None = None, where: Any = None) -> pa.Table:
        """Return columns (all if left out) of the rows that a pyarrow expression picks, failed items' left out."""
        fine = pc.field("error").is_null()
        return self.dataset.to_table(
            columns=None if columns is None else list(columns), filter=fine if where is None else fine & where
        )

    def records(self, kind: type[Record], where: Any = None) -> list[Record]:
        """Return rows as records of a dataclass whose fields are columns, failed items' left out."""
        columns = [field.name for field in fields(kind)]  # type: ignore[arg-type]
        return [kind(**line) for line in self.table(columns, where).to_pylist()]

    @property
    def photos(self) -> int:
        """How many items the manifest has."""
        return int(self.described["data"]["photos"])

    @cached_property
    def failed(self) -> tuple[tuple[str, str], ...]:
        """The key of each item that failed, and why."""
        found = self.dataset.to_table(columns=["key", "error"], filter=pc.field("error").is_valid())
        return tuple(zip(found["key"].to_pylist(), found["error"].to_pylist(), strict=True))
