"""``finercam methods``, ``metrics``, ``datasets`` and ``models``: everything that is available, with sources."""

from __future__ import annotations

from typing import Annotated

import typer

from finercam.cli.console import new_table, say, show


def methods() -> None:
    """List the methods, their parameters and sources, and which ones we recommend."""
    from finercam.methods.method import METHODS

    table = new_table("method", "title", "parameters", "source")
    for method in METHODS.values():
        table.add_row(
            method.name,
            method.title,
            " ".join(f"{name}={value}" for name, value in method.parameters) or "-",
            method.source or "-",
        )
    show(table)
    say("", stderr=False)
    say(
        "A parameter is set as in rise@masks=2000. Every method takes any contrast; gamma 0 is its plain form.",
        stderr=False,
    )
    say(
        "Recommended besides the default: fast and sharp, --method sharp --gamma 1 (about 2 forward passes); "
        "sharpest, --method sharpest --gamma 1 (at most 30).",
        stderr=False,
    )


def metrics() -> None:
    """List the metrics of evaluate: which direction is better, their parameters, and what they measure."""
    from finercam.metrics.metric import METRICS
    from finercam.registry import parameters_of

    table = new_table("metric", "better", "parameters", "what it is")
    for metric in METRICS.values():
        parameters = parameters_of(metric.function).values()
        shown = (one.name if one.default is one.empty else f"{one.name}={one.default}" for one in parameters)
        first, *_ = (metric.function.__doc__ or "").strip().splitlines() or [""]
        table.add_row(metric.name, metric.better or "-", " ".join(shown) or "-", first)
    show(table)
    say("", stderr=False)
    say("A parameter is set as in relative-drop@0.1 or deletion@steps=20.", stderr=False)


def datasets(
    action: Annotated[
        str, typer.Argument(metavar="[check]", help="check: say what a download has and what is missing.")
    ] = "",
    dataset: Annotated[str, typer.Argument(metavar="[DATASET]", help="The download: FORMAT:DIR.")] = "",
) -> None:
    """List the formats of data sets, how to write them, and what annotations they have; or check a download of one."""
    from finercam.data.format import FORMATS
    from finercam.errors import FinercamError

    if action:
        if action != "check" or not dataset:
            given = f"{action} {dataset}".strip()
            raise FinercamError(
                f"'finercam datasets {given}' is not a command; write finercam datasets check FORMAT:DIR"
            )
        _check(dataset)
        return
    table = new_table("spec", "data set", "knows", "source")
    for _, known in sorted(FORMATS.items()):
        table.add_row(" or ".join(known.specs), known.title, ", ".join(known.knows) or "-", known.source or "-")
    show(table)


def _check(dataset: str) -> None:
    """Print what a download has, what is missing of it, and how many photos can be read."""
    from finercam.data.reading import check_download, read_dataset
    from finercam.errors import FinercamError

    layout, found = check_download(dataset)
    if found:
        table = new_table("part", "what for", "where")
        for one in found:
            absent = "missing, not needed" if one.optional else "MISSING"
            table.add_row(one.part, one.gives, absent if one.place is None else str(one.place))
        show(table)
    lacking = [one.part for one in found if one.lacking]
    if lacking:
        say(f"missing: {', '.join(lacking)}")
        raise typer.Exit(1)
    try:
        data = read_dataset(dataset, "all")
        items = [(item.label, item.part_mask is not None) for item in data.items()]
    except FinercamError as error:
        say(str(error))
        raise typer.Exit(1) from None
    labels, masked = {label for label, _ in items}, sum(with_mask for _, with_mask in items)
    say(f"{len(items):,} photos of {len(labels):,} classes can be read", stderr=False)
    if masked:
        say(
            f"{masked:,} of them with a mask of their parts: {', '.join(data.part_names)}",
            stderr=False,
        )
    if layout is not None and (layout.photos, layout.classes) != (None, None):
        photos = "" if layout.photos is None else f"{layout.photos:,} photos"
        classes = "" if layout.classes is None else f"{layout.classes:,} classes"
        say(f"published: {' of '.join(filter(None, (photos, classes)))}", stderr=False)


def models() -> None:
    """List the model families that are known to work, and the target layer of each."""
    from finercam.models.families import families

    table = new_table("family", "library", "example", "layer", "layout", "head")
    for family in families():
        layout = f"{family.layout}, {family.prefix} before" if family.prefix else family.layout
        table.add_row(family.title, family.library, family.example, family.layer, layout, family.head)
    show(table)
    say("", stderr=False)
    say(
        "finercam finds the layer by watching the model run, so other models of these libraries, and your own modules, "
        "work too; choose another layer with --layer.",
        stderr=False,
    )
