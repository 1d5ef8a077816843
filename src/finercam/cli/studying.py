"""What commands that run a study over a data set have in common: the model, its classes, the engine, the bar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finercam.cli.classes import model_classes
from finercam.cli.console import progress, say
from finercam.cli.names import told
from finercam.cli.stopping import Stopped
from finercam.errors import FinercamError, nearest
from finercam.texts import said_of

if TYPE_CHECKING:
    from finercam.data.dataset import Dataset
    from finercam.models.classifier import Classifier
    from finercam.runs.engine import Finished, Progress
    from finercam.runs.job import Engine
    from finercam.runs.loaded import Loaded

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Matched:
    """A model, and by label of the data set which of its classes that is, or -1."""

    model: Loaded[Classifier]
    targets: list[int]

    @property
    def classifier(self) -> Classifier:
        """The classifier."""
        return self.model.model


def matched(
    spec: str,
    data: Dataset,
    *,
    layer: list[str] | None,
    device: str,
    revision: str | None,
    probabilities: str | None,
    match: Path | None,
    skip_unmatched: bool,
    more: Mapping[str, Any] | None = None,
    tell: bool = True,
) -> Matched:
    """Load a classifier and match its classes with a data set's; say which of those with photos have none.

    With ``rank`` among the options it becomes one of taxa, once the classes are matched.
    """
    from finercam.models import load
    from finercam.models.taxa import of_taxa, taxa_of_targets
    from finercam.runs.loaded import loaded_classifier

    options: dict[str, Any] = {"layer": layer, "device": device, "revision": revision, "probabilities": probabilities}
    options |= more or {}
    classifier = load(spec, **{**options, "rank": None})
    for sentence in told(classifier, options):
        say(sentence)
    # Where photos may be left out a run draws others for them, so any class with photos may be met.
    among = data.sample.whole if skip_unmatched and data.sample is not None else data
    targets = model_classes(classifier, among, match, skip_unmatched, tell)
    if (rank := options.get("rank")) is not None:
        taxa = taxa_of_targets(classifier, rank, targets)
        lost = sorted({item.label for item in among.items() if targets[item.label] >= 0 > taxa[item.label]})
        if lost:
            names = ", ".join(data.class_names[label] for label in lost[:5]) + (", ..." if len(lost) > 5 else "")
            unknown = f"the {rank} of {len(lost)} classes with photos is not known ({names})"
            if not skip_unmatched:
                raise FinercamError(f"{unknown}; give a table of the ranks as --taxonomy, or --skip-unmatched")
            say(f"{unknown}; their photos are skipped")
        targets, classifier = taxa, of_taxa(classifier, rank)
    return Matched(loaded_classifier(classifier, spec, options), targets)


def engine_named(name: str, workers: int | None, ray_address: str | None, gpus: float | None) -> Engine:
    """Return the engine of that name.

    Raises:
        FinercamError: there is none.
    """
    from finercam.runs.local import Local
    from finercam.runs.on_ray import OnRay

    if name not in ENGINES:
        raise FinercamError(f"engine is {name!r}; {nearest(name, ENGINES)}")
    return OnRay(workers, ray_address, gpus) if name == "ray" else Local(workers)


@contextmanager
def watched(what: str = "measuring") -> Iterator[Bar]:
    """Give a bar to be moved by a run; where it is stopped, have the command say that nothing is lost."""
    with Bar(what) as bar:
        try:
            yield bar
        except Stopped as stop:
            stop.message = "stopped; the same command resumes from here"
            raise


class Bar:
    """A progress bar with rate and time left, fed by the engine."""

    def __init__(self, what: str) -> None:
        self._bar = progress("{task.fields[rate]}")
        self._task = self._bar.add_task(what, total=None, rate="")

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, come: Progress) -> None:
        """Move the bar to where a run has come."""
        if self._bar.tasks[0].total is None:
            # What an earlier run did does not count for the rate.
            self._bar.update(self._task, total=come.photos, completed=come.done)
            if come.done:
                say(f"resuming: {come.done} of {come.photos} photos are done", to=self._bar.console)
        self._bar.update(self._task, completed=come.done)
        speed = self._bar.tasks[0].speed
        failed = f", {come.failed} failed" if come.failed else ""
        self._bar.update(self._task, rate=f"{speed:.2f} photos/s{failed}" if speed else failed)


def say_profile(finished: Finished) -> None:
    """Say where the time of a run went."""
    total = sum(finished.seconds.values())
    if not finished.measured or not total:
        return
    shares = sorted(finished.seconds.items(), key=lambda one: -one[1])
    text = ", ".join(f"{100 * seconds / total:.0f} % {what}" for what, seconds in shares)
    say(f"{finished.measured} photos measured; of the time {text}")


def say_failed(failed: Sequence[tuple[str, str]]) -> None:
    """Name the photos that failed, each with its reason."""
    for key, error in failed:
        say(f"failed: {said_of(key, error)}")
