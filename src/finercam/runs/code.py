"""The source that a run's numbers come from, found from what it imports: nobody has to remember to list a file.

From the modules in which the study, its methods and metrics, its data and its model are written, every import of the
same packages is followed, also those inside functions; of a module that is a single file, every import of what lies
beside it. Not followed are imports for type checkers only, and what a
package's ``__init__`` imports where nothing is taken from the package itself.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import MethodType, ModuleType
from typing import Any


def of_code(things: Iterable[Any]) -> str:
    """Return the SHA-256 of the source of things and of all that they import from finercam and their own package.

    Args:
        things: functions, methods, partial calls, classes, instances or modules.
    """
    found = hashlib.sha256()
    given = list(things)
    parts = {name: path.read_bytes() for name, path in sources(given).items()}
    parts |= {f"{one.__module__} {one.__qualname__}": _own_text(one) for one in _single(given) if _is_loose(one)}
    for name, content in sorted(parts.items()):
        found.update(f"{name} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()


def sources(things: Iterable[Any]) -> dict[str, Path]:
    """Return the files of ``of_code``, by the name of their module."""
    named = {name for one in _single(things) if _top(name := _module_of(one)) not in sys.stdlib_module_names}
    own = {"finercam", *map(_top, named)}
    beside = {path.parent for name in own if (path := _source(name)) and _is_users_file(path)}
    found: dict[str, Path] = {}
    waiting = sorted(named)
    while waiting:
        name = waiting.pop()
        path = None if name in found else _source(name)
        # What is not written in Python comes with its package's version, not with a file to read.
        if path is not None:
            found[name] = path
            waiting += [other for other in _imports(name, path) if _top(other) in own or _folder(other) in beside]
    return found


def _top(module: str) -> str:
    return module.partition(".")[0]


def _folder(module: str) -> Path | None:
    """Return the folder that the outermost package of a module lies in, or the file that is the module."""
    path = _source(_top(module))
    return None if path is None else path.parents[1] if path.stem == "__init__" else path.parent


def _is_users_file(path: Path) -> bool:
    return path.stem != "__init__" and path.parent.name not in ("site-packages", "dist-packages")


def _single(things: Iterable[Any]) -> Iterator[Any]:
    """Yield the functions, classes and modules that things are made of."""
    for thing in things:
        if isinstance(thing, functools.partial):
            # What is bound to it may be code too; plain values are told by the settings.
            bound = [one for one in (*thing.args, *thing.keywords.values()) if callable(one)]
            yield from _single([thing.func, *bound])
        elif isinstance(thing, MethodType):
            yield from _single([thing.__func__, thing.__self__])
        elif isinstance(thing, (ModuleType, type)) or inspect.isroutine(thing):
            yield inspect.unwrap(thing) if inspect.isfunction(thing) else thing
        else:
            yield type(thing)


def _module_of(thing: Any) -> str:
    return str(thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None) or "builtins")


def _is_loose(thing: Any) -> bool:
    """Whether code was written where there is no file to read, as in a notebook."""
    return inspect.isfunction(thing) and _source(_module_of(thing)) is None


def _own_text(function: Any) -> bytes:
    try:
        return inspect.getsource(function).encode()
    except (OSError, TypeError):
        code = function.__code__
        return repr((code.co_code, code.co_names, [one for one in code.co_consts if not inspect.iscode(one)])).encode()


@functools.cache
def _source(name: str) -> Path | None:
    """Return the Python file a module is written in, if there is one, without importing the module."""
    if name in sys.modules:
        file = getattr(sys.modules[name], "__file__", None)
    else:
        package = name.rpartition(".")[0]
        inside = _source(package) if package else None
        if package and (inside is None or inside.stem != "__init__"):
            return None
        spec = PathFinder.find_spec(name, None if inside is None else [str(inside.parent)])
        file = None if spec is None else spec.origin
    path = None if file is None else Path(file)
    return path if path is not None and path.suffix == ".py" and path.is_file() else None


@functools.cache
def _imports(name: str, path: Path) -> tuple[str, ...]:
    """Return the modules that a module imports, wherever in its text."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    found: dict[str, None] = {}
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            waiting += node.orelse
        elif isinstance(node, ast.Import):
            found.update(dict.fromkeys(alias.name for alias in node.names))
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            start = parts[: len(parts) + 1 - node.level] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                # Of a package either a module in it is taken, or what its __init__ holds.
                inner = f"{base}.{alias.name}"
                found[inner if _source(inner) else base] = None
        else:
            waiting += ast.iter_child_nodes(node)
    return tuple(found)


def _is_type_checking(test: ast.expr) -> bool:
    return (test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")) == "TYPE_CHECKING"
