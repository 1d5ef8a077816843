"""``finercam regions``: where the evidence is, as regions that annotation tools and tables take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finercam.cli import options as o
from finercam.cli.console import progress, say
from finercam.texts import said_of


def regions(
    results: Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder of finercam explain.")],
    by: Annotated[
        str,
        typer.Option(
            help="Which pixels: threshold@0.5 (half of the peak), top@0.1 (a tenth of the pixels), energy@0.5 (the "
            "fewest with half of the evidence)."
        ),
    ] = "threshold",
    formats: Annotated[
        list[str],
        typer.Option(
            "--format",
            help="One or several: coco, label-studio (each also @polygon, @box), csv, masks.",
        ),
    ] = ["coco"],  # noqa: B006 - typer copies it
    least: Annotated[float, typer.Option(help="Leave out regions with a smaller share of the evidence.")] = 0.01,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("finercam-regions"),
) -> None:
    """Write the regions of explanations, in pixels of the photos: COCO, Label Studio, CSV, or masks.

    A region is connected; its score is the share of the map's evidence that lies in it. Nothing is run again.
    """
    from finercam.explanations.outlining import outline_folder
    from finercam.explanations.records import read_records
    from finercam.report.regions.writing import region_files, write_regions

    files = region_files(o.listed(formats), o.folder(out))
    every = read_records(results / "explanations.jsonl")
    found = explained = bare = failed = unexplained = 0
    with progress() as bar:
        task = bar.add_task("outlining", total=len(every))
        for record, one in zip(every, write_regions(outline_folder(results, by, least), files), strict=True):
            if "error" in record:
                # finercam explain has named it, with the reason.
                unexplained += 1
            elif one.error is not None:
                failed += 1
                say(said_of(one.record["image"], one.error), style="red", to=bar.console)
            else:
                explained += 1
                found += len(one.regions)
                bare += not one.regions
            bar.advance(task)
    without = f", {bare} without any" if bare else ""
    before = f", {unexplained} had failed to be explained" if unexplained else ""
    say(f"{found} regions of {explained} explanations{without}, {failed} failed{before}; see {out}")
    raise typer.Exit(1 if failed or unexplained else 0)
