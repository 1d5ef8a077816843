"""A slice of the fuzzer's cases; ``make fuzz`` runs the whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

#: Cases, and seconds after which no more are begun.
CASES, SECONDS = int(os.environ.get("FINERCAM_FUZZ_CASES", 400)), float(os.environ.get("FINERCAM_FUZZ_SECONDS", 30))


def test_no_case_is_violated():
    # In a process of its own: a case may change what all tests share.
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, "-m", "fuzz", "--cases", str(CASES), "--seconds", str(SECONDS)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr[-2000:]
    assert "; 0 violations" in ended.stdout
