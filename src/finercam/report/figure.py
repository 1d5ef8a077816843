"""Figures by name: what each is drawn from, and the registry of them.

A figure of your own is one function. What it is drawn from are its positional arguments, by these names; what can be
set are its keyword-only ones, with their defaults::

    @finercam.figure("peaks", "How large the largest values are", paper="")
    def peaks(runs, *, width: float = 85.0):
        figure = page(width, 150)
        ...
        return finished(figure, "Peaks of ...")

===============  ======================================================================================
``runs``         folders of runs, as a tuple of text
``classifiers``  classifiers by the name shown
``classifier``   one
``shots``        photos (``finercam.report.album.Shot``)
``album``        a data set whose classes the classifier knows (``finercam.report.album.Album``)
===============  ======================================================================================

An argument with a default is not needed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

from finercam.errors import FinercamError, nearest
from finercam.registry import Registry, parameters_of, read_parameters
from finercam.report.printing import Figure, the_look

P = ParamSpec("P")

#: What figures are drawn from, and how a command is given it.
SOURCES = {
    "runs": "--run, the folder of a run",
    "classifiers": "--model",
    "classifier": "--model",
    "shots": "photos, or --data",
    "album": "--data",
}


@dataclass(frozen=True)
class Kind:
    """A figure before it is drawn: what is registered.

    Attributes:
        name: as in the registry.
        title: what it shows.
        paper: which of the paper's figures it is.
        function: draws it.
    """

    name: str
    title: str
    paper: str
    function: Callable[..., Figure]

    @property
    def needs(self) -> tuple[str, ...]:
        """What it cannot be drawn without."""
        return tuple(name for name, own in self._from.items() if own.default is own.empty)

    @property
    def takes(self) -> tuple[str, ...]:
        """What it may be drawn from."""
        return tuple(self._from)

    @property
    def options(self) -> tuple[str, ...]:
        """What can be set."""
        return tuple(parameters_of(self.function))

    @property
    def _from(self) -> dict[str, inspect.Parameter]:
        found = inspect.signature(self.function).parameters.items()
        return {name: own for name, own in found if own.kind is not own.KEYWORD_ONLY}

    def options_of(self, spec: str) -> dict[str, Any]:
        """Return the options that ``name@option=value`` sets."""
        own = parameters_of(self.function)
        found = {
            name: value for name, value in read_parameters(self.function, spec).items() if value != own[name].default
        }
        # An option that takes several is given one.
        return {name: (value,) if isinstance(own[name].default, tuple) else value for name, value in found.items()}

    def check(self, sources: Collection[str], options: Collection[str]) -> None:
        """Raise unless the figure can be drawn from such sources with such options.

        Raises:
            FinercamError: something that it needs is missing, or it has no such option.
        """
        missing = next((name for name in self.needs if name not in sources), None)
        if missing is not None:
            raise FinercamError(f"figure {self.name!r} needs {SOURCES.get(missing, missing)}")
        unknown = next((option for option in options if option not in self.options), None)
        if unknown is not None:
            raise FinercamError(f"figure {self.name!r} has no option {unknown!r}; {nearest(unknown, self.options)}")

    def draw(self, sources: Mapping[str, Any], options: Mapping[str, Any]) -> Figure:
        """Return the figure.

        Args:
            sources: by the names above; those that the figure is not drawn from do not matter.
            options: keyword-only arguments.

        Raises:
            FinercamError: as for ``check``, or the figure cannot be drawn.
        """
        given = {name: sources[name] for name in self.takes if sources.get(name)}
        self.check(given, options)
        return self.function(**given, **options)


FIGURES: Registry[Kind] = Registry("figure", "finercam.figures", "finercam.report.figures")


def figure(name: str, title: str, paper: str = "") -> Callable[[Callable[P, Figure]], Callable[P, Figure]]:
    """Register a function as a figure; see the head of this file for one.

    Args:
        name: how users ask for it.
        title: what it shows, for lists.
        paper: which of the paper's figures it is: ``5``, ``8, 13``.

    The function returns a figure of ``finercam.report.printing.page`` that ``finished`` there has given its caption.

    Raises:
        FinercamError: the name is taken.
    """

    def register(function: Callable[P, Figure]) -> Callable[P, Figure]:
        @wraps(function)
        def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
            with the_look():
                return function(*args, **kwargs)

        FIGURES.add(name, Kind(name, title, paper, drawn))
        return drawn

    return register
