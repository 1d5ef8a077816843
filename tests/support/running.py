"""The command ``finercam`` in a process of its own, to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

#: A run of so many parts, long enough to be stopped.
PARTS = 7
ARGUMENTS = (
    "evaluate",
    "aviary",
    "--model",
    "aviary",
    "--images",
    112,
    "--metric",
    "relative-drop@0.05,deletion",
    "--steps",
    3,
    "--device",
    "cpu",
)


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start the command in a group of its own, as a terminal would."""
    return subprocess.Popen(
        [sys.executable, "-m", "finercam", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests are run in the background, SIGINT is ignored, and that would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def finish(process: subprocess.Popen[str], timeout: float = 300) -> tuple[int, str, str]:
    """Wait for its end; return exit code, stdout and stderr."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, out, err


def run(*arguments: object, **environment: str) -> tuple[int, str, str]:
    """Run the command to its end."""
    return finish(start(*arguments, **environment))


def parts(out: Path | str) -> int:
    """Return how many parts are there."""
    return len(list((Path(out) / "rows").glob("part-*.parquet")))


def wait_for_parts(out: Path | str, count: int, process: subprocess.Popen[str], timeout: float = 180) -> None:
    """Wait until so many parts are there."""
    end = time.monotonic() + timeout
    while parts(out) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"{parts(out)} parts after {timeout} s"
        time.sleep(0.02)
