"""The guide: its recipes and what they make, its notebooks, its reference, and the way through it."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image

import finercam
from support import recorders, stand_ins
from test_docs import ROOT, commands, snippets

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    """Everything that docs/recipes.md and docs/programs.md make, in one go and as printed."""
    folder = tmp_path_factory.mktemp("recipes")
    with pytest.MonkeyPatch.context() as patch, finercam.METHODS.restored():
        stand_ins.furnish(folder, patch)
        recorders.stand_in(patch)
        patch.chdir(folder)
        made: dict[str, object] = {}
        for page in ("docs/recipes.md", "docs/programs.md"):
            # As a reader of one page has it: nothing comes from the other.
            names: dict[str, object] = {}
            for code in snippets(page):
                exec(compile(code, page, "exec"), names)
            made |= names
        yield made | {"folder": folder}


@pytest.mark.slow
def test_recipes_for_odd_models(recipes):
    assert (recipes["species"].classes, recipes["age"].classes) == (5, 2)
    assert recipes["by_place"].shape == (4, 64, 64)
    assert recipes["five"].channels == 5
    assert tuple(recipes["cells"]) == (28, 28)
    assert recipes["tuned"].labels.names == ("junco", "jay")
    assert recipes["same"].layers == recipes["five"].layers
    assert recipes["who"].target_name in ("Zora", "Momo", "Kiri")
    assert len(recipes["who"].references) == 2


@pytest.mark.slow
def test_recipes_for_words(recipes):
    assert recipes["words"].labels.names == ("a finch", "a jay")
    assert str(recipes["found"]).startswith("navy wings, against bird")


@pytest.mark.slow
def test_recipes_for_dense_outputs(recipes):
    """The logit is what ``read`` makes of the dense scores, and the map is that of its gradient."""
    images = torch.rand(1, 3, 224, 224)
    with recipes["segmentation"].look(images) as look, torch.no_grad():
        assert torch.allclose(look.logits, recipes["dense"](images)["out"].mean((2, 3)), atol=1e-5)
    assert recipes["why_bus"].target_name == "bus"
    assert recipes["detection"].classes == 5
    assert recipes["best_box"].shape == (2, 320, 320)


@pytest.mark.slow
def test_recipes_for_loops_and_logs(recipes):
    assert recipes["plain"].shape == recipes["finest"].shape == (2, 128, 128)
    assert not torch.equal(recipes["plain"], recipes["finest"])
    assert (recipes["folder"] / "bird.npy").is_file()
    assert recorders.SummaryWriter.written == [
        (f"why/{name}", epoch) for epoch in (0, 1) for name in ("bird.jpg", "other.jpg")
    ]
    assert len(recorders.WandbRun.logged) == 2
    (first, _) = recorders.FiftyOneDataset.added
    assert first["finer"].map.shape == Image.open(recipes["folder"] / "bird.jpg").size[::-1]


@pytest.mark.slow
def test_the_service_answers_in_threads(recipes):
    from fastapi.testclient import TestClient

    client = TestClient(recipes["service"])
    photo = (recipes["folder"] / "bird.jpg").read_bytes()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda gamma: client.post(f"/why?gamma={gamma}", content=photo), [0.6, 0.6, 1, 1]))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert answers[0].content == answers[1].content != answers[2].content
    refused = client.post("/why", content=b"no picture")
    assert refused.status_code == 422
    assert "the upload" in refused.json()["detail"]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", sorted((DOCS / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_run(notebook, tmp_path):
    import nbformat
    from nbclient import NotebookClient

    read = nbformat.read(notebook, as_version=4)
    assert not any(cell.get("outputs") for cell in read.cells), "notebooks are kept without what they print"
    NotebookClient(read, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()


@pytest.mark.slow
def test_the_array_of_jobs_makes_the_runs_that_the_table_is_of(tmp_path, monkeypatch):
    """The script as printed but for its photos, which are few; Slurm's part is played by a line of shell."""
    stand_ins.furnish(tmp_path, monkeypatch)
    shutil.copytree(tmp_path / "my_model", tmp_path / "probes" / "cub")
    page = (DOCS / "cluster.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```bash\n(.*?)```", page, flags=re.S)
    (tmp_path / "array.sh").write_text(script.replace("--images 1000", "--images 4 --skip-unmatched"))
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m "$@"\n')
    srun.chmod(0o755)
    environment = {**os.environ, "PATH": f"{srun.parent}{os.pathsep}{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": "1"}
    for task in ("0", "1"):
        command = ["bash", "-e", "array.sh"]
        subprocess.run(command, cwd=tmp_path, check=True, env={**environment, "SLURM_ARRAY_TASK_ID": task})
    (table,) = (command for command in commands("docs/cluster.md") if command.startswith("finercam table"))
    subprocess.run([str(srun), *table.split()], cwd=tmp_path, check=True)
    assert (tmp_path / "tables" / "table.md").read_text(encoding="utf-8").count("## ") == 2


#: Registries that are public, beside those in ``finercam.__all__``.
REGISTRIES = (
    "finercam.models.source.SOURCES",
    "finercam.data.format.FORMATS",
    "finercam.explanations.writers.WRITERS",
)


def test_the_reference_has_all_that_is_public():
    pages = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    documented = set(re.findall(r"^\.\. (?:auto\w+|py:data):: (\S+)$", pages, flags=re.M))
    assert {f"finercam.{name}" for name in finercam.__all__ if name != "__version__"} | set(REGISTRIES) <= documented
    # Else Sphinx writes a page without them, and says nothing.
    for name in documented:
        module, _, last = name.rpartition(".")
        assert getattr(importlib.import_module(module), last).__doc__, name


def test_every_task_leads_somewhere():
    """That the places exist is seen when the guide is built: a warning is an error there."""
    rows = re.findall(r"^\| (\d+)\. .*? \| (.*) \|$", (DOCS / "how.md").read_text(encoding="utf-8"), flags=re.M)
    assert [int(number) for number, _ in rows] == list(range(1, 26))
    assert all("](" in where or "{py:" in where for _, where in rows)


def test_examples_in_docstrings(tmp_path, monkeypatch):
    stand_ins.furnish(tmp_path, monkeypatch, images=32)
    monkeypatch.chdir(tmp_path)
    root = Path(finercam.__file__).parent
    files = [path for path in sorted(root.rglob("*.py")) if ">>>" in path.read_text(encoding="utf-8")]
    names = [".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__") for path in files]
    assert len(names) >= 3
    for name in names:
        found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
        assert found.attempted, name
        assert not found.failed, name


def test_the_release_reads_the_version_from_the_package():
    """A tag that is not the version stops the release; what reads the version is a line of sed."""
    import yaml

    files = sorted((ROOT / ".github").rglob("*.yml"))
    read = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}
    steps = read["release"]["jobs"]["build"]["steps"]
    (test,) = (step["run"] for step in steps if step.get("name") == "The tag is the version")
    shell = test.removeprefix("test ").split(" = ", 1)[1]
    done = subprocess.run(["bash", "-c", f"echo {shell}"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"v{finercam.__version__}"
    assert read["release"]["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert set(read["ci"]["jobs"]["versions"]["strategy"]["matrix"]["python"]) == {"3.10", "3.12", "3.13"}
