"""The folder of a run: whose it is, which parts are there, and that nothing is half-written."""

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from finercam.data.dataset import Item
from finercam.errors import FinercamError
from finercam.runs import manifest as manifests
from finercam.runs.manifest import Manifest
from finercam.runs.run_folder import WITHOUT_ROWS, RunFolder, part_name, part_of
from finercam.runs.storage import Folder

FINGERPRINT = {"model": {"name": "net", "weights": "a" * 64}, "plan": {"metrics": ["deletion"], "steps": 50}}
#: What tells an item's rows from each other.
KEY = ("method", "contrast")


def rows(ids, maps=("plain", "finer"), error=None):
    return pa.table(
        {
            "id": pa.array([i for i in ids for _ in maps], pa.int64()),
            "method": pa.array(["gradcam" for _ in ids for _ in maps], pa.string()),
            "contrast": pa.array([m for _ in ids for m in maps], pa.string()),
            "error": pa.array([error for _ in ids for _ in maps], pa.string()),
        }
    )


@pytest.fixture
def run(tmp_path):
    """A run of five photos in parts of two, with nothing done."""
    folder = RunFolder(Folder(str(tmp_path / "run")))
    folder.claim(FINGERPRINT)
    manifests.write(folder.folder, [Item(f"{i}.png", f"{i}.png", 0) for i in range(5)], [0], 2)
    return folder


@pytest.fixture
def complete(run):
    for part, ids in enumerate(([0, 1], [2, 3], [4])):
        run.commit(part, rows(ids))
    return run


def files(run):
    return sorted(str(p.relative_to(run.folder.uri)) for p in Path(run.folder.uri).rglob("*") if p.is_file())


def test_a_folder_is_claimed_once_and_known_again(tmp_path):
    run = RunFolder(Folder(str(tmp_path / "deep" / "run")))
    assert run.fingerprint is None
    assert run.claim(FINGERPRINT) is False
    assert run.claim(FINGERPRINT) is True
    assert run.claim({**FINGERPRINT, "plan": {"metrics": ("deletion",), "steps": 50}}) is True
    assert run.fingerprint == FINGERPRINT


def test_a_folder_is_taken_from_another_run_only_where_that_is_asked_for(tmp_path, run):
    other = {**FINGERPRINT, "more": 1}
    assert run.claim(other, replace=True) is False
    assert run.fingerprint == other
    assert run.claim(other, replace=True) is True
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").touch()
    with pytest.raises(FinercamError, match="holds something already"):
        RunFolder(Folder(str(full))).claim(other, replace=True)


def test_what_differs_is_listed(run):
    other = {
        "model": {"name": "net", "weights": "b" * 64},
        "plan": {"metrics": ["deletion", "insertion"], "steps": 20},
        "more": 1,
    }
    with pytest.raises(FinercamError) as found:
        run.claim(other)
    message = str(found.value)
    assert "\n" not in message
    for part in (
        "model weights",
        "plan steps (50 there, 20 now)",
        "plan metrics (deletion there, deletion, insertion now)",
        "more (nothing there, 1 now)",
        "another --out",
    ):
        assert part in message
    assert "model name" not in message


@pytest.mark.parametrize("name", ["notes.txt", "rows/part-00000.parquet", "manifest.parquet", "deep/er"])
def test_a_folder_with_anything_else_in_it_is_refused(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"something")
    with pytest.raises(FinercamError, match="holds something already"):
        RunFolder(Folder(str(tmp_path))).claim(FINGERPRINT)
    assert not (tmp_path / "run.json").exists()


@pytest.mark.parametrize("content", ["{", "[]", "\xff\xfe"])
def test_a_description_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content.encode("latin1"))
    with pytest.raises(FinercamError, match=r"run\.json"):
        RunFolder(Folder(str(tmp_path))).claim(FINGERPRINT)


def test_parts_come_and_are_complete(run):
    manifest = Manifest(run.folder)
    assert run.done() == set()
    run.commit(1, rows([2, 3]))
    assert run.done() == {1}
    with pytest.raises(FinercamError, match=r"2 of 3 parts of .* are missing, the first is 0"):
        run.check(manifest, KEY)
    run.commit(0, rows([0, 1]))
    run.commit(2, rows([4]))
    run.commit(1, rows([2, 3]))
    assert run.done() == {0, 1, 2}
    run.check(manifest, KEY)
    assert files(run) == ["manifest.parquet", *(f"rows/{part_name(p)}" for p in range(3)), "run.json"]


@pytest.mark.parametrize(
    "wrong",
    [rows([2]), rows([2, 2]), rows([1, 2]), rows([2, 3, 4]), rows([2, 3, 3]), rows([2, 3], ("plain", "plain"))],
    ids=["lost", "twice", "another's", "too many", "twice and all", "a map twice"],
)
def test_a_photo_lost_or_counted_twice_is_found(complete, wrong):
    complete.commit(1, wrong)
    with pytest.raises(FinercamError, match=r"part 1 of .* does not hold each of its photos once"):
        complete.check(Manifest(complete.folder), KEY)


