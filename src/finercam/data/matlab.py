"""Matlab's files, read by scipy in a process of its own: a damaged one takes scipy's process down, and not this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from finercam.errors import FinercamError

#: Seconds and bytes that the largest of published files is far from needing.
_SECONDS, _MEMORY = 300, 8 * 2**30
_CHILD = """
import json, sys
asked = json.load(sys.stdin)
sys.path[:] = asked["path"]
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (asked["memory"], asked["memory"]))
except (ImportError, ValueError, OSError):
    pass
import numpy as np
from scipy.io import loadmat

def plain(value):
    if isinstance(value, np.ndarray) and value.dtype.names:
        value = np.atleast_1d(value)
        return {name: plain(value[name]) for name in value.dtype.names}
    if isinstance(value, np.ndarray):
        return [plain(one) for one in np.atleast_1d(value)]
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, (str, int, float)) else repr(value)

try:
    content = loadmat(asked["file"], squeeze_me=True)
    answer = {name: plain(value) for name, value in content.items() if not name.startswith("__")}
except Exception as error:
    answer = f"{type(error).__name__}: {error}"
print(json.dumps(answer))
"""


def read_variables(path: Path) -> dict[str, Any]:
    """Return a file's variables: arrays as lists, structures as one list for each field, by its name.

    Raises:
        FinercamError: scipy is not installed, or the file is missing or damaged.
    """
    try:
        import scipy  # type: ignore[import-untyped,unused-ignore]  # noqa: F401 - the child's, found here
    except ImportError as error:
        raise FinercamError("Stanford Cars is annotated in .mat files; pip install scipy") from error
    asked = {"path": sys.path, "file": os.path.abspath(path), "memory": _MEMORY}
    try:
        ended = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=json.dumps(asked),
            capture_output=True,
            encoding="utf-8",
            timeout=_SECONDS,
            check=False,
        )
        found = json.loads(ended.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise FinercamError(f"{path} cannot be read: it is damaged, and scipy crashed on it") from None
    if isinstance(found, str):
        raise FinercamError(f"{path} cannot be read: {next(iter(found.splitlines()), '')}")
    return dict(found)
