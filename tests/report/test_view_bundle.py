"""The view's modules: honest ones, and one text of them."""

import re
from pathlib import Path

import pytest

from finercam import FinercamError
from finercam.report.view import bundle, page
from finercam.report.view.bundle import bundled

FOLDER = Path(bundle.__file__).parent / "js"
GOOD = {
    "view.js": 'import { b, C } from "./b.js";\nimport { a } from "./a.js";\n\nexport default { a, b, C };\n',
    "a.js": "// The first.\n\nexport const a = 1;\n",
    "b.js": 'import { a } from "./a.js";\n\nexport async function b() {\n  return a;\n}\n\nexport class C {}\n',
}


@pytest.fixture
def modules(tmp_path):
    def written(changes):
        for name, text in {**GOOD, **changes}.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return written


def test_what_is_imported_comes_first_and_once(modules):
    assert bundled(modules({}), "view.js") == (
        "// The first.\n\nconst a = 1;\n\n"
        "async function b() {\n  return a;\n}\n\nclass C {}\n\n"
        "export default { a, b, C };\n"
    )


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("b.js", 'import { a, other } from "./a.js";\n', r"b\.js imports other, which a\.js does not export"),
        ("b.js", 'import { c } from "./c.js";\n', r"b\.js needs c\.js, which is not in"),
        (
            "a.js",
            'import { b } from "./b.js";\nexport const a = 1;\n',
            r"each other: view\.js -> b\.js -> a\.js -> b\.js",
        ),
        ("a.js", "export const a = 1;\nfunction b() {}\n", r"a\.js and b\.js both declare b"),
        ("a.js", "const a = 1;\n", r"imports a, which a\.js does not export"),
        ("a.js", "export const [a] = [1];\n", r"a\.js has a const at its top that is not of one name"),
        ("a.js", "export const a = 1;\nexport default a;\n", r"a\.js has 'export default a;', which is not read"),
        ("a.js", 'import * as b from "./b.js";\nexport const a = 1;\n', r"a\.js has 'import \* as b"),
        ("view.js", 'import { a } from "./a.js";\n', r"view\.js does not end in one line 'export default"),
        ("view.js", "export default 1;\nexport default 2;\n", r"view\.js has 'export default 1;', which is not read"),
    ],
)
def test_a_module_that_is_not_honest_is_refused(modules, name, text, said):
    with pytest.raises(FinercamError, match=said):
        bundled(modules({name: text}), "view.js")


def words(text):
    """Return the names a module uses: not those in comments and strings, after a dot, or of methods and keys."""
    text = re.sub(r'/\*.*?\*/|"(?:[^"\\\n]|\\.)*"', " ", text, flags=re.S)
    text = re.sub(r"^import .*|^\s*//.*|^  (?:async |get )?\w+\(.*\) \{$", "", text, flags=re.M)
    return set(re.findall(r"(?:(?<=\.\.\.)|(?<![\w$.]))[A-Za-z]\w*(?![\w$]|: | [a-z])", text))


def test_each_module_imports_what_it_uses_and_nothing_else():
    # In one text a name that is not imported would be found all the same; where the modules are loaded it would not.
    modules = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.js")}
    exported = {name: set(re.findall(r"^export (?:async )?\w+ (\w+)", text, re.M)) for name, text in modules.items()}
    used = set()
    for name, text in modules.items():
        others = set().union(*(names for other, names in exported.items() if other != name))
        imported = {one for names in re.findall(r"^import \{ (.*) \} from", text, re.M) for one in names.split(", ")}
        assert imported == words(text) & others, name
        used |= imported
    # And what is exported is imported somewhere: no module is left out of the text.
    assert set().union(*exported.values()) == used


def test_every_module_is_in_the_page():
    text = page.source("view.js")
    for path in FOLDER.glob("*.js"):
        assert path.read_text(encoding="utf-8").splitlines()[0] in text
    assert not re.findall(r"^(?:import|export (?!default))", text, re.M)
