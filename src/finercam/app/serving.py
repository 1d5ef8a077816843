"""The server: bound before anything is loaded, stopped in order, and nothing of it left on the disk."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from finercam.app.guard import Guard
from finercam.errors import FinercamError, check_between

if TYPE_CHECKING:
    from finercam.app.offer import Offer

#: Seconds that visitors' connections may take to end when the server is stopped.
_PATIENCE = 2
#: Names of this machine that no other one reaches.
_LOCAL = ("127.0.0.1", "localhost", "::1")


def is_local(host: str) -> bool:
    """Whether only this machine reaches a server on that address."""
    return host in _LOCAL


def check_gradio() -> None:
    """Refuse to go on without Gradio.

    Raises:
        FinercamError: it is not installed.
    """
    if find_spec("gradio") is None:
        raise FinercamError("the app needs Gradio, which is not installed; pip install 'finercam[app]'")


@contextmanager
def taken(host: str, port: int) -> Iterator[socket.socket]:
    """Give a socket on that address and port (0: any that is free), which is closed in the end.

    Raises:
        FinercamError: there is no such address, or the port is taken.
    """
    check_between("--port", port, 0, 65535)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise FinercamError(f"--host {host!r} is not an address of this machine: {error}") from error
    with bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
        except OSError as error:
            raise FinercamError(
                f"the app cannot be had on {host}, port {port}: {error.strerror}; give another --port"
            ) from error
        yield bound


def serve(
    offers: Sequence[Offer],
    bound: socket.socket,
    *,
    examples: Sequence[tuple[str, Callable[[Path], object]]] = (),
    largest: int,
    seconds: float,
    ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Serve the app until the process is told to stop.

    Args:
        offers: the models, the one that is shown first in front.
        bound: a socket from ``taken``.
        examples: names of photos to try, and what writes each to a path.
        largest: bytes that an uploaded file may have.
        seconds: that an answer may take.
        ready: called with the port once visitors may come.
    """
    with TemporaryDirectory(prefix="finercam-app-") as folder:
        # Read by Gradio when it is imported and later: no word about visitors to anybody, files where they go away,
        # and one process.
        os.environ.update(
            GRADIO_ANALYTICS_ENABLED="False",
            GRADIO_TEMP_DIR=folder,
            GRADIO_SSR_MODE="False",
            GRADIO_MCP_SERVER="False",
            GRADIO_NUM_WORKERS="0",
            # It counts even so, over all that it remembers, with each answer.
            GRADIO_ANALYTICS_MAX_EVENTS="100",
        )
        import uvicorn

        from finercam.app.layout import Limits, mounted

        photos = Path(folder) / "examples"
        photos.mkdir()
        for name, write in examples:
            write(photos / name)
        limits = Limits(largest, seconds)
        page = mounted(offers, Path(folder), limits, [photos / name for name, _ in examples])
        app = Guard(page, Path(folder), largest)

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if self.started:
                    ready(bound.getsockname()[1])

            async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
                limits.stopping.set()
                app.close()
                # What visitors were sent is cut off, as it must be; that is not worth a word.
                logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
                await super().shutdown(sockets)

        config = uvicorn.Config(
            app, log_level="warning", server_header=False, timeout_graceful_shutdown=_PATIENCE, lifespan="on"
        )
        Server(config).run(sockets=[bound])
