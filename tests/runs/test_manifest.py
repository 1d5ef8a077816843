"""The list of photos of a run."""

import tracemalloc

import pyarrow.parquet as pq
import pytest

from finercam.data.dataset import Item
from finercam.errors import FinercamError
from finercam.runs import manifest as manifests
from finercam.runs.manifest import Manifest
from finercam.runs.storage import Folder

ITEMS = [
    Item("a/1.png", "/photos/a/1.png", 0, (1.5, 2.0, 30.0, 40.25), "/masks/1.png", ((0.5, 1.5), None, (3.0, 4.0))),
    Item("a/2 ü.png", "s3://photos/a/2 ü.png", 0),
    Item("b/3.png", "/photos/b/3.png", 2, None, None, (None, None)),
    Item("b/4.png", "/photos/b/4.png", 1, (0.1, 0.2, 0.3, 1 / 3)),
    Item("b/5.png", "/photos/b/5.png", 1, part_mask="/masks/b/5/"),
]
TARGETS = [7, -1, 3]


def test_what_is_written_is_read_part_by_part(tmp_path):
    folder = Folder(str(tmp_path))
    summary = manifests.write(folder, iter(ITEMS), TARGETS, 2)
    found = Manifest(folder)
    assert (len(found), found.parts, [found.size(part) for part in range(3)]) == (5, 3, [2, 2, 1])
    entries = [entry for part in range(3) for entry in found.part(part)]
    assert [entry.id for entry in entries] == [0, 1, 2, 3, 4]
    assert [entry.item for entry in entries] == ITEMS
    assert [entry.target for entry in entries] == [7, 7, 3, -1, -1]
    assert summary == manifests.digest(iter(ITEMS), TARGETS, 2)
    assert summary.items == 5


def test_the_digest_tells_every_change_apart():
    changes = [
        (ITEMS, TARGETS),
        (ITEMS[::-1], TARGETS),
        (ITEMS[:-1], TARGETS),
        (ITEMS, [7, -1, 4]),
        ([*ITEMS[:-1], Item("b/5.png", "/photos/b/6.png", 1)], TARGETS),
        ([*ITEMS[:-1], Item("b/5.png", "/photos/b/5.png", 1)], TARGETS),
        ([*ITEMS[:-1], Item("b/5.png", "/photos/b/5.png", 1, (0.0, 0.0, 1.0, 1.0))], TARGETS),
    ]
    digests = [manifests.digest(items, targets, 2).sha256 for items, targets in changes]
    assert len(set(digests)) == len(changes)


def test_part_sizes():
    for items in (1, 16, 17, 1000, 159_999, 1_000_000, 10_000_000, 100_000_000):
        size = manifests.part_size_for(items)
        assert 16 <= size <= 1024
        assert -(-items // size) <= 10_000 or size == 1024
    assert manifests.part_size_for(5) == 16
    assert manifests.part_size_for(5, least=512) == manifests.part_size_for(10_000, least=512) == 512


def test_a_long_list_takes_no_more_memory_than_a_short_one(tmp_path):
    def peak(count):
        items = (Item(f"{i}.png", f"/a/folder/of/photos/with/a/long/name/{i}.png", 0) for i in range(count))
        tracemalloc.start()
        manifests.write(Folder(str(tmp_path / str(count))), items, [0], 64)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(6400) < 2 * peak(640)


def test_names_that_are_not_utf8_are_read_back_as_they_were(tmp_path):
    bad = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    names = [bad, r"caf\udce9.png", r"caf\u005cudce9.png", "caf\u00e9.png", r"a\b\u00e9.png"]
    items = [Item(name, f"photos/{name}", 0, mask=f"masks/{name}", part_mask=f"parts/{name}") for name in names]
    folder = Folder(str(tmp_path))
    written = manifests.write(folder, items, [0], 16)
    manifest = Manifest(folder)
    assert [entry.item for entry in manifest.part(0)] == items
    assert written == manifest.summary() == manifests.digest(items, [0], 16)
    table = pq.read_table(tmp_path / manifests.NAME)
    assert table["uri"].to_pylist()[0] == r"photos/caf\udce9.png"
    assert len(set(table["key"].to_pylist())) == len(names)


def test_a_damaged_or_missing_list_is_refused(tmp_path):
    folder = Folder(str(tmp_path))
    with pytest.raises(FinercamError, match="cannot be read"):
        Manifest(folder)
    manifests.write(folder, ITEMS, TARGETS, 2)
    path = tmp_path / manifests.NAME
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FinercamError, match=r"manifest\.parquet cannot be read.*run the same command again"):
        Manifest(folder)


def test_rows_of_the_file_are_typed(tmp_path):
    manifests.write(Folder(str(tmp_path)), ITEMS, TARGETS, 2)
    assert pq.read_schema(tmp_path / manifests.NAME).equals(manifests.SCHEMA)
