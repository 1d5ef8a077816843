"""What ``finercam explain`` writes and where, whatever photos are called and whatever stands in the way."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import types
import zlib

import pytest
from PIL import Image

from finercam.cli.main import main
from finercam.data import photos as opening
from finercam.report.writers import pictures
from support import running


@pytest.fixture
def explain(monkeypatch, capsys, model_folder, tmp_path):
    """Run the command in this process; return exit code, records that were printed, and stderr."""

    def call(*arguments, out="out"):
        given = ["explain", *map(str, arguments), "--model", str(model_folder), "--out", str(tmp_path / out), "--json"]
        monkeypatch.setattr(sys, "argv", ["finercam", *given])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return stop.value.code or 0, [json.loads(line) for line in captured.out.splitlines()], captured.err

    return call


def records_in(out):
    return [json.loads(line) for line in (out / "explanations.jsonl").read_bytes().splitlines()]


def photo(path, colour=(200, 90, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 20), colour).save(path, "png")
    return path


def bomb(path, width=170_000_000, height=1):
    """Write a PNG that declares so many pixels and has none."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    return path


ODD_NAMES = (
    b"..jpg",
    b"...jpg",
    b".jpg",
    b" .jpg",
    b"a\nb.jpg",
    b"a\x1b[31mb.jpg",
    b"a\\b.jpg",
    b"na\xefve.jpg",
    b"x" * 251 + b".jpg",
    "é".encode() * 125 + b".jpg",
    b"-rf.jpg",
    b"=1+1.jpg",
    b"%s{}.jpg",
)


def test_results_stay_in_the_folder_whatever_photos_are_called(explain, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(ODD_NAMES):
        photo(tmp_path / "one.png", (number, 10 * number, 90)).rename(
            os.path.join(os.fsencode(folder), name).decode("utf-8", "surrogateescape")
        )
    before = {path for path in tmp_path.rglob("*") if (tmp_path / "out") not in (path, *path.parents)}
    code, records, err = explain(folder)
    assert code == 0, err
    assert {os.fsencode(record["image"]) for record in records} == {
        os.path.join(os.fsencode(folder), name) for name in ODD_NAMES
    }
    assert records == records_in(tmp_path / "out")
    pictures = [record["files"]["picture"] for record in records]
    assert len(set(pictures)) == len(ODD_NAMES)
    for record in records:
        for name in record["files"].values():
            path = (tmp_path / "out" / name).resolve()
            assert path.is_file()
            assert path.parent == tmp_path / "out"
    after = {path for path in tmp_path.rglob("*") if (tmp_path / "out") not in (path, *path.parents)}
    assert after == before
    assert not any(ord(c) < 32 for c in err.replace("\n", ""))


def test_a_photo_that_cannot_be_explained_is_a_record_and_does_not_stop_the_others(explain, tmp_path):
    folder = tmp_path / "photos"
    photo(folder / "fine.png")
    bomb(folder / "bomb.png")
    (folder / "empty.png").write_bytes(b"")
    photo(folder / "taken.png")
    (tmp_path / "out" / "taken.png").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe.png")
    started = time.monotonic()
    code, records, err = explain(folder, tmp_path / "pipe.png")
    assert time.monotonic() - started < 30
    assert code == 1
    errors = {os.path.basename(record["image"]): record.get("error", "") for record in records}
    assert set(errors) == {"fine.png", "bomb.png", "empty.png", "taken.png", "pipe.png"}
    assert "170000000 x 1 pixels" in errors["bomb.png"]
    assert "is not a picture" in errors["empty.png"]
    assert "Is a directory" in errors["taken.png"]
    assert "is not a file" in errors["pipe.png"]
    assert not errors["fine.png"]
    assert sorted(map(str, records)) == sorted(map(str, records_in(tmp_path / "out")))
    assert "1 explained, 4 failed" in err


def test_what_fails_in_an_unforeseen_way_is_a_record_too(explain, tmp_path, monkeypatch):
    photo(tmp_path / "photos" / "a.png")
    photo(tmp_path / "photos" / "b.png", (1, 2, 3))
    draw = pictures.lay_out_explanation

    def lay_out(explanation, *how):
        if explanation.source.endswith("a.png"):
            raise RuntimeError("no ink\nat all")
        return draw(explanation, *how)

    monkeypatch.setattr(pictures, "lay_out_explanation", lay_out)
    code, records, _ = explain(tmp_path / "photos")
    assert code == 1
    assert [record.get("error") for record in records] == ["RuntimeError: no ink", None]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda out: out.write_text("a file"), "is a file; give a folder"),
        (lambda out: out.parent.joinpath("file").write_text(""), "lies below a file"),
        (lambda out: (out / "explanations.jsonl").mkdir(parents=True), "cannot be written: Is a directory"),
        (
            lambda out: (out.mkdir(), (out / "explanations.jsonl").write_text("notes of mine\n")),
            "line 1, is not a record of a photo; give another --out",
        ),
    ],
)
def test_what_stands_in_the_way_of_all_results_is_one_line(explain, tmp_path, make, message):
    photo(tmp_path / "photos" / "a.png")
    make(tmp_path / "out")
    below = "below a file" in message
    code, records, err = explain(tmp_path / "photos", out="file/out" if below else "out")
    assert (code, records) == (2, [])
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_second_run_adds_to_the_first(explain, tmp_path):
    for number in range(4):
        photo(tmp_path / "photos" / f"{number}.png", (number * 60, 0, 9))
    assert explain(tmp_path / "photos")[0] == 0
    first = records_in(tmp_path / "out")
    (tmp_path / "photos" / "1.png").write_bytes(b"")
    code, again, _ = explain(tmp_path / "photos" / "3.png", tmp_path / "photos" / "1.png", "--gamma", 1)
    assert code == 1
    found = records_in(tmp_path / "out")
    assert found[:3] == first[:3]
    assert found[3] == again[0] != first[3]
    assert found[4:] == again[1:]
    assert "error" in found[4]
    # An error stands until the photo is explained.
    photo(tmp_path / "photos" / "1.png", (60, 0, 9))
    assert explain(tmp_path / "photos" / "1.png")[0] == 0
    assert [record["image"] for record in records_in(tmp_path / "out")] == [record["image"] for record in first]


