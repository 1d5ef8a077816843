"""Being stopped, by Ctrl-C or by whoever runs the command: what was begun is put away, and one line says so."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(SystemExit):
    """The command was stopped by a signal. Like any exit it passes through what catches errors, and cleans up there.

    Attributes:
        message: what to say.
    """

    message = "stopped"


@contextmanager
def stopping_in_order() -> Iterator[None]:
    """Have signals that stop this process raise ``Stopped`` inside, but those that it was started to ignore."""
    known = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in known}
    taken = [number for number, handler in before.items() if handler in (signal.SIG_DFL, signal.default_int_handler)]
    for number in taken:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


def _stop(number: int, frame: object) -> NoReturn:
    # The exit code that shells give a command that a signal has ended.
    raise Stopped(128 + number)
