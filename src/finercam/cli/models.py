"""``finercam models``: the families that are known, and the layer looked at in each."""

from __future__ import annotations

from finercam.cli.console import new_table, say, show


def print_models() -> None:
    """Print the table of known families."""
    from finercam.models.families import families

    table = new_table("family", "library", "example", "layer", "layout", "head")
    for family in families():
        layout = f"{family.layout}, {family.prefix} before" if family.prefix else family.layout
        table.add_row(family.title, family.library, family.example, family.layer, layout, family.head)
    show(table)
    say(
        "\nThe layer is found by watching the model run, so other models of these libraries, and your own modules, "
        "work too; --layer takes another one.",
        stderr=False,
    )
