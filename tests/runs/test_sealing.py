"""Any bit of a part that flips is found, and whose part it is is known."""

from __future__ import annotations

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finercam.runs.run_folder import WITHOUT_ROWS
from finercam.runs.sealing import seal, unseal

RUN = "5e" * 32


@pytest.fixture(scope="module")
def table() -> pa.Table:
    generator = random.Random(0)
    columns = {
        "id": list(range(200)),
        "key": [f"birds/{number}.png" for number in range(200)],
        "deletion": [generator.random() for _ in range(200)],
        "curve": [[generator.random() for _ in range(5)] for _ in range(200)],
        "error": [None] * 200,
    }
    return pa.table(columns).replace_schema_metadata({WITHOUT_ROWS: b"[3, 4]"})


def test_what_is_sealed_is_read_again_here_and_by_anybody(table: pa.Table, tmp_path: object) -> None:
    content = seal(table, RUN, 7)
    found = unseal(content)
    assert found is not None
    assert (found.run, found.part) == (RUN, 7)
    assert found.table.equals(table)
    assert found.table.schema.metadata[WITHOUT_ROWS] == b"[3, 4]"
    some = unseal(content, ["id"])
    assert some is not None
    assert some.table.column_names == ["id"]
    assert pq.read_table(pa.BufferReader(content)).equals(table)
    assert seal(table, RUN, 7) == content


@pytest.mark.parametrize("seed", range(4))
def test_every_flipped_bit_is_found(table: pa.Table, seed: int) -> None:
    """1,000 of them, anywhere: in values, page headers, the footer, the seal itself."""
    content, generator = seal(table, RUN, 7), random.Random(seed)
    for place in generator.sample(range(8 * len(content)), 1000):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        assert unseal(bytes(damaged)) is None, place


def test_what_is_cut_short_added_to_or_not_sealed(table: pa.Table) -> None:
    content = seal(table, RUN, 7)
    for other in (content[:-1], content[:100], content + b"x", b"", b"PAR1", content[4:]):
        assert unseal(other) is None
    plain = pa.BufferOutputStream()
    pq.write_table(table, plain)
    assert unseal(plain.getvalue().to_pybytes()) is None


def test_a_value_that_looks_like_a_seal(table: pa.Table) -> None:
    looks = pa.table({"id": [0], "key": ["finercam.sha256\x01" + "0" * 64]})
    found = unseal(seal(looks, RUN, 0))
    assert found is not None
    assert found.table.equals(looks)
