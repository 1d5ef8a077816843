"""``finercam models``: the families that are known, and the layer looked at in each."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def print_models() -> None:
    """Print the table of known families."""
    from finercam.classifiers.families import FAMILIES

    table = Table(box=None, pad_edge=False)
    for heading in ("family", "library", "example", "layer", "layout", "head"):
        table.add_column(heading, overflow="fold")
    for family in FAMILIES:
        layout = f"{family.layout}, {family.prefix} before" if family.prefix else family.layout
        table.add_row(family.title, family.library, family.example, family.layer, layout, family.head)
    console = Console()
    if not console.is_terminal:
        # Piped, a row stays one line.
        console = Console(width=160)
    console.print(table)
    console.print(
        "\nThe layer is found by watching the model run, so other models of these libraries, and your own modules, "
        "work too; --layer takes another one.",
        highlight=False,
    )
