"""The rooms of the package and the arrows between them: see CONTRIBUTING.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import finercam

ROOT = Path(finercam.__file__).parent

#: From the bottom up. A room imports from those above it in this list only.
FLOORS = (
    {"errors", "_torchvision"},
    {"files", "texts"},
    {"registry"},
    {"contrast"},
    {"models"},
    {"methods"},
    {"data"},
    {"metrics"},
    {"explanations"},
    {"runs"},
    {"studies"},
    {"report"},
    {"app"},
    {"cli"},
    {"aviary"},
)
#: An explanation draws itself: the one arrow that runs back up, inside of a function.
EXCEPTIONS = {("explanations.pictured", "report")}


def _module(path: Path) -> str:
    name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    return name.removesuffix(".__init__")


MODULES = {_module(path): path for path in sorted(ROOT.rglob("*.py"))}


def _imports(path: Path) -> set[str]:
    """Return the modules of the package that a file imports when it runs, in functions too."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "finercam":
            base = node.module.removeprefix("finercam").lstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                found.add(inner if inner in MODULES else base)
        elif isinstance(node, ast.Import):
            found.update(a.name.removeprefix("finercam.") for a in node.names if a.name.startswith("finercam."))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found - {""}


IMPORTS = {name: _imports(path) for name, path in MODULES.items()}


def _room(module: str) -> str:
    return module.split(".")[0]


def test_every_room_is_on_a_floor_and_there_are_at_most_twenty():
    rooms = {_room(name) for name in MODULES} - {"__init__", "__main__"}
    assert rooms == set().union(*FLOORS)
    assert len(rooms) <= 20


@pytest.mark.parametrize("module", sorted(set(IMPORTS) - {"__init__", "__main__"}))
def test_no_arrow_runs_back_up(module):
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for other in IMPORTS[module]:
        if (module, _room(other)) in EXCEPTIONS or _room(other) == _room(module):
            continue
        assert floor[_room(other)] < floor[_room(module)], f"{module} imports {other}"


def test_no_module_imports_itself_by_way_of_others():
    """Depth first; the exception is left out, and so are imports inside of functions of a package's own parts."""
    state: dict[str, int] = {}

    def visit(module: str, path: tuple[str, ...]) -> None:
        state[module] = 1
        for other in sorted(IMPORTS.get(module, ())):
            if (module, _room(other)) in EXCEPTIONS or other not in IMPORTS:
                continue
            assert state.get(other) != 1, " -> ".join([*path, module, other])
            if other not in state:
                visit(other, (*path, module))
        state[module] = 2

    for module in IMPORTS:
        if module not in state and module not in ("__init__", "__main__"):
            visit(module, ())


def test_only_the_aviary_names_the_aviary():
    """It is reached through the registries, like anybody's extension."""
    for name, path in MODULES.items():
        if _room(name) != "aviary":
            assert not {other for other in IMPORTS[name] if _room(other) == "aviary"}, name
            assert "finercam.aviary" not in path.read_text(encoding="utf-8"), name


def test_files_stay_short():
    files = [path for path in ROOT.rglob("*") if path.suffix in (".py", ".js")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert not {name: length for name, length in lengths.items() if length > 320}
