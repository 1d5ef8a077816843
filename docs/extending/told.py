"""What a report tells of the folders of a study of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from brightness import Brightness

from finercam.report.folder import folder_kind
from finercam.report.pages import Section
from finercam.report.parts import Table
from finercam.runs.rows import Rows


@folder_kind("brightness", studies=["brightness"])
def sections(folders: Sequence[str]) -> Iterator[Section]:
    """Yield a table of what the model saw in each photo."""
    for folder in folders:
        seen = Brightness().summary(Rows(folder))
        yield Section("Brightness", [Table([["photo", "seen"], *([photo, name] for photo, name in seen.items())])])
