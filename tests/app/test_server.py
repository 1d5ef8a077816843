"""The app, served: many visitors at once, what must be refused, and what stays behind."""

import io
import re
import signal
import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from finercam.app import serving
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from support.running import finish, run
from support.visiting import Visitor, served

pytest.importorskip("gradio")


def picture(index=0):
    birds = read_dataset("aviary", images=index + 1)
    buffer = io.BytesIO()
    birds.open(list(birds.items())[index]).photo.save(buffer, "png")
    return buffer.getvalue()


def bomb():
    """A PNG of a few hundred kilobytes that would be 2.7 gigabytes."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    side = 30_000
    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    pixels = zlib.compressobj(9)
    rows = b"".join(pixels.compress(bytes(1 + 3 * side)) for _ in range(100)) + pixels.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served("--model", "aviary", "--max-upload", 5, folder=tmp_path_factory.mktemp("app")) as found:
        yield found


def test_a_photo_is_explained(server):
    visitor = Visitor(server.url)
    shown = visitor.ask(visitor.photo("bird.png", picture()))
    assert "Streak-breasted Thrush" in shown
    assert 'role="alert"' not in shown


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("broken.png", picture()[:900], "'broken.png' cannot be read"),
        ("words.jpg", b"no picture at all", "'words.jpg' is not a picture"),
        ("bomb.png", bomb(), "'bomb.png' cannot be read: Image size"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a picture"),
        ("<img src=x onerror=alert(1)>.png", b"", "&lt;img src=x onerror=alert(1)&gt;.png"),
    ],
)
def test_what_is_no_photo_is_told_in_a_sentence(server, name, content, says):
    visitor = Visitor(server.url)
    shown = visitor.ask(visitor.photo(name, content))
    assert says.replace("'", "&#x27;") in shown
    assert 'role="alert"' in shown
    assert "<img" not in shown


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "timm/resnet50.a1_in1k"},
        {"model": 7},
        {"methods": ["rise@masks=1000000"]},
        {"gamma": "much"},
        {"gamma": [1]},
        {"gamma": 1e300},
        {"target": "Dodo"},
        {"target": {"a": "b"}},
        {"against": ["x" * 1000]},
        {"against": ["Fan-crested Jay"] * 100},
        {"methods": []},
        {"photo": None},
        {"photo": {"path": ""}},
    ],
)
def test_what_cannot_be_asked_is_told_in_a_sentence(server, changes):
    visitor = Visitor(server.url)
    shown = visitor.ask(visitor.photo("bird.png", picture()), **changes)
    assert shown.startswith('<div class="finercam-note" role="alert">')


def test_files_of_the_server_are_not_photos(server):
    visitor = Visitor(server.url)
    for given in ({"path": __file__, "meta": {"_type": "gradio.FileData"}}, {"path": __file__}):
        answer = visitor.join([0, given, "", [], "", "", "gradcam", 0.6])
        # Gradio's check, or ours.
        assert "data" not in answer or "no longer on the server" in answer["data"][0]
    assert not [file for file in server.files() if file.name == Path(__file__).name]


def test_a_large_upload_is_refused_before_it_is_read(server):
    before = server.memory()

    def without_end():
        for _ in range(300):
            yield bytes(2**20)

    visitor = Visitor(server.url)
    whole = visitor.web.build_request("POST", "/gradio_api/upload", content=b"x", headers={"content-length": "1"})
    whole.headers["content-length"] = str(300 * 2**20)
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":")[-1].strip("/")))) as line:
        line.sendall(f"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: {300 * 2**20}\r\n\r\n".encode())
        assert b" 413 " in line.recv(100)
    try:
        # Without a length, in pieces.
        answer = visitor.web.post(
            "/gradio_api/upload", content=without_end(), headers={"content-type": "multipart/form-data; boundary=b"}
        )
        assert answer.status_code in (400, 413)
    except OSError:
        # Or the line is cut.
        pass
    assert visitor.upload("large.png", bytes(6 * 2**20)).status_code == 413
    assert server.memory() < before + 30


def test_nothing_is_there_but_the_page(server):
    visitor = Visitor(server.url)
    for path in (
        "monitoring",
        "monitoring/summary",
        "gradio_api/info",
        "gradio_api/openapi.json",
        "gradio_api/runs",
        "gradio_api/vibe-code",
        "gradio_api/proxy=https://example.com",
        "gradio_api/mcp/sse",
        "gradio_api/custom_component/a/b/c/d",
        "docs",
        "openapi.json",
        "login",
    ):
        assert visitor.web.get(path).status_code == 404, path
    assert visitor.web.post("/gradio_api/run/explain", json={"data": []}).status_code == 404
    direct = {"data": [None] * 8, "fn_index": visitor.number(8), "session_hash": "x"}
    assert visitor.web.post("/gradio_api/run/predict", json=direct).status_code == 404
    for path in ("/etc/passwd", "http://127.0.0.1:1/"):
        assert visitor.web.get(f"gradio_api/file={path}").status_code in (403, 404), path
    page = visitor.web.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert visitor.web.post("/gradio_api/queue/join", content=bytes(10**6)).status_code == 413
    # What the page itself says to come from: no font, script or picture of somebody else's.
    assert not re.findall(r"(?:src|stylesheet\" href)=\"https?://", page.text)


def test_memory_is_held(server):
    photo = picture()
    for number in range(40):
        visitor = Visitor(server.url)
        visitor.ask(visitor.photo("bird.png", photo))
        visitor.web.close()
        if number == 9:
            before = server.memory()
    assert server.memory() < before + 60


def test_a_closed_tab_is_forgotten(tmp_path, monkeypatch):
    import uvicorn

    from finercam.app.layout import Limits, mounted
    from finercam.app.offer import offer

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    app = mounted([offer("aviary", methods=["gradcam"], device="cpu")], tmp_path, Limits(2**20, 60.0), [])
    remembered = app.routes[-1].app.state_holder.session_data
    with socket.create_server(("127.0.0.1", 0)) as bound:
        running = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
        with ThreadPoolExecutor(1) as pool:
            pool.submit(running.run, [bound])
            try:
                visitor = Visitor(f"http://127.0.0.1:{bound.getsockname()[1]}/")
                with visitor.web.stream("GET", f"/gradio_api/heartbeat/{visitor.session}"):
                    visitor.ask(visitor.photo("bird.png", picture()))
                    assert visitor.session in remembered
                end = time.monotonic() + 20
                while visitor.session in remembered:
                    assert time.monotonic() < end
                    time.sleep(0.1)
            finally:
                running.should_exit = True


@pytest.mark.slow
def test_twenty_people_at_once(server):
    photo = picture()

    def come(number):
        visitor = Visitor(server.url)
        held = visitor.photo("bird.png", photo)
        target = ["Streak-breasted Thrush", "Dapple-breasted Thrush"][number % 2]
        return [visitor.ask(held, target=target, gamma=number / 20) for _ in range(3)], target

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(come, range(20)))
    for shown, target in answers:
        assert all(target in one and 'role="alert"' not in one for one in shown)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "host"), [(signal.SIGTERM, "127.0.0.1"), (signal.SIGINT, "0.0.0.0")])
def test_it_stops_in_order_at_once_and_leaves_nothing(tmp_path, number, host):
    with served("--host", host, "--method", "rise@masks=1000000", folder=tmp_path) as server:
        visitor, other = Visitor(server.url), Visitor(server.url)
        photo = visitor.photo("bird.png", picture())
        assert list(tmp_path.rglob("bird.png"))
        with ThreadPoolExecutor(1) as pool, other.web.stream("GET", f"/gradio_api/heartbeat/{other.session}"):
            # It is at work for an hour.
            pool.submit(visitor.ask, photo, methods=["rise@masks=1000000"])
            time.sleep(3)
            server.process.send_signal(number)
            code, _, said = finish(server.process, 20)
    assert code == 128 + number
    *warned, how, last = said.splitlines()
    assert (how, last) == ("stop it with Ctrl-C", "finercam: stopped")
    assert [host in line and "no password" in line for line in warned] == [True] * (host == "0.0.0.0")
    assert not list(tmp_path.glob("finercam-app-*"))


@pytest.mark.slow
def test_an_answer_may_take_so_long_and_no_longer(tmp_path):
    with served("--method", "rise@masks=1000000", "--max-seconds", 2, folder=tmp_path) as server:
        visitor = Visitor(server.url)
        shown = visitor.ask(visitor.photo("bird.png", picture()), methods=["rise@masks=1000000"])
    assert "the answer takes longer than 2 seconds; choose a quicker method" in shown


def test_a_taken_port_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, out, said = run("app", "--port", port)
    assert (code, out, len(said.splitlines())) == (2, "", 1)
    assert f"port {port}" in said


def test_without_gradio_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(serving, "find_spec", lambda name: None)
    with pytest.raises(FinercamError, match=r"pip install 'finercam\[app\]'"):
        serving.check_gradio()


def test_an_address_that_is_not_there_is_one_line():
    with pytest.raises(FinercamError, match="is not an address"), serving.taken("no.such.host.invalid", 0):
        pass
    with pytest.raises(FinercamError, match="--port is 70000"), serving.taken("127.0.0.1", 70000):
        pass
