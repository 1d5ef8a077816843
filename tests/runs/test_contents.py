"""That a run goes on with the same photos only, however many there are and wherever they lie."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from finercam.data.dataset import Item
from finercam.runs import contents
from finercam.runs.contents import Contents


def of_contents(items: list[Item]) -> list[str]:
    return Contents.of(items).tell(items)


def write(place: Path, content: bytes, like: Path | None = None) -> None:
    """Write a file; with the times of another."""
    times = None if like is None else (like.stat().st_atime_ns, like.stat().st_mtime_ns)
    place.write_bytes(content)
    if times is not None:
        os.utime(place, ns=times)


@pytest.fixture
def photos(tmp_path: Path) -> list[Item]:
    items = []
    for number in range(20):
        write(tmp_path / f"{number}.png", bytes([number] * 100))
        write(tmp_path / f"{number}.mask.png", bytes([number] * 10))
        items.append(Item(f"{number}", str(tmp_path / f"{number}.png"), 0, None, str(tmp_path / f"{number}.mask.png")))
    return items


@pytest.mark.parametrize("name", ["7.png", "7.mask.png"])
def test_of_few_files_every_byte_counts_and_their_times_do_not(photos: list[Item], tmp_path: Path, name: str) -> None:
    before = of_contents(photos)
    os.utime(tmp_path / name, (1, 1))
    assert of_contents(photos) == before
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    write(path, bytes(content), like=path)
    assert of_contents(photos) != before


@pytest.mark.parametrize("place", ["7.parts.png", "7/"])
def test_masks_of_parts_count_whether_they_are_one_file_or_many(tmp_path: Path, place: str) -> None:
    (tmp_path / "7").mkdir()
    head = tmp_path / ("7/head.png" if place == "7/" else place)
    for path in (tmp_path / "7.png", head):
        write(path, b"pixels")
    items = [Item("7", str(tmp_path / "7.png"), 0, part_mask=f"{tmp_path}/{place}")]
    before = of_contents(items)
    write(head, b"others")
    assert of_contents(items) != before
    if place == "7/":
        write(head, b"pixels")
        write(tmp_path / "7/eye.png", b"pixels")
        assert of_contents(items) != before


def test_of_many_files_sizes_and_times_count_and_every_byte_of_some(
    photos: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "ALL_READ", 1000)
    monkeypatch.setattr(contents, "SAMPLE", 10)
    before = of_contents(photos)
    seen = 0
    for item in photos:
        path = Path(item.uri)
        content, time = path.read_bytes(), path.stat().st_mtime_ns
        write(path, content[::-1][:-1] + b"x", like=path)
        seen += of_contents(photos) != before
        write(path, content)
        os.utime(path, ns=(time, time + 1))
        assert of_contents(photos) != before
        os.utime(path, ns=(time, time))
        write(path, content + b"x", like=path)
        assert of_contents(photos) != before
        write(path, content)
        os.utime(path, ns=(time, time))
        assert of_contents(photos) == before
    assert 0 < seen <= 10


def test_files_in_a_store_are_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "SAMPLE_OF_STORE", 5)
    store = fsspec.filesystem("memory")
    for number in range(12):
        store.pipe_file(f"/contents/{number}.png", bytes([number] * 9))
    items = [Item(f"{number}", f"memory://contents/{number}.png", 0) for number in range(12)]
    before, seen = of_contents(items), 0
    for number in range(12):
        store.pipe_file(f"/contents/{number}.png", b"other")
        seen += of_contents(items) != before
        store.pipe_file(f"/contents/{number}.png", bytes([number] * 9))
    assert of_contents(items) == before
    assert seen == 5


def test_what_is_no_file_is_told_by_its_key(photos: list[Item]) -> None:
    drawn = [Item("train/0/1", "aviary:train/0/1", 0)]
    assert of_contents(drawn) == [""]
    assert of_contents([*photos, *drawn]) == [*of_contents(photos), ""]


def test_memory_does_not_grow_with_the_number_of_files(photos: list[Item], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files beyond what is read in full only the sample is held."""
    held: list[int] = []
    add = contents._Smallest.add

    def counted(self: contents._Smallest, text: str) -> None:
        add(self, text)
        held.append(len(self._held))

    monkeypatch.setattr(contents._Smallest, "add", counted)
    monkeypatch.setattr(contents, "SAMPLE", 2)
    monkeypatch.setattr(contents, "ALL_READ", 100)
    Contents.of(photos * 20)
    assert max(held) < 16 * 2
