"""Parquet files that know whose they are and that nothing in them was changed.

A part's file says in its metadata which part of which run it is, and holds the SHA-256 of all its bytes, its own place
filled with zeros: any bit that flips, anywhere, is found, and so is a part of another run, or one under another's name.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

_KEY = b"finercam.sha256"
_RUN, _PART = b"finercam.run", b"finercam.part"
_BLANK = b"0" * 64
#: The key, what Parquet puts between a key and its value, and the value.
_SEAL = re.compile(re.escape(_KEY) + rb"[\x00-\x7f]{1,4}?([0-9a-f]{64})", re.DOTALL)


@dataclass(frozen=True)
class Sealed:
    """A file that is whole.

    Attributes:
        run: the hash of what decides its run's numbers.
        part: its number.
        table: what it holds.
    """

    run: str
    part: int
    table: pa.Table


def seal(table: pa.Table, run: str, part: int) -> bytes:
    """Return a table as the content of a Parquet file that says what it is; its own metadata is kept.

    Args:
        table: the rows.
        run: the hash of what decides the run's numbers.
        part: which part of it this is.
    """
    own = {_RUN: run, _PART: str(part), _KEY: _BLANK}
    buffer = io.BytesIO()
    marked = table.replace_schema_metadata({**(table.schema.metadata or {}), **own})
    pq.write_table(marked, buffer, compression="zstd")
    content = buffer.getvalue()
    start = _place(content)
    assert start is not None
    return content[:start] + hashlib.sha256(content).hexdigest().encode() + content[start + len(_BLANK) :]


def unseal(content: bytes, columns: list[str] | None = None) -> Sealed | None:
    """Return what a file holds (some columns, or all), or ``None`` if a bit of it was changed or it has no seal."""
    start = _place(content)
    if start is None:
        return None
    end = start + len(_BLANK)
    blank = hashlib.sha256(content[:start])
    blank.update(_BLANK)
    blank.update(memoryview(content)[end:])
    if blank.hexdigest().encode() != content[start:end]:
        return None
    file = pq.ParquetFile(pa.BufferReader(content))
    told = file.metadata.metadata or {}
    return Sealed(told.get(_RUN, b"").decode(), int(told.get(_PART, b"-1")), file.read(columns=columns))


def _place(content: bytes) -> int | None:
    found = list(_SEAL.finditer(content))
    # The metadata are at the file's end; nothing before them can be taken for the seal.
    return found[-1].start(1) if found else None