def test_another_photo_of_the_same_name_overwrites_nothing(explain, tmp_path):
    for name in ("one/bird.png", "two/bird.png", "three/BIRD.png"):
        photo(tmp_path / name)
        assert explain(tmp_path / name)[0] == 0
    records = records_in(tmp_path / "out")
    pictures = [record["files"]["picture"] for record in records]
    assert len({picture.casefold() for picture in pictures}) == 3
    # And each keeps its own.
    assert explain(tmp_path / "two/bird.png")[1][0]["files"]["picture"] == pictures[1]
    assert len(records_in(tmp_path / "out")) == 3
    assert explain(tmp_path / "two/bird.png", "--gamma", "0.5,1")[0] == 0
    assert len(records_in(tmp_path / "out")) == 5


def test_results_are_not_searched_for_photos(explain, tmp_path, monkeypatch):
    photo(tmp_path / "photos" / "a.png")
    monkeypatch.chdir(tmp_path / "photos")
    for count, out in enumerate(("photos/finercam-out", "photos/finercam-out", "photos/other", "elsewhere")):
        code, records, err = explain(".", out=out)
        assert (code, [record["image"] for record in records]) == (0, ["a.png"])
        assert ("not searched: './finercam-out'" in err) == (count > 0)
    code, _, err = explain("*/*.png", out="elsewhere")
    assert (code, "which hold results" in err) == (2, True)
    code, _, err = explain(".", out="photos")
    assert (code, "give another --out" in err) == (2, True)
    assert explain("finercam-out/a.png", out="elsewhere")[0] == 0


