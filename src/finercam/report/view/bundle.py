"""The live view's modules as one text: a page holds one script, whose hash its policy names."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from finercam.errors import FinercamError

_IMPORT = re.compile(r'^import \{ ([\w$]+(?:, [\w$]+)*) \} from "\./([\w-]+\.js)";\n+', re.M)
_DECLARED = re.compile(r"^(export )?((?:async )?(?:function|class|const|let|var)\b)(?: ([\w$]+))?", re.M)
_DEFAULT = re.compile(r"^export default [^\n]+;\n*\Z", re.M)


@cache
def bundled(folder: Path, entry: str) -> str:
    """Return an ES module and all it imports as one: each module once, after those that it imports.

    What a module imports or declares begins a line of its own. It is imported by the name it was declared by, from a
    file of the folder: ``import { a, b } from "./c.js";``. The entry ends in ``export default``, and nothing else does.

    Args:
        folder: where the modules are.
        entry: the file's name of the one that imports the others.

    Raises:
        FinercamError: a module is missing, modules import each other, a name is imported from where it is not exported,
            two modules declare one name, or a module is written otherwise.
    """
    modules: dict[str, str] = {}
    exported: dict[str, set[str]] = {}
    declared: dict[str, str] = {}

    def add(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            ring = " -> ".join([*path, name])
            raise FinercamError(f"modules import each other: {ring}; move what both need to a third")
        if name in modules:
            return
        if not (folder / name).is_file():
            raise FinercamError(f"{path[-1] if path else 'the view'} needs {name}, which is not in {folder}")
        text = (folder / name).read_text(encoding="utf-8")
        for names, other in _IMPORT.findall(text):
            add(other, (*path, name))
            for one in names.split(", "):
                if one not in exported[other]:
                    raise FinercamError(f"{name} imports {one}, which {other} does not export; export it there")
        exported[name] = set()
        for export, kind, one in _DECLARED.findall(text):
            if not one:
                raise FinercamError(f"{name} has a {kind} at its top that is not of one name; declare names one by one")
            if one in declared:
                raise FinercamError(f"{declared[one]} and {name} both declare {one}; rename one of them")
            declared[one] = name
            if export:
                exported[name].add(one)
        modules[name] = _DECLARED.sub(lambda found: found[0].removeprefix("export "), _IMPORT.sub("", text))
        rest = _DEFAULT.sub("", modules[name]) if not path else modules[name]
        if unread := re.search(r"^(?:import|export)\b.*", rest, re.M):
            raise FinercamError(f"{name} has {unread[0]!r}, which is not read; see {__name__}.bundled")

    add(entry, ())
    if not _DEFAULT.search(modules[entry]):
        raise FinercamError(f"{entry} does not end in one line 'export default ...;'; write it there")
    return "\n".join(modules.values())
