"""What the documentation prints works as printed: every command and every Python example."""

from __future__ import annotations

import glob
import re
import shlex
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import typer
from PIL import Image

from finercam.cli.main import app, main
from finercam.data.format import FORMATS
from finercam.explanations.writers import WRITERS
from finercam.methods.method import METHODS
from finercam.metrics.metric import METRICS
from finercam.models.source import SOURCES
from finercam.registry import IMPORT
from support import stand_ins

ROOT = Path(__file__).parents[1]
#: docs/benchmarks.md tells how its tables were made, with programs that are not part of the package.
#: Recipes are run, and looked at, by tests/test_guide.py.
NOT_TRIED = ("benchmarks.md", "programs.md", "recipes.md")
GUIDE = sorted(
    path for path in (ROOT / "docs").rglob("*.md") if path.name not in NOT_TRIED and "_build" not in path.parts
)
DOCS = ("README.md", *(path.relative_to(ROOT).as_posix() for path in GUIDE))

#: Programs that are not tried: they set up the environment that the tests run in, or need several machines.
OTHERS = ("make", "pip", "python3", "source", "ray")
#: Commands that take long or machines, which are only looked at for their options.
NOT_RUN = (
    "aviary train",
    # Serves until it is stopped; tests/app do that.
    "finercam app",
    "--engine ray",
    # On the two classifiers that the example trains.
    "--images 320 --out",
    # Of runs that an array of jobs made; tests/test_guide.py has them made.
    "table runs/gradcam runs/layercam",
)


def commands(file: str) -> list[str]:
    """Return the commands that a page prints in indented blocks, each on one line."""
    found: list[str] = []
    going_on = False
    for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
        if not line.startswith("    ") and not going_on:
            continue
        text = line.strip().removeprefix("$ ")
        if going_on:
            found[-1] += " " + text.removesuffix("\\").strip()
        elif text.split(" ")[0] in ("finercam", *OTHERS) and line.startswith("    ") and text[:2] != "- ":
            found.append(text.removesuffix("\\").strip())
        else:
            continue
        going_on = text.endswith("\\")
    return [command for command in found if command.startswith("finercam")]


def snippets(file: str) -> list[str]:
    """Return the Python examples of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / file).read_text(encoding="utf-8"), flags=re.S)


def arguments(command: str) -> list[str]:
    """Return the words of a command, patterns replaced by what is there, as a shell gives them."""
    words = []
    for word in shlex.split(command, comments=True)[1:]:
        words += sorted(glob.glob(word)) or [word] if "*" in word else [word]
    return words


def test_pages_have_commands_and_examples():
    assert len(commands("README.md")) >= 15
    assert len(snippets("README.md")) >= 5
    assert all(commands(f"docs/{name}.md") for name in ("evaluate", "faithfulness", "probes", "words", "results"))
    assert "\\" not in " ".join(command for file in DOCS for command in commands(file))


@pytest.mark.parametrize(("file", "command"), [(file, command) for file in DOCS for command in commands(file)])
def parsed(words: list[str]) -> None:
    """Parse a command and do not run it: an unknown option or a missing argument is an error."""
    found = typer.main.get_command(app)
    while words[0] == "--import":
        del words[:2]
    # Not isinstance: what click calls a group is typer's own in some of its versions.
    while hasattr(found, "get_command"):
        name = words.pop(0)
        inner = found.get_command(found.context_class(found), name)
        assert inner is not None, name
        found = inner
    found.make_context(found.name, words)


@pytest.mark.parametrize(("file", "command"), [(file, command) for file in DOCS for command in commands(file)])
def test_commands_exist_and_have_the_options_that_are_printed(file, command):
    parsed(arguments(command))


@pytest.mark.parametrize("wrong", ["explain bird.jpg --model aviary --gama 1", "explain", "explane bird.jpg"])
def test_a_wrong_command_would_be_seen(wrong):
    with pytest.raises(Exception, match=r"explane|(?i:no such option|missing)"):
        parsed(wrong.split())


@pytest.fixture
def extensions(tmp_path, monkeypatch):
    """Put the extensions that pages show where they look for them, and forget what they register."""
    files = list((ROOT / "docs" / "extending").glob("*.py"))
    for file in files:
        shutil.copy(file, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    # What --import sets, so that it is taken back.
    monkeypatch.setenv(IMPORT, "")
    with ExitStack() as stack:
        for registry in (METHODS, METRICS, FORMATS, SOURCES, WRITERS):
            stack.enter_context(registry.restored())
        yield
    for file in files:
        sys.modules.pop(file.stem, None)


@pytest.mark.slow
# The stand-ins know fewer words than the models they stand for.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("file", [file for file in DOCS if commands(file) or snippets(file)])
@pytest.mark.usefixtures("extensions")
def test_commands_and_examples_run_as_printed(file, tmp_path, monkeypatch, capsys):
    stand_ins.furnish(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    # In the order of the page: later ones use what earlier ones wrote.
    text = (ROOT / file).read_text(encoding="utf-8")
    names: dict[str, object] = {}
    steps = sorted([(text.index(one), one) for one in snippets(file)], key=lambda step: step[0])
    for _, code in steps:
        exec(compile(code, file, "exec"), names)
    for command in commands(file):
        if any(some in command for some in NOT_RUN):
            continue
        few = re.sub(r"--images \d+", "--images 4", command)
        whole = re.match(r"finercam (evaluate|compare .*|traits) cub:", command) is not None
        if whole and few == command:
            few += " --images 4"
        monkeypatch.setattr(sys, "argv", ["finercam", *arguments(few)])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        assert not stop.value.code, f"{command}\n{said.err}"


def test_the_picture_of_the_readme_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert target.startswith("https://") or (ROOT / target).exists(), target
    assert Image.open(ROOT / "docs/why.png").width > 600


def test_nothing_says_that_it_is_on_an_index():
    for file in ("README.md", *map(str, (ROOT / "docs").rglob("*.md"))):
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not re.search(r"pip install '?finercam", text), file
