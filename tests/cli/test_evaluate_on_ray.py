"""The Ray engine: the local engine's rows, whoever dies."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from finercam.data.reading import read_dataset
from support import running
from support.evaluations import rows_of, same
from support.running import ARGUMENTS, PARTS

pytest.importorskip("ray")

ON_RAY = ("--engine", "ray", "--workers", 2)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "local"
    code, _, err = running.run(*ARGUMENTS, "--out", out)
    assert code == 0, err
    return out


def actors(driver):
    """Process numbers of Ray's workers below a driver that are running parts."""
    found, below = [], {driver}
    for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            status = dict(line.split(":\t", 1) for line in (path / "status").read_text().splitlines() if ":\t" in line)
            title = (path / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if int(status["PPid"]) in below:
            below.add(int(path.name))
            if title.startswith("ray::") and "_Process" in title:
                found.append(int(path.name))
    return found


def gone(pid):
    """Kill a driver and wait until nothing of its cluster is left to write."""
    workers = actors(pid)
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < end:
        time.sleep(0.2)


def test_rows_are_the_local_engines(local, tmp_path):
    out = tmp_path / "run"
    code, table, err = running.run(*ARGUMENTS, *ON_RAY, "--out", out)
    assert code == 0, err
    assert "Traceback" not in err
    same(rows_of(out), rows_of(local), 1e-4)
    assert table == (local / "table.md").read_text()
    # A finished run starts no cluster.
    begun = time.monotonic()
    assert running.run(*ARGUMENTS, *ON_RAY, "--out", out)[:2] == (0, table)
    assert time.monotonic() - begun < 30


def test_a_worker_that_is_killed_is_replaced(local, tmp_path):
    out = tmp_path / "run"
    process = running.start(*ARGUMENTS, *ON_RAY, "--out", out)
    killed = 0
    for count in (1, 3):
        running.wait_for_parts(out, count, process)
        for worker in actors(process.pid)[:1]:
            os.kill(worker, signal.SIGKILL)
            killed += 1
    code, _, err = running.finish(process)
    assert code == 0, err
    assert killed > 0
    same(rows_of(out), rows_of(local), 1e-4)


def test_a_driver_that_is_killed_is_followed_by_another_and_by_the_other_engine(local, tmp_path):
    out = tmp_path / "run"
    process = running.start(*ARGUMENTS, *ON_RAY, "--out", out)
    running.wait_for_parts(out, 2, process)
    gone(process.pid)
    process.communicate()
    there = {path.name: path.stat().st_mtime_ns for path in (out / "rows").glob("part-*")}
    assert 2 <= len(there) < PARTS
    shutil.copytree(out, tmp_path / "other")
    for run, engine in ((out, ON_RAY), (tmp_path / "other", ())):
        code, _, err = running.run(*ARGUMENTS, *engine, "--out", run)
        assert code == 0, err
        same(rows_of(run), rows_of(local), 1e-4)
    assert {name: (out / "rows" / name).stat().st_mtime_ns for name in there} == there


def test_a_local_run_goes_on_on_a_cluster(local, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(local, out)
    for part in (0, 3, 4):
        (out / "rows" / f"part-{part:05d}.parquet").unlink()
    before = rows_of(out)
    code, _, err = running.run(*ARGUMENTS, *ON_RAY, "--out", out)
    assert code == 0, err
    same(rows_of(out), rows_of(local), 1e-4)
    ids = {row["id"] for row in before}
    assert [row for row in rows_of(out) if row["id"] in ids] == before


def test_relative_paths_and_broken_photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    aviary = read_dataset("aviary", images=20)
    for number, item in enumerate(aviary.items()):
        path = tmp_path / "photos" / aviary.class_names[item.label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        aviary.open(item).photo.save(path)
    broken = sorted((tmp_path / "photos").rglob("*.png"))[7]
    broken.write_bytes(b"no picture")
    arguments = ("evaluate", "folder:photos", "--model", "aviary", "--metric", "relative-drop@0.05", "--device", "cpu")
    code, table, err = running.run(*arguments, *ON_RAY, "--out", "run")
    assert code == 1, err
    assert "1 failed" in table
    assert running.run(*arguments, "--out", "local")[:2] == (1, table)
    for path in (tmp_path / "photos").rglob("*.png"):
        path.write_bytes(b"no picture")
    code, _, err = running.run(*arguments, *ON_RAY, "--out", "nothing")
    assert code == 2
    assert "photos that were tried can be opened on" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_ctrl_c_is_one_line(tmp_path):
    out = tmp_path / "run"
    process = running.start(*ARGUMENTS, *ON_RAY, "--out", out)
    running.wait_for_parts(out, 1, process)
    os.kill(process.pid, signal.SIGINT)
    code, _, err = running.finish(process, 60)
    assert code == 130, err
    assert err.splitlines()[-1] == "finercam: stopped; the same command resumes from here"
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ray-address", "127.0.0.1:1"), "no Ray cluster at '127.0.0.1:1'"),
        (("--workers", 0), "models at once is too few"),
        (("--gpus", "-1"), "gpus is -1"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, options, message):
    code, _, err = running.run(*ARGUMENTS, "--engine", "ray", *options, "--out", tmp_path / "run")
    assert code == 2, err
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err
