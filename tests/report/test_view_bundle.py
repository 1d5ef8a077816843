"""The view's modules: honest ones, and one text of them."""

import pytest

from finercam import FinercamError
from finercam.report.view.bundle import bundled

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
