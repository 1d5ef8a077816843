"""What the server answers: the routes that the page uses and no others, requests of a bounded size, and a policy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

Message: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
Application: TypeAlias = "Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]"

#: What Gradio's page asks for. Everything else that Gradio can do (its interface for programs, proxying, monitoring,
#: recordings, other people's components) is not there.
PAGES = frozenset({"/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt"})
FOLDERS = (
    "/assets/",
    "/static/",
    "/svelte/",
    "/gradio_api/upload",
    "/gradio_api/queue/",
    # Only for what does not run a model: everything that queues is refused there.
    "/gradio_api/run/predict",
    "/gradio_api/heartbeat/",
    "/gradio_api/file=",
    "/gradio_api/startup-events",
    "/gradio_api/app_id",
    "/gradio_api/cancel",
    "/gradio_api/reset",
)
UPLOAD = "/gradio_api/upload"
#: Bytes of a request that is no upload: a question is a few hundred.
QUESTION = 256 * 1024
#: Files of the largest size that may lie here at once, in all.
_FILES = 40
#: Bytes around a file in an upload: its name and the boundaries.
_AROUND = 64 * 1024

#: Nothing comes from elsewhere, and nothing goes there. The live page, in a frame without an origin, is held to this
#: and to its own, stricter one. Gradio makes functions of its templates and puts styles into elements.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "frame-src 'self'",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class _TooLarge(Exception):
    """More came than was allowed."""


class Guard:
    """An ASGI application in front of another.

    Args:
        app: what is guarded.
        folder: where uploaded files lie.
        largest: bytes that one may have.
    """

    def __init__(self, app: Application, folder: Path, largest: int) -> None:
        self.app, self.folder, self.largest = app, folder, largest
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End what visitors are connected to: to the application it is as if they had gone."""
        self._closing.set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path not in PAGES and not path.startswith(FOLDERS):
            await _refuse(send, 404, "there is nothing here")
            return
        most = self.largest + _AROUND if path == UPLOAD else QUESTION
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if not said.isdigit() or int(said) > most:
            await _refuse(send, 413, f"the request is larger than {most} bytes")
            return
        if path == UPLOAD and self._used() > _FILES * self.largest:
            await _refuse(send, 503, "too many photos are here at the moment; come back in a while")
            return
        come, begun = 0, False

        async def bounded() -> Message:
            nonlocal come
            message = await self._next(receive)
            come += len(message.get("body", b""))
            if come > most:
                raise _TooLarge
            return message

        async def with_policy(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            await self.app(scope, bounded, with_policy)
        except _TooLarge:
            if not begun:
                await _refuse(send, 413, f"the request is larger than {most} bytes")

    async def _next(self, receive: Receive) -> Message:
        coming, closing = asyncio.ensure_future(receive()), asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((coming, closing), return_when=asyncio.FIRST_COMPLETED)
            return coming.result() if coming.done() else {"type": "http.disconnect"}
        finally:
            coming.cancel()
            closing.cancel()

    def _used(self) -> int:
        sizes = 0
        for file in self.folder.rglob("*"):
            # Others come and go meanwhile.
            with suppress(OSError):
                sizes += file.stat().st_size
        return sizes


async def _refuse(send: Send, status: int, why: str) -> None:
    body = why.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    # What is still coming is not read.
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_HEADERS]})
    await send({"type": "http.response.body", "body": body})
