"""The source in a run's fingerprint: found from what is imported, and guarded by what really runs."""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from finercam.runs.code import of_code, sources
from finercam.studies.evaluate.evaluation import Evaluation
from support import executed

#: Which parts are done, where files lie and which run it is: nothing that a number could come from.
_FILES = ("code", "contents", "engine", "fingerprint", "loaded", "local", "preprocessed")
BOOKKEEPING = {f"finercam.runs.{name}" for name in _FILES}

PACKAGE = {
    "__init__": "from .start import begin\n",
    "start": "from __future__ import annotations\nimport json\nfrom typing import TYPE_CHECKING\n"
    "from zoo.near import helper\n"
    "if TYPE_CHECKING:\n    from zoo.types import Kind\nelse:\n    import zoo.chosen\n"
    "def begin():\n    from zoo import late\n    from . import later as other\n"
    "    from .deep.inner import thing\n"
    "def own(): pass\nclass Record:\n    def __call__(self): pass\n",
    "near": "from zoo import *\nimport finercam.errors\ndef helper(): pass\n",
    "types": "Kind = int\n",
    "chosen": "",
    "late": "",
    "later": "",
    "unrelated": "",
    "deep/__init__": "import zoo.unrelated\n",
    "deep/inner": "from ..deep import sibling\nthing = 1\n",
    "deep/sibling": "",
}


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A package of another author's, imported as far as an import of ``zoo.start`` goes."""
    for name, text in PACKAGE.items():
        path = tmp_path / "zoo" / f"{name}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    yield importlib.import_module("zoo.start")
    for name in [name for name in sys.modules if name.partition(".")[0] == "zoo"]:
        del sys.modules[name]
    forget()


def forget():
    """Have files looked for and read again, as a new process does."""
    from finercam.runs import code

    code._source.cache_clear()
    code._imports.cache_clear()


def test_imports_are_followed_wherever_they_are(zoo):
    found = sources([zoo.own])
    # ``from zoo import *`` takes what the package's own file has; that of zoo.deep is only passed through.
    names = {
        "zoo",
        "zoo.start",
        "zoo.near",
        "zoo.chosen",
        "zoo.late",
        "zoo.later",
        "zoo.deep.inner",
        "zoo.deep.sibling",
        "finercam.errors",
    }
    assert set(found) == names
    assert found["zoo.deep.inner"].name == "inner.py"
    assert "zoo.late" not in sys.modules


def test_things_of_every_kind_lead_to_their_module(zoo):
    whole = set(sources([zoo.own]))
    for thing in (zoo, zoo.Record, zoo.Record(), zoo.Record().__call__, functools.partial(zoo.own, 1)):
        assert set(sources([thing])) == whole
    assert set(sources([functools.partial(print, zoo.own)])) == whole
    assert sources([print, len, 3.5, json, functools.reduce, tempfile.mkdtemp]) == {}


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ("start", True),
        ("near", True),
        ("late", True),
        ("deep/sibling", True),
        ("chosen", True),
        ("__init__", True),
        ("types", False),
        ("unrelated", False),
        ("deep/__init__", False),
    ],
)
def test_a_change_of_what_is_imported_changes_the_hash(zoo, tmp_path, changed, matters):
    before = of_code([zoo.own])
    assert of_code([zoo.own]) == before
    with (tmp_path / "zoo" / f"{changed}.py").open("a") as file:
        file.write("more = 1\n")
    forget()
    assert (of_code([zoo.own]) != before) == matters


def test_what_lies_beside_a_single_file_is_followed(tmp_path, monkeypatch):
    for name, text in {"my_method": "import torch, my_helper, my_tools.deep, json\ndef own(): pass\n", "my_helper": "",
                       "my_tools/__init__": "", "my_tools/deep": "", "my_other": ""}.items():  # fmt: skip
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    module = importlib.import_module("my_method")
    assert set(sources([module.own])) == {"my_method", "my_helper", "my_tools.deep"}
    for name in ("my_method", "my_helper", "my_tools", "my_tools.deep"):
        del sys.modules[name]
    forget()


def test_code_without_a_file_counts_by_its_text():
    def made(text):
        space = {"__name__": "a_notebook"}
        exec(text, space)
        return space["f"]

    first = of_code([made("def f(x): return x + 1")])
    assert of_code([made("def f(x): return x + 1")]) == first
    assert of_code([made("def f(x): return x + 2")]) != first
    assert of_code([made("def f(x): return x - 1")]) != first


def test_used_methods_and_metrics_count_and_others_do_not():
    def names(**options):
        return set(sources([Evaluation(**options), *Evaluation(**options).uses()]))

    plain = names(metrics=("deletion",))
    assert {"finercam.methods.cams", "finercam.metrics.masking", "finercam.models.look"} <= plain
    assert not {"finercam.methods.masks", "finercam.metrics.localization"} & plain
    assert "finercam.methods.masks" in names(methods=("scorecam",))
    assert "finercam.metrics.localization" in names(metrics=("localization",))


def test_all_that_runs_when_a_study_is_run_is_covered():
    """In an interpreter of its own, in which nothing else has been imported."""
    paths = os.pathsep.join([str(executed.ROOT.parent), str(Path(executed.__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, executed.__file__], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ran, covered = set(found["ran"]), set(found["covered"])
    assert ran - covered == BOOKKEEPING
    # What runs is noticed at all, and what shows results does not count.
    assert {"finercam.models.look", "finercam.methods.cams", "finercam.aviary.shapes", "finercam.runs.study"} <= ran
    assert not [name for name in covered if name.startswith(("finercam.cli", "finercam.report"))]
