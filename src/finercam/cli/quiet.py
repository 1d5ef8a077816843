"""Commands without noise: warnings of one line, each once, and no minute of retries where there is no network."""

from __future__ import annotations

import os
import socket
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from typing import TextIO
from urllib.parse import urlsplit
from urllib.request import getproxies

from finercam.cli.console import say

#: How models on a hub begin; ``timm/local-dir:`` and the like are folders.
_HUBS = ("timm/", "transformers/", "open_clip/")
#: Seconds that the hub may take to answer.
_PATIENCE = 4.0


def quieten(arguments: Sequence[str]) -> None:
    """Have warnings take one line each, and libraries look for models on this machine only where no hub is reached.

    Args:
        arguments: of the command.
    """
    # What the library says of its own code, and where, is of no use here; and Python forgets what it has shown.
    warnings.showwarning = partial(_show, set())
    names = (word.partition("=")[2] if word.startswith("--") else word for word in arguments)
    if any(_on_hub(name) for name in names) and "HF_HUB_OFFLINE" not in os.environ and not _reached():
        # Read by huggingface_hub when it is imported, which is later. What is not on this machine is told of then.
        os.environ["HF_HUB_OFFLINE"] = "1"


def _on_hub(name: str) -> bool:
    inner = name.partition("/")[2]
    return name.startswith(_HUBS) and not inner.startswith("local-dir:") and not os.path.exists(inner)


def _reached() -> bool:
    """Whether the hub answers, or is reached by way of a proxy."""
    if getproxies():
        return True
    where = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    try:
        with socket.create_connection((where.hostname or "", where.port or 443), timeout=_PATIENCE):
            return True
    except OSError:
        return False


def _show(
    shown: set[str],
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    first = next(iter(str(message).splitlines()), category.__name__)
    # Of other packages' warnings only those are for users that their authors meant for them.
    if first not in shown and (issubclass(category, UserWarning) or "finercam" in filename):
        shown.add(first)
        say(f"finercam: warning: {first}")
    sys.stderr.flush()
