"""Files appear whole or not at all."""

import errno
import fcntl
import os

import pytest

from finercam.errors import FinercamError
from finercam.files import NotWritten, append, file_name, result_path, whole, writable_folder


def test_the_file_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with whole(path) as aside:
        aside.write_text("content")
        assert not path.exists()
    assert path.read_text() == "content"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_after_an_error_the_old_file_stands_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half():
        with whole(path) as aside:
            aside.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("plain é", "plain é"),
        (".", "_"),
        ("..", "_."),
        ("", "_"),
        (".hidden", "_hidden"),
        ("../a/b\\c", "_._a_b_c"),
        ("a\x00\n\x1bb", "a___b"),
        ("na\udcefve", "na_ve"),
    ],
)
def test_a_name_stays_in_its_folder(tmp_path, given, name):
    assert file_name(given) == name
    assert result_path(tmp_path, given, given).parent.parent == tmp_path


def test_a_long_name_is_cut_and_told_from_others():
    names = {file_name("é" * 300 + str(number)) for number in range(3)}
    assert len(names) == 3
    assert max(len(name.encode()) for name in names) <= 200
    assert file_name("é" * 300) == file_name("é" * 300)


def test_what_a_dead_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    (tmp_path / ".part-dead.txt").write_text("half")
    living = tmp_path / ".part-alive.txt"
    with living.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with whole(tmp_path / "a.txt") as aside:
            aside.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", living.name}


def test_what_cannot_be_written_says_why_and_for_whom(tmp_path):
    def write(path):
        with whole(path) as aside:
            aside.write_text("x")

    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "folder", tmp_path / "file" / "a", tmp_path / ("x" * 300) / "a"):
        with pytest.raises(NotWritten, match="cannot be written") as error:
            write(path)
        assert error.value.alone

    def fill():
        with whole(tmp_path / "full"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NotWritten, match="full cannot be written: No space left on device") as error:
        fill()
    assert not error.value.alone
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_lines_are_added_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "records"
    append(path, b"one\n")
    write = os.write

    def half(handle, content):
        if len(content) > 2:
            return write(handle, content[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(NotWritten):
        append(path, b"two\n")
    monkeypatch.undo()
    append(path, b"three\n")
    assert path.read_bytes() == b"one\nthree\n"


def test_a_folder_for_results_lies_below_no_file(tmp_path):
    (tmp_path / "file").write_text("")
    assert writable_folder(tmp_path / "new" / "er") == tmp_path / "new" / "er"
    for place in (tmp_path / "file", tmp_path / "file" / "a" / "b"):
        with pytest.raises(FinercamError, match="is a file; give a folder for the results"):
            writable_folder(place)
