"""Folders for results, on disk and behind URIs."""

import pickle
import uuid

import pytest

from finercam.errors import FinercamError
from finercam.runs.storage import Folder


@pytest.fixture(params=["path", "file", "memory"])
def folder(request, tmp_path):
    if request.param == "memory":
        return Folder(f"memory://{uuid.uuid4().hex}/run")
    return Folder(str(tmp_path / "a run")) if request.param == "path" else Folder(f"file://{tmp_path}/run")


def test_what_is_written_is_read(folder, tmp_path):
    assert folder.read("rows/one") is None
    assert folder.names() == folder.names("rows") == []
    assert folder.empty()
    folder.write("rows/one", b"1")
    folder.write("rows/one", b"one")
    folder.write("two", b"2")
    with folder.writing("rows/three") as aside:
        aside.write_bytes(b"3" * 100_000)
    assert folder.names() == ["two"]
    assert folder.names("rows") == ["one", "three"]
    assert folder.read("rows/one") == b"one"
    with folder.open("rows/three") as file:
        file.seek(99_990)
        assert file.read() == b"3" * 10
    assert not folder.empty()
    folder.remove("rows/one")
    assert pickle.loads(pickle.dumps(folder)).names("rows") == ["three"]


def test_a_folder_that_holds_folders_only_is_not_empty(folder):
    folder.write("rows/one", b"1")
    assert folder.names() == []
    assert not folder.empty()


def test_errors_name_the_file(folder, tmp_path):
    with pytest.raises(FinercamError, match="run/nothing cannot be read"):
        folder.open("nothing")
    with pytest.raises(FinercamError, match="run/nothing cannot be removed"):
        folder.remove("nothing")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FinercamError, match=r"file/run\.json cannot be written"):
        Folder(str(tmp_path / "file")).write("run.json", b"{}")


def test_unknown_kinds_of_places():
    with pytest.raises(FinercamError, match="cannot be written to"):
        Folder("nowhere://run").write("a", b"")


def test_a_relative_path_and_a_home_are_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    Folder("runs/one").write("a", b"1")
    Folder("~/runs").write("b", b"2")
    assert (tmp_path / "runs" / "one" / "a").read_bytes() == b"1"
    assert (tmp_path / "home" / "runs" / "b").read_bytes() == b"2"


def test_a_file_that_cannot_be_written_to_its_end_leaves_nothing(tmp_path):
    def half():
        with Folder(str(tmp_path / "run")).writing("manifest") as aside:
            aside.write_bytes(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(FinercamError, match="manifest cannot be written: No space left on device"):
        half()
    assert list((tmp_path / "run").iterdir()) == []
