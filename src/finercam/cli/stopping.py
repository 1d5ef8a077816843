"""Being stopped, by Ctrl-C or by whoever runs the command: what was begun is put away, and one line says so."""

from __future__ import annotations

import signal
from typing import NoReturn

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(SystemExit):
    """The command was stopped by a signal. Like any exit it passes through what catches errors, and cleans up there.

    Attributes:
        message: what to say.
    """

    message = "stopped"


def stop_in_order() -> None:
    """Have signals that stop this process raise ``Stopped``, but those that it was started to ignore."""
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _stop)


def _stop(number: int, frame: object) -> NoReturn:
    # The exit code that shells give a command that a signal has ended.
    raise Stopped(128 + number)
