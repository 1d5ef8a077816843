"""Notebooks as pages: their Markdown as it is, their code as code, and the file to download."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx


def as_markdown(notebook: dict[str, Any], file: str) -> str:
    """Return the cells of a notebook as one page."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
    title, *rest = parts
    download = f"This page is a notebook: {{download}}`{file} <{file}>`. The tests run it as it is."
    return "\n\n".join([title, download, *rest]) + "\n"


class NotebookParser(MystParser):
    """Reads a notebook as Markdown."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Fill the document."""
        super().parse(as_markdown(json.loads(inputstring), Path(document["source"]).name), document)


def setup(app: Sphinx) -> dict[str, Any]:
    """Have Sphinx take notebooks for pages."""
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True}
