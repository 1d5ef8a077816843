"""Long commands are killed at random moments, and gone on with: no row is lost or wrong, and nothing is left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from support import running
from support.evaluations import rows_of, same
from support.pictures import save_picture

pytestmark = pytest.mark.slow

#: How often each command is killed.
KILLS = int(os.environ.get("FINERCAM_KILLS", 2))
EVALUATE = (
    "evaluate",
    "aviary",
    "--model",
    "aviary",
    "--images",
    96,
    "--metric",
    "relative-drop@0.05",
    "--device",
    "cpu",
)


def descendants(pid: int) -> set[int]:
    """Processes below one, as far as they can be seen."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found = {pid}
    while more := {one for one, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stopped_at_random(
    chance: random.Random, seconds: float, *arguments: object, number: int | None = None
) -> int | None:
    """Start a command, stop it (by SIGKILL or SIGTERM) within so many seconds, and see that no process is left.

    Returns:
        Its exit code; ``None`` where it ended before.
    """
    number = chance.choice((signal.SIGKILL, signal.SIGTERM)) if number is None else number
    process = running.start(*arguments)
    end = time.monotonic() + chance.uniform(0.5, seconds)
    children: set[int] = set()
    while time.monotonic() < end and process.poll() is None:
        children |= descendants(process.pid)
        time.sleep(0.05)
    if process.poll() is None:
        children |= descendants(process.pid)
        process.send_signal(number)
    code, _, err = running.finish(process, 120)
    if code < 0:
        assert -code in (signal.SIGKILL, signal.SIGTERM), err
    else:
        assert code in (0, 143), err
        assert "Traceback" not in err
    # Ray's own agents look for their node now and then.
    end = time.monotonic() + 120
    while (left := {child for child in children if alive(child)}) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left, {child: (Path("/proc") / str(child) / "cmdline").read_bytes() for child in left}
    return code


def no_litter(out: Path) -> None:
    assert not [path for path in out.rglob(".*") if path.name.startswith((".part-", ".tmp"))]


def seconds_of(*arguments: object) -> float:
    begun = time.monotonic()
    code, _, err = running.run(*arguments)
    assert code == 0, err
    return time.monotonic() - begun


@pytest.mark.parametrize("engine", [("--workers", 2), ("--workers", 0), ("--engine", "ray", "--workers", 2)])
def test_evaluate(tmp_path, engine):
    if "ray" in engine:
        pytest.importorskip("ray")
    chance, out = random.Random(f"evaluate {engine}"), tmp_path / "run"
    took = seconds_of(*EVALUATE, *engine, "--out", tmp_path / "undisturbed")
    # A cluster takes its time to start and to end.
    for _ in range(KILLS if "ray" not in engine else min(KILLS, max(2, KILLS // 2))):
        if stopped_at_random(chance, took, *EVALUATE, *engine, "--out", out) == 0:
            break
    code, table, err = running.run(*EVALUATE, *engine, "--out", out)
    assert code == 0, err
    same(rows_of(out), rows_of(tmp_path / "undisturbed"), 1e-4 if "ray" in engine else 0)
    assert table == (tmp_path / "undisturbed" / "table.md").read_text()
    no_litter(out)


def test_explain(tmp_path):
    for number in range(40):
        save_picture(tmp_path / "photos" / f"{number:02d}.png", number, 120, 100)
    chance, out = random.Random("explain"), tmp_path / "out"
    command = ("explain", tmp_path / "photos", "--model", "aviary", "--device", "cpu", "--out")
    took = seconds_of(*command, tmp_path / "undisturbed")

    def records(folder):
        lines = (folder / "explanations.jsonl").read_bytes().splitlines() if folder.is_dir() else []
        return [json.loads(line) for line in lines]

    expected = {record["image"]: record for record in records(tmp_path / "undisturbed")}
    assert len(expected) == 40
    for _ in range(KILLS):
        before = len({record["image"] for record in records(out)})
        stopped_at_random(chance, took, *command, out)
        there = records(out)
        assert len({record["image"] for record in there}) >= before
        for record in there:
            assert record == expected[record["image"]]
            load_file(out / record["files"]["maps"])
    seconds_of(*command, out)
    assert records(out) == list(expected.values())
    no_litter(out)


def test_probe(tmp_path):
    command = ("probe", "aviary", "--backbone", "aviary", "--images", 400, "--epochs", 200, "--device", "cpu", "--out")
    chance, out = random.Random("probe"), tmp_path / "probe"
    took = seconds_of(*command, tmp_path / "undisturbed")
    for _ in range(KILLS):
        stopped_at_random(chance, took, *command, out)
    seconds_of(*command, out)
    ours, theirs = (load_file(folder / "head.safetensors") for folder in (out, tmp_path / "undisturbed"))
    assert all(bool((ours[name] == theirs[name]).all()) for name in theirs)
    assert (out / "probe.json").read_text() == (tmp_path / "undisturbed" / "probe.json").read_text()
    no_litter(out)


def test_faithfulness(tmp_path):
    command = ("faithfulness", "aviary", "--model", "aviary", "--images", 48, "--workers", 2, "--pictures", 1)
    chance, out = random.Random("faithfulness"), tmp_path / "run"
    took = seconds_of(*command, "--out", tmp_path / "undisturbed")
    for _ in range(KILLS):
        if stopped_at_random(chance, took, *command, "--out", out) == 0:
            break
    seconds_of(*command, "--out", out)
    same(rows_of(out), rows_of(tmp_path / "undisturbed"))
    for name in ("report.md", "rows.csv", "findings.csv"):
        assert (out / name).read_text() == (tmp_path / "undisturbed" / name).read_text()
    no_litter(out)
