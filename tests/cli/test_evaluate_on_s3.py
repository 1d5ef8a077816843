"""Photos and results in an object store."""

from __future__ import annotations

import io
import os
import signal
import time

import pyarrow.parquet as pq
import pytest

from finercam.data.reading import read_dataset
from support import running
from support.evaluations import same

server = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")

ARGUMENTS = (
    "evaluate",
    "folder:s3://birds/photos",
    "--model",
    "aviary",
    "--metric",
    "relative-drop@0.05",
    "--device",
    "cpu",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store():
    """An object store of this machine with 60 photos in it, and the environment by which it is found."""
    running_server = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running_server.start()
    host, port = running_server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    files = s3fs.S3FileSystem(
        key="testing", secret="testing", endpoint_url=environment["AWS_ENDPOINT_URL"], use_listings_cache=False
    )
    files.mkdir("birds")
    aviary = read_dataset("aviary", images=60)
    for number, item in enumerate(aviary.items()):
        content = io.BytesIO()
        aviary.open(item).photo.save(content, "PNG")
        files.pipe_file(f"birds/photos/{aviary.class_names[item.label]}/{number}.png", content.getvalue())
    yield files, environment
    running_server.stop()


def rows_of(files, out):
    found = []
    for path in sorted(files.ls(f"{out}/rows", refresh=True)):
        found += pq.read_table(io.BytesIO(files.cat_file(path))).to_pylist()
    return found


@pytest.fixture(scope="module")
def whole(store):
    files, environment = store
    code, table, err = running.run(*ARGUMENTS, "--out", "s3://birds/whole", "--workers", 2, **environment)
    assert code == 0, err
    assert "Traceback" not in err
    assert "60 photos" in table
    return rows_of(files, "birds/whole")


def test_a_run_from_and_to_the_store(store, whole, tmp_path):
    files, environment = store
    names = {path.removeprefix("birds/whole/") for path in files.find("birds/whole")}
    parts = {f"rows/part-{part:05d}.parquet" for part in range(4)}
    assert names == {"run.json", "manifest.parquet", "table.md", "table.csv", "table.tex", *parts}
    assert sorted({row["id"] for row in whole}) == list(range(60))
    assert not any(row["error"] for row in whole)
    # The same photos to a folder of this machine, named by a URI, without other processes.
    out = tmp_path / "run"
    code, _, err = running.run(*ARGUMENTS, "--out", f"file://{out}", "--workers", 0, **environment)
    assert code == 0, err
    here = [row for path in sorted((out / "rows").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert here == whole
    code, table, err = running.run("table", "s3://birds/whole", **environment)
    assert (code, table) == (0, (out / "table.md").read_text()), err


def test_stopped_and_gone_on_with(store, whole):
    files, environment = store
    process = running.start(*ARGUMENTS, "--out", "s3://birds/stopped", **environment)
    end = time.monotonic() + 120
    while not files.find("birds/stopped/rows") and time.monotonic() < end:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    there = files.find("birds/stopped/rows")
    assert 1 <= len(there) < 4
    # A part that was damaged in the store.
    files.pipe_file(there[0], files.cat_file(there[0])[:-9])
    code, _, err = running.run(*ARGUMENTS, "--out", "s3://birds/stopped", **environment)
    assert code == 0, err
    assert rows_of(files, "birds/stopped") == whole


def test_on_a_cluster(store, whole):
    files, environment = store
    ray = pytest.importorskip("ray")
    assert ray
    code, _, err = running.run(
        *ARGUMENTS, "--out", "s3://birds/cluster", "--engine", "ray", "--workers", 2, **environment
    )
    assert code == 0, err
    same(rows_of(files, "birds/cluster"), whole, 1e-4)


@pytest.mark.parametrize(
    ("out", "change"),
    [
        ("s3://nowhere/run", {}),
        ("s3://birds/run", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}),
    ],
    ids=["no bucket", "no store"],
)
def test_what_cannot_be_reached_is_one_line(store, tmp_path, out, change):
    _, environment = store
    arguments = ("evaluate", "aviary", "--model", "aviary", "--images", 4, "--metric", "relative-drop@0.05")
    # Few attempts, or the answer is long in coming.
    few = {"AWS_MAX_ATTEMPTS": "1"}
    code, _, err = running.run(*arguments, "--out", out, **{**environment, **few, **change})
    assert code == 2, err
    assert err.splitlines()[-1].startswith("finercam: s3://")
    assert "Traceback" not in err
