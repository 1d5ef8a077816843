"""The steps of the paper on data and a model of one's own: runs, tables and figures, each skipped once done.

OUT/run.json                    what decides the numbers; a folder made of anything else is refused
OUT/runs/NAME/                  runs, which resume by themselves
OUT/tables/table-1.md .csv .tex
OUT/figures/NAME.pdf .png .txt  the figure, the same for the page, and its caption
OUT/index.html                  each beside what the paper says
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.data.dataset import Dataset
from finercam.errors import FinercamError
from finercam.files import whole
from finercam.models.classifier import Classifier
from finercam.models.run import Run
from finercam.report.album import Album, Shot
from finercam.report.figure import FIGURES
from finercam.report.printing import save_figure
from finercam.report.runs import titled
from finercam.runs.engine import Progress, run_study
from finercam.runs.loaded import Loaded
from finercam.runs.manifest import digest
from finercam.runs.run_folder import RunFolder
from finercam.runs.storage import Folder
from finercam.studies.evaluate.contrasts import contrasts_of
from finercam.studies.evaluate.evaluation import Evaluation
from finercam.studies.evaluate.tables import Block, read_block
from finercam.studies.evaluate.writing import save_tables, write_tables
from finercam.studies.faithfulness import writing as findings
from finercam.studies.faithfulness.examined import read_examined
from finercam.studies.faithfulness.study import Faithfulness
from finercam.studies.faithfulness.subjects import Subject
from finercam.studies.faithfulness.wording import TextMaps
from finercam.texts import csv_text, encoded

#: Called as a run goes on.
Advance: TypeAlias = Callable[[Progress], None]

#: Of Fig. 6b: strengths, and numbers of references.
GAMMAS, REFERENCES = (0.2, 0.4, 0.6, 0.8, 1.0), (1, 2, 3)
#: Of a figure: as it is printed, and as the page shows it.
FORMATS = ("pdf", "png")


class LeftOut(FinercamError):
    """The data or the model does not have what a step needs."""


@dataclass(frozen=True, eq=False)
class Paper:
    """What the figures and tables are made of.

    Attributes:
        out: the folder.
        spec: of the model, as it is shown.
        model: the classifier.
        dataset: the photos that are measured.
        album: all photos of the data, from which some are shown.
        run: how the model is run.
        methods: of Table 1 and of the comparison; the first is what all else is of that shows one.
        steps: of deletion.
        shown: how many photos galleries show.
        seed: of the photos shown.
        clip, base: a model of images and text for concepts, and what they are part of; without one they are left out.
        device: where that is loaded.
    """

    out: Path
    spec: str
    model: Loaded[Classifier]
    dataset: Dataset
    album: Album
    run: Run = field(default_factory=Run)
    methods: tuple[str, ...] = ("gradcam", "layercam", "scorecam")
    steps: int = 50
    shown: int = 3
    seed: int = 0
    clip: str = ""
    base: str = "bird"
    device: str = "auto"

    def claim(self) -> bool:
        """Take the folder, and return whether it was begun before.

        Raises:
            FinercamError: it holds something else, or was made of other data, another model or other options.
        """
        from finercam import __version__

        plan = {
            "methods": list(self.methods),
            "steps": self.steps,
            "shown": self.shown,
            "base": self.base,
            "text model": self.clip,
            "precision": self.run.precision,
        }
        targets = tuple(self.album.targets)
        data = {
            "name": self.dataset.name,
            "measured": digest(self.dataset.items(), targets, 1).sha256,
            "shown from": digest(self.album.dataset.items(), targets, 1).sha256,
            "seed": self.seed,
        }
        described = {"finercam": __version__, "study": "paper", "plan": plan, "model": dict(self.model.identity)}
        return RunFolder(Folder(str(self.out))).claim({**described, "data": data})

    @property
    def classifier(self) -> Classifier:
        """The classifier."""
        return self.model.model

    @cached_property
    def shots(self) -> list[Shot]:
        """The photos that galleries show."""
        return self.album.shots(self.shown, self.seed)

    def run_of(self, name: str) -> str:
        """Return the folder of a run."""
        return str(self.out / "runs" / name)


@dataclass(frozen=True, eq=False)
class Step:
    """One step.

    Attributes:
        name: of the run, figure or table.
        title: what is done.
        do: does it.
        done: whether it needs not be done again; runs find that out by themselves.
    """

    name: str
    title: str
    do: Callable[[Advance], None]
    done: Callable[[], bool] = lambda: False


def steps_of(paper: Paper) -> list[Step]:
    """Return the steps, in an order in which each finds what it needs."""
    return [*_runs(paper), *_tables(paper), *_figures(paper)]


def blocks(paper: Paper) -> dict[str, Block]:
    """Return the tables of the runs that are there, by name."""
    found = {}
    for name in ("main", "references", "strength", "aggregation"):
        if (paper.out / "runs" / name / "rows").is_dir():
            found[name] = read_block(paper.run_of(name))
    return found


def _runs(paper: Paper) -> Iterator[Step]:
    regions = set(paper.album.dataset.regions)
    place = ("localization",) if regions & {"box", "mask"} else ()
    parts = ("parts",) if {"box", "parts"} <= regions else ()
    usual = ("deletion", "relative-drop@0.05")
    first = paper.methods[:1]
    # The second, third and fourth prediction, as far as there are so many classes, and the three together.
    others = [Contrast(f"predicted@{rank}") for rank in range(1, min(4, paper.classifier.classes))]
    for name, title, study in (
        (
            "main",
            "Tables 1, 3, 4, 5 and 6, and Figure 5",
            Evaluation(paper.methods, metrics=(*usual, "relative-drop@0.1", *place, *parts), steps=paper.steps),
        ),
        (
            "references",
            "Table 2",
            Evaluation(first, (PLAIN, Contrast("predicted"), *others), usual, steps=paper.steps),
        ),
        (
            "strength",
            "Figure 6b",
            Evaluation(
                first,
                contrasts_of(gammas=GAMMAS, references=REFERENCES),
                ("confidence-drop@0.05", "relative-drop@0.05"),
            ),
        ),
        (
            "aggregation",
            "Table 7",
            Evaluation(first, contrasts_of(aggregates=("mean", "max", "mean-after-relu")), usual, steps=paper.steps),
        ),
    ):
        yield Step(name, f"run: {title}", partial(_measure, paper, name, study))
    yield Step("faithfulness-run", "run: Figure 9a", partial(_examine, paper))


def _measure(paper: Paper, name: str, study: Evaluation, advance: Advance) -> None:
    out = paper.run_of(name)
    run_study(study, paper.model, paper.dataset, out, paper.album.targets, run=paper.run, advance=advance)
    write_tables([out], out)


def _examine(paper: Paper, advance: Advance) -> None:
    if paper.dataset.attributes is None:
        raise LeftOut(f"the attributes of the classes of {paper.dataset.name} are not known")
    subject, out = Subject(paper.dataset, paper.dataset.attributes()), paper.run_of("faithfulness")
    words = TextMaps(paper.clip, subject.attributes, base=paper.base, device=paper.device) if paper.clip else None
    targets = tuple(paper.album.targets)
    study = Faithfulness(subject.places, targets, words)
    try:
        study.check(paper.classifier, paper.dataset)
    except FinercamError as error:
        raise LeftOut(str(error)) from error
    finished = run_study(study, paper.model, paper.dataset, out, targets, run=paper.run, advance=advance)
    findings.write(
        Path(out),
        study.summary(finished.rows),
        read_examined(finished.rows),
        finished.rows.failed,
        paper.dataset.class_names,
        f"What {paper.spec} looks at in {paper.dataset.name}",
        words is not None,
    )


def _tables(paper: Paper) -> Iterator[Step]:
    folder = paper.out / "tables"
    for name, run in (("table-1", "main"), ("table-2", "references"), ("table-7", "aggregation")):
        done = partial(_there, [folder / f"{name}.{suffix}" for suffix in ("md", "csv", "tex")])
        yield Step(name, f"table: {name}", partial(_write_table, paper, name, run), done)
    yield Step("table-3", "table: table-3", partial(_write_accuracy, paper), partial(_there, [folder / "table-3.csv"]))


def _write_table(paper: Paper, name: str, run: str, advance: Advance) -> None:
    save_tables([titled(read_block(paper.run_of(run)))], str(paper.out / "tables"), name)


def _write_accuracy(paper: Paper, advance: Advance) -> None:
    block = titled(read_block(paper.run_of("main")))
    if not block.accuracy.n:
        raise LeftOut("no photo has a class that the model knows, so there is no accuracy")
    mean = block.accuracy
    numbers = [f"{100 * value:.1f}" for value in (mean.mean, mean.low, mean.high)]
    table = [["model", "data", "accuracy", "low", "high", "photos"], [block.model, block.data, *numbers, str(mean.n)]]
    with whole(paper.out / "tables" / "table-3.csv") as aside:
        aside.write_bytes(encoded(csv_text(table)))


def _figures(paper: Paper) -> Iterator[Step]:
    folder = paper.out / "figures"
    for name, kind in sorted(FIGURES.items()):
        # Figures that others have added may need what is not known here.
        if name not in _OPTIONS:
            continue
        done = partial(_there, [*(folder / f"{name}.{form}" for form in FORMATS), folder / f"{name}.txt"])
        yield Step(name, f"figure: {kind.title}", partial(_draw, paper, name), done)


def _draw(paper: Paper, name: str, advance: Advance) -> None:
    from finercam.report.explained import model_name

    run, options = _OPTIONS[name](paper)
    sources: Mapping[str, Any] = {
        "runs": (paper.run_of(run),) if run else (),
        "classifiers": {model_name(paper.spec): paper.classifier},
        "classifier": paper.classifier,
        "shots": _with_concepts(paper) if name == "concept" else paper.shots,
        "album": paper.album,
    }
    try:
        drawn = FIGURES[name].draw(sources, options)
    except FinercamError as error:
        # A last linear layer, a loss, words: what there is not is said on the page.
        raise LeftOut(str(error)) from error
    for form in FORMATS:
        save_figure(drawn, paper.out / "figures" / f"{name}.{form}", dpi=200 if form == "png" else 300)


#: By figure: the run that it is drawn from, and its options.
_OPTIONS: Mapping[str, Callable[[Paper], tuple[str, dict[str, Any]]]] = {
    "similarity": lambda paper: ("", {}),
    "concept": lambda paper: ("", {"clip": paper.clip, "base": paper.base, "device": paper.device}),
    "comparison": lambda paper: ("", {"methods": paper.methods}),
    "deletion-curves": lambda paper: ("main", {}),
    "consistency": lambda paper: ("", {"method": paper.methods[0]}),
    "strength": lambda paper: ("strength", {}),
    "each-reference": lambda paper: ("", {"method": paper.methods[0]}),
    "sweep": lambda paper: ("", {"method": paper.methods[0]}),
    "faithfulness": lambda paper: ("faithfulness", {"clip": paper.clip, "base": paper.base, "device": paper.device}),
    "subtraction": lambda paper: ("", {}),
    "failures": lambda paper: ("main", {}),
    "forest": lambda paper: ("main", {}),
}


def _with_concepts(paper: Paper) -> Sequence[Shot]:
    """Return the photos that are shown, each with an attribute in words that sets its class apart."""
    if not paper.clip or paper.album.dataset.attributes is None:
        return paper.shots
    attributes = paper.album.dataset.attributes()
    found = []
    for shot in paper.shots:
        label = next(label for label, target in enumerate(paper.album.targets) if target == shot.target)
        listed = [one for other in attributes.alike[label] for one, _ in attributes.listed(label, other, 1, True)]
        if listed:
            found.append(replace(shot, concept=listed[0].phrase or ""))
    return found


def _there(paths: Sequence[Path]) -> bool:
    return all(path.is_file() for path in paths)
