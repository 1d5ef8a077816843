"""Runs that are killed, or stopped by Ctrl-C, and gone on with."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import time

import pytest

from support import running
from support.evaluations import rows_of
from support.running import ARGUMENTS, PARTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    code, _, err = running.run(*ARGUMENTS, "--out", out)
    assert (code, "Traceback" in err) == (0, False), err
    return rows_of(out)


def test_killed_at_any_moment_no_row_is_lost_or_there_twice(undisturbed, tmp_path):
    out, chance = tmp_path / "run", random.Random(0)
    for kill in range(5):
        process = running.start(*ARGUMENTS, "--out", out)
        if kill == 0:
            # While it is setting up, or has just begun.
            time.sleep(chance.uniform(3.0, 4.0))
        else:
            running.wait_for_parts(out, min(running.parts(out) + 1, PARTS - 1), process)
            time.sleep(chance.uniform(0.0, 0.6))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert 0 < running.parts(out) < PARTS
    # What the deaths left lying about is never taken for rows.
    (out / "rows" / ".part-left.parquet").write_bytes(b"PAR1")
    code, table, err = running.run(*ARGUMENTS, "--out", out)
    assert code == 0, err
    assert "112 photos" in table
    assert rows_of(out) == undisturbed
    code, again, err = running.run(*ARGUMENTS, "--out", out)
    assert (code, again) == (0, table)


def test_ctrl_c_is_one_line_and_the_run_goes_on(undisturbed, tmp_path):
    out = tmp_path / "run"
    process = running.start(*ARGUMENTS, "--out", out, "--workers", 2)
    running.wait_for_parts(out, 2, process)
    os.killpg(process.pid, signal.SIGINT)
    begun = time.monotonic()
    code, text, err = running.finish(process, 30)
    assert time.monotonic() - begun < 15
    assert code == 130
    assert text == ""
    said = [line for line in err.splitlines() if "UserWarning" not in line and "check_worker_number" not in line]
    assert said == ["finercam: stopped; the same command resumes from here"], err
    assert 2 <= running.parts(out) < PARTS
    assert [path.name for path in (out / "rows").iterdir() if path.name.startswith(".")] == []
    code, _, err = running.run(*ARGUMENTS, "--out", out)
    assert code == 0, err
    assert rows_of(out) == undisturbed


def test_a_full_disk_is_one_line_and_the_run_goes_on(undisturbed, tmp_path):
    out = tmp_path / "run"
    assert running.run(*ARGUMENTS, "--out", out)[0] == 0
    for part in (3, 5):
        (out / "rows" / f"part-{part:05d}.parquet").unlink()
    # Files of no more than 4 KiB: a part does not fit.
    command = shlex.join(map(str, (sys.executable, "-m", "finercam", *ARGUMENTS, "--out", out)))
    limited = f"ulimit -f 4; exec {command}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "part-00003.parquet cannot be written: " in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert running.parts(out) == PARTS - 2
    assert [path.name for path in (out / "rows").iterdir() if path.name.startswith(".")] == []
    code, _, err = running.run(*ARGUMENTS, "--out", out)
    assert code == 0, err
    assert rows_of(out) == undisturbed
