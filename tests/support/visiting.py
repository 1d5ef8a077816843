"""Visitors of the app, as its page speaks to the server; and the app in a process of its own."""

from __future__ import annotations

import json
import re
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from support.running import finish, start


class Server:
    """The app, being served."""

    def __init__(self, process: Any, url: str, folder: Path) -> None:
        self.process, self.url, self.folder = process, url, folder

    def memory(self) -> float:
        """Return the megabytes that it has in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def files(self) -> list[Path]:
        """Return what it has put aside on the disk."""
        return [file for file in self.folder.rglob("*") if file.is_file()]


@contextmanager
def served(*arguments: object, folder: Path) -> Iterator[Server]:
    """Serve the app on a free port, with its temporary files below a folder."""
    process = start("app", "--port", 0, "--device", "cpu", *arguments, TMPDIR=str(folder))
    url = process.stdout.readline().strip()
    if not url:
        raise AssertionError(finish(process))
    try:
        yield Server(process, url, folder)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            finish(process, 30)


class Visitor:
    """One tab of a browser."""

    def __init__(self, url: str) -> None:
        self.web = httpx.Client(base_url=url, timeout=120)
        self.session = uuid.uuid4().hex[:10]

    def config(self) -> Any:
        """Return what the page is made of."""
        return self.web.get("/config").json()

    def upload(self, name: str, content: bytes) -> httpx.Response:
        """Give a photo."""
        return self.web.post("/gradio_api/upload", files={"files": (name, content)})

    def photo(self, name: str, content: bytes) -> dict[str, Any]:
        """Give a photo, and return what the page then holds."""
        (path,) = self.upload(name, content).raise_for_status().json()
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def ask(self, photo: Any, /, **changes: Any) -> str:
        """Press the button; return the HTML that is shown."""
        asked = {
            "model": 0,
            "photo": photo,
            "target": "predicted",
            "against": [],
            "concepts": "",
            "base": "bird",
            "methods": ["gradcam"],
            "gamma": 0.6,
        } | changes
        return self.join(list(asked.values()))["data"][0]

    def number(self, inputs: int) -> int:
        """Return the number of what takes so many inputs."""
        return next(one["id"] for one in self.config()["dependencies"] if len(one["inputs"]) == inputs)

    def join(self, data: list[Any]) -> dict[str, Any]:
        """Send what a button sends, wait, and return the answer."""
        body = {"data": data, "fn_index": self.number(len(data)), "session_hash": self.session, "event_data": None}
        self.web.post("/gradio_api/queue/join", json=body).raise_for_status()
        with self.web.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as lines:
            for line in lines.iter_lines():
                message = json.loads(line.removeprefix("data:") or "{}") if line.startswith("data:") else {}
                if message.get("msg") == "process_completed":
                    return message["output"]
        raise AssertionError("the server went away")
