"""Opening photos in other processes."""

import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from finercam.data.dataset import Example, Item
from finercam.errors import FinercamError
from finercam.models.preprocessing import Preprocessing
from finercam.runs import manifest as manifests
from finercam.runs.local import Local, most_workers, prepared_parts
from finercam.runs.on_ray import OnRay
from finercam.runs.preparing import Preparer
from finercam.runs.storage import Folder
from finercam.studies.evaluate.evaluation import Evaluation
from finercam.studies.evaluate.placing import Placed


@pytest.fixture
def folder(tmp_path):
    found = Folder(str(tmp_path))
    manifests.write(found, [Item(f"{i}.png", f"{i}.png", 0) for i in range(11)], [0], 4)
    return found


def described(entry):
    return entry.id, entry.item.key, torch.full((2, 3), float(entry.id)), os.getpid()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_photo_comes_once_in_order(folder, workers):
    found = []
    for part, photos in prepared_parts(folder, [2, 0], described, workers):
        for number, key, tensor, process in photos:
            found.append((part, number, key))
            assert torch.equal(tensor, torch.full((2, 3), float(number)))
            assert (process == os.getpid()) == (workers == 0)
    assert found == [(2, i, f"{i}.png") for i in (8, 9, 10)] + [(0, i, f"{i}.png") for i in range(4)]


def test_what_is_prepared_takes_no_open_files(folder):
    """In shared memory, where tensors go, each would; containers have little of that, and processes may open 1024."""
    image = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    example = Example(
        image, np.ones((8, 8), bool), {n: np.ones((8, 8), bool) for n in range(200)}, (0.0, 0.0, 8.0, 8.0)
    )
    preprocessing = Preprocessing(lambda photo: torch.from_numpy(np.float32(photo)).permute(2, 0, 1))
    prepare = Preparer(Evaluation(metrics=("localization",)), lambda item: example, preprocessing)
    before = len(os.listdir("/proc/self/fd"))
    found = [photo for _, photos in prepared_parts(folder, [0, 1, 2], prepare, 2) for photo in photos]
    assert len(os.listdir("/proc/self/fd")) < before + 50
    assert len(found) == 11
    assert all(isinstance(photo, Placed) for photo in found)
    assert all(len(photo.differences) == 200 and photo.image.shape == (3, 8, 8) for photo in found)


def test_what_cannot_be_pickled_is_forked(folder):
    lock = threading.Lock()

    def prepare(entry):
        with lock:
            return entry.id

    assert [list(photos) for _, photos in prepared_parts(folder, [0], prepare, 1)] == [[0, 1, 2, 3]]


def test_a_process_that_is_killed_is_one_line(folder):
    def prepare(entry):
        if entry.id == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return entry.id

    with pytest.raises(FinercamError, match="a process that opens photos was stopped"):
        [list(photos) for _, photos in prepared_parts(folder, [0], prepare, 1)]


def test_fewer_processes_than_none_are_refused():
    with pytest.raises(FinercamError, match="workers is -1"):
        Local(-1)
    with pytest.raises(FinercamError, match="0 models at once is too few"):
        OnRay(actors=0)
    with pytest.raises(FinercamError, match="gpus is -1"):
        OnRay(gpus=-1.0)


def _big(entry):
    return np.zeros(2_000_000, np.uint8)


def _read_on_and_on(folder, workers):
    for _, items in prepared_parts(folder, range(4), _big, 2):
        for _ in items:
            workers.put([child.pid for child in multiprocessing.active_children()])
            time.sleep(0.05)


def test_workers_end_with_the_process_that_runs_the_model(tmp_path):
    """Also where that is killed while there is more than they can hand over."""
    folder = Folder(str(tmp_path))
    items = [Item(f"{number}.png", f"{number}.png", 0) for number in range(64)]
    manifests.write(folder, items, [0], 16)
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    process = context.Process(target=_read_on_and_on, args=(folder, told))
    process.start()
    workers = told.get(timeout=60)
    assert len(workers) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    end = time.monotonic() + 30
    while time.monotonic() < end and any(os.path.exists(f"/proc/{worker}") for worker in workers):
        time.sleep(0.05)
    assert not [worker for worker in workers if os.path.exists(f"/proc/{worker}")]


@pytest.mark.parametrize("workers", [-1, 99_999])
def test_workers_are_as_many_as_the_machine_has_use_for(workers):
    with pytest.raises(FinercamError, match=f"workers is {workers}; give 0 to {most_workers()} on this machine"):
        Local(workers)