def test_an_item_without_rows_is_accounted_for_by_its_part(complete):
    without = rows([2]).replace_schema_metadata({WITHOUT_ROWS: "[3]"})
    complete.commit(1, without)
    complete.check(Manifest(complete.folder), KEY)
    for lost in ("[]", "[2]", "[1, 3]", "[3, 3]"):
        complete.commit(1, rows([2]).replace_schema_metadata({WITHOUT_ROWS: lost}))
        with pytest.raises(FinercamError, match=r"part 1 of .* does not hold each of its photos once"):
            complete.check(Manifest(complete.folder), KEY)


def test_with_nothing_to_tell_rows_apart_an_item_has_one(complete):
    with pytest.raises(FinercamError, match=r"part 0 of .* does not hold each of its photos once"):
        complete.check(Manifest(complete.folder))


def test_a_part_beyond_the_manifest_is_found(complete):
    complete.commit(7, rows([9]))
    with pytest.raises(FinercamError, match=r"do not belong to this run: \[7\]"):
        complete.check(Manifest(complete.folder), KEY)


@pytest.mark.parametrize("damage", ["empty", "cut short", "its end overwritten", "another file"])
def test_a_damaged_part_is_to_be_done_again(complete, damage):
    path = Path(complete.folder.uri) / "rows" / part_name(1)
    content = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "cut short": content[: len(content) // 2],
            "its end overwritten": content[:-60] + b"\0" * 52 + content[-8:],
            "another file": b"PAR1 is how it begins, and how it ends: PAR1",
        }[damage]
    )
    assert complete.done() == {0, 2}
    complete.commit(1, rows([2, 3]))
    assert complete.done() == {0, 1, 2}
    complete.check(Manifest(complete.folder), KEY)


def test_damage_inside_a_part_is_one_line(complete):
    path = Path(complete.folder.uri) / "rows" / part_name(1)
    content = bytearray(path.read_bytes())
    content[4:200] = os.urandom(196)
    path.write_bytes(content)
    with pytest.raises(FinercamError, match="part-00001"):
        complete.check(Manifest(complete.folder), KEY)


def test_a_part_of_another_run_is_never_taken_for_one_of_this(complete, tmp_path):
    """Of the same photos, in the same place: only the model differs."""
    other = RunFolder(Folder(str(tmp_path / "other")))
    other.claim({**FINGERPRINT, "model": {"name": "net", "weights": "b" * 64}})
    other.commit(1, rows([2, 3]))
    path = Path(complete.folder.uri) / "rows" / part_name(1)
    path.write_bytes((Path(other.folder.uri) / "rows" / part_name(1)).read_bytes())
    for look in (complete.done, complete.drop_failed, lambda: complete.check(Manifest(complete.folder), KEY)):
        with pytest.raises(FinercamError, match=r"part-00001\.parquet is a part of another run"):
            look()


def test_a_part_with_a_flipped_bit_is_done_again(complete):
    path = Path(complete.folder.uri) / "rows" / part_name(1)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)
    assert complete.done() == {0, 2}
    with pytest.raises(FinercamError, match=r"part-00001\.parquet is damaged; run the same command again"):
        complete.check(Manifest(complete.folder), KEY)


def test_what_a_killed_run_left_behind_is_no_part(complete):
    folder = Path(complete.folder.uri) / "rows"
    (folder / ".part-x3f.parquet").write_bytes(b"half of a p")
    for strange in ("notes.txt", "part-1.parquet", "part-abc.parquet", "part-00001.parquet.bak"):
        (folder / strange).write_bytes(b"a person's own")
    assert complete.done() == {0, 1, 2}
    complete.check(Manifest(complete.folder), KEY)
    assert (folder / "notes.txt").read_bytes() == b"a person's own"


def test_a_store_that_fails_for_a_moment_makes_no_part_damaged(complete, monkeypatch):
    def fails(self, name):
        raise OSError(errno.EIO, "the line is down")

    monkeypatch.setattr(Folder, "open", fails)
    assert complete.done() == {0, 1, 2}
    monkeypatch.setattr(Folder, "read", lambda self, name: (_ for _ in ()).throw(FinercamError("the line is down")))
    with pytest.raises(FinercamError, match="the line is down"):
        complete.done()
    assert len(files(complete)) == 5


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_a_full_disk_leaves_what_was_there_and_nothing_half_written(complete, monkeypatch, code):
    before = {name: (Path(complete.folder.uri) / name).read_bytes() for name in files(complete)}
    write = Path.write_bytes

    def half(self, content):
        write(self, content[: len(content) // 2])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", half)
    for part, ids in ((1, [2, 3]), (5, [9])):
        with pytest.raises(FinercamError) as found:
            complete.commit(part, rows(ids))
        assert os.strerror(code) in str(found.value)
        assert "the same command resumes from there" in str(found.value)
    monkeypatch.undo()
    hidden = [p.name for p in Path(complete.folder.uri).rglob(".*")]
    assert hidden == []
    assert {name: (Path(complete.folder.uri) / name).read_bytes() for name in files(complete)} == before


def test_parts_with_failures_are_dropped_and_no_others(complete):
    complete.commit(1, pa.concat_tables([rows([2]), rows([3], error="cannot be read")]))
    assert complete.drop_failed() == 1
    assert complete.done() == {0, 2}
    assert complete.drop_failed() == 0


def test_names_of_parts():
    for part in (0, 7, 99_999, 123_456):
        assert part_of(part_name(part)) == part
    for name in ("notes.txt", "part-.parquet", "part-x.parquet", "part-²2.parquet"):
        assert part_of(name) == -1