def test_photos_that_nothing_here_reads_are_counted(explain, tmp_path, monkeypatch):
    opening.has_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    photo(tmp_path / "photos" / "a.png")
    for number in range(2):
        (tmp_path / "photos" / f"{number}.HEIC").write_bytes(b"heic")
    (tmp_path / "photos" / "raw.nef").write_bytes(b"raw")
    code, records, err = explain(tmp_path / "photos")
    assert (code, len(records)) == (0, 1)
    assert "2 files skipped (.heic); pip install pillow-heif\n" in err
    assert "1 file skipped (.nef); save them as JPEG or PNG\n" in err
    code, records, err = explain(tmp_path / "photos" / "0.HEIC")
    assert code == 1
    assert "pip install pillow-heif" in records[0]["error"]
    opening.has_heif.cache_clear()
    registered = []
    module = types.SimpleNamespace(register_heif_opener=lambda: registered.append(True))
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    photo(tmp_path / "photos" / "0.HEIC")
    code, records, err = explain(tmp_path / "photos")
    assert len(registered) == 1
    assert len(records) == 3
    assert "HEIC" not in err.replace("1.HEIC", "")
    opening.has_heif.cache_clear()


def test_a_torn_last_line_is_no_record(explain, tmp_path):
    photo(tmp_path / "photos" / "a.png")
    photo(tmp_path / "photos" / "b.png")
    assert explain(tmp_path / "photos")[0] == 0
    file = tmp_path / "out" / "explanations.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    assert explain(tmp_path / "photos")[0] == 0
    assert file.read_bytes() == whole


def started(model_folder, tmp_path, *more, count=60):
    for number in range(count):
        photo(tmp_path / "photos" / f"{number:02d}.png", (number, 2 * number, 30))
    out = tmp_path / "out"
    process = running.start("explain", tmp_path / "photos", "--model", model_folder, "--out", out, *more)
    end = time.monotonic() + 120
    while time.monotonic() < end and not (out / "explanations.jsonl").exists():
        time.sleep(0.02)
    while time.monotonic() < end and len((out / "explanations.jsonl").read_bytes().splitlines()) < 5:
        time.sleep(0.01)
    return process, out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_says_so_and_keeps_its_records(model_folder, tmp_path, number, code):
    process, out = started(model_folder, tmp_path, "--batch-size", 2)
    process.send_signal(number)
    ended, text, err = running.finish(process, 60)
    assert (ended, err.splitlines()[-1]) == (code, "finercam: stopped"), err
    records = records_in(out)
    assert 5 <= len(records) < 60
    assert len(text.splitlines()) <= len(records)
    assert not list(out.rglob(".*"))
    for record in records:
        assert all((out / name).is_file() for name in record["files"].values())


def test_what_a_killed_run_left_is_removed_by_the_next(model_folder, tmp_path):
    process, out = started(model_folder, tmp_path)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (out / ".part-left.png").write_bytes(b"half")
    arguments = ("explain", tmp_path / "photos", "--model", model_folder, "--out", out)
    code, _, err = running.run(*arguments)
    assert code == 0, err
    assert not list(out.rglob(".*"))
    assert len(records_in(out)) == 60


def test_a_full_disk_is_one_line_and_loses_nothing(model_folder, tmp_path):
    for number in range(3):
        photo(tmp_path / "photos" / f"{number:02d}.png", (number, 2 * number, 30))
    Image.effect_noise((900, 900), 90).convert("RGB").save(tmp_path / "photos" / "zz.png")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "finercam", "explain", *sorted((tmp_path / "photos").iterdir())]
    command += ["--model", model_folder, "--out", out, "--batch-size", "1"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    sizes = sorted(path.stat().st_size for path in out.iterdir())
    assert sizes[-1] > sizes[-2] + 4096
    whole = records_in(out)
    for path in out.iterdir():
        path.unlink()
    # Files of no more than some KiB: the last picture does not fit.
    limited = f"ulimit -f {sizes[-2] // 1024 + 2}; exec " + " ".join(f"'{part}'" for part in command)
    ended = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "cannot be written: " in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert records_in(out) == whole[:3]
    assert not list(out.rglob(".*"))
