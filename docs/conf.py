"""How Sphinx makes the guide of these pages: ``make docs`` builds it into ``docs/_build``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.domains.python import PyObject

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

from finercam import __version__  # noqa: E402
from finercam._torchvision import import_torchvision  # noqa: E402

# What is documented imports torchvision itself, unguarded.
import_torchvision()

project = "finercam"
author = "the authors of finercam"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "_sphinx.notebook_pages",
    "_sphinx.command_pages",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "finercam"
html_static_path = ["_static"]
html_css_files = ["guide.css"]
html_copy_source = False
html_show_copyright = False

# Commands stand in indented blocks, as they do everywhere in the repository.
highlight_language = "none"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
# Quotes become typographic, but the two hyphens of an option stay what they are.
smartquotes_action = "qe"
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = False

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
napoleon_numpy_docstring = False
napoleon_use_ivar = True

#: Files of the repository that are pages here under another name.
ELSEWHERE = {"../src/finercam/aviary/clip/model/README.md": "cards/aviary-clip.md"}
#: Pages that the table of contents names and that need not be there yet.
LATER = ("app", "paper")


def adapt(app: Sphinx, page: str, source: list[str]) -> None:
    """Have links to files elsewhere lead to their pages, and leave out pages that are not there."""
    for file, own in ELSEWHERE.items():
        source[0] = source[0].replace(f"]({file})", f"]({own})")
    for later in LATER:
        if page == "index" and not (HERE / f"{later}.md").exists():
            source[0] = source[0].replace(f"\n{later}\n", "\n")


def read_plainly(app: Sphinx, what: str, name: str, thing: Any, options: Any, arguments: str, returned: str) -> Any:
    """Have defaults that are made, or are functions, stand in a signature as Python; Sphinx reads no others."""
    return arguments and re.sub(r"<function (\w+)>", r"\1", arguments.replace("<factory>", "...")), returned


def setup(app: Sphinx) -> None:
    """Connect what is defined here."""
    app.connect("source-read", adapt)
    app.connect("autodoc-process-signature", read_plainly)
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
