"""``{commands}``: every command of ``finercam`` with its arguments and options, as its help has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from finercam.cli.main import app as application


class Commands(SphinxDirective):
    """A section for each command."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        root = typer.main.get_command(application)
        return [self._section(path, command) for path, command in _commands(root, "finercam")]

    def _section(self, path: str, command: Any) -> nodes.section:
        section = nodes.section(ids=[nodes.make_id(path)])
        section += nodes.title(text=path)
        context = command.context_class(command, info_name=path)
        section += nodes.literal_block(text=" ".join([path, *command.collect_usage_pieces(context)]))
        for paragraph in (command.help or "").strip().split("\n\n"):
            section += nodes.paragraph(text=" ".join(paragraph.split()))
        rows = [row for own in command.get_params(context) if (row := own.get_help_record(context)) is not None]
        section += _table([(name, " ".join(text.split())) for name, text in rows if not name.startswith("--help")])
        self.state.document.note_explicit_target(section)
        return section


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield all commands by their names. What click calls a command is typer's own in some of its versions."""
    if not hasattr(group, "list_commands"):
        yield path, group
        return
    context = group.context_class(group)
    for name in group.list_commands(context):
        yield from _commands(group.get_command(context, name), f"{path} {name}")


def _table(rows: list[tuple[str, str]]) -> list[nodes.Node]:
    if not rows:
        return []
    body = nodes.tbody()
    for name, text in rows:
        option = nodes.entry("", nodes.paragraph("", "", nodes.literal(text=name)))
        body += nodes.row("", option, nodes.entry("", nodes.paragraph(text=text)))
    group = nodes.tgroup("", nodes.colspec(colwidth=3), nodes.colspec(colwidth=7), body, cols=2)
    return [nodes.table("", group, classes=["options"])]


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
