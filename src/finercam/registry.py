"""Open registries: the methods, metrics, data formats, sources and studies there are, by name.

A thing is registered where it is written, by a decorator that its room offers. Built-in ones are the modules of a
package, so that one new file in it is enough; those of other packages are found through entry points, and
``--import MODULE`` brings in what is not packaged. What is asked for may have parameters: ``name@value`` and
``name@key=value``, as in ``relative-drop@0.1`` or ``rise@masks=2000@seed=1``.
"""

from __future__ import annotations

import inspect
import math
import os
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from finercam.errors import FinercamError, nearest

T = TypeVar("T")

#: Environment variable that names modules to be imported before a registry is looked into: what ``--import`` gives, for
#: the processes of a command too.
IMPORT = "FINERCAM_IMPORT"
#: Masks, steps, copies: each is a run of a model or so, and more would not end. A seed counts nothing.
_MOST = 1_000_000


def folded(name: str) -> str:
    """Return a name as it is compared: without case, hyphens and underscores."""
    return name.casefold().replace("-", "").replace("_", "")


class Registry(Mapping[str, T], Generic[T]):
    """Things of one kind by name, in the order in which they were registered.

    Args:
        kind: what one is called in messages: ``method``.
        group: of entry points, ``finercam.methods``. What an entry point leads to is imported and registers itself.
        package: whose modules register what is built in; they are imported when the registry is first looked into.
    """

    def __init__(self, kind: str, group: str, package: str) -> None:
        self.kind, self.group, self.package = kind, group, package
        self._things: dict[str, T] = {}
        self._loaded = False

    def add(self, name: str, thing: T) -> None:
        """Register a thing.

        Raises:
            FinercamError: the name is taken, or cannot be written in a list of specs.
        """
        if not name or any(mark in name for mark in "@,= \t\n"):
            raise FinercamError(f"{name!r} cannot be the name of a {self.kind}: no spaces, commas, '@' or '='")
        taken = next((known for known in self._things if folded(known) == folded(name)), None)
        if taken is not None:
            raise FinercamError(f"there is a {self.kind} {taken!r} already; give yours another name")
        self._things[name] = thing

    def find(self, name: str) -> T:
        """Return the thing of that name; case, hyphens and underscores do not matter.

        Raises:
            FinercamError: there is none; the message names the nearest.
        """
        self._load()
        by_folded = {folded(known): known for known in self._things}
        if folded(name) not in by_folded:
            raise FinercamError(f"there is no {self.kind} {name!r}; {nearest(name, self._things)}")
        return self._things[by_folded[folded(name)]]

    def __getitem__(self, name: str) -> T:
        self._load()
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(self._things)

    def __len__(self) -> int:
        self._load()
        return len(self._things)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Forget what is registered inside, for tests and notebooks."""
        self._load()
        before = dict(self._things)
        try:
            yield
        finally:
            self._things = before

    def _load(self) -> None:
        if self._loaded:
            return
        # First, for the modules imported below may look into the registry themselves.
        self._loaded = True
        try:
            for module in pkgutil.iter_modules(import_module(self.package).__path__, f"{self.package}."):
                import_module(module.name)
            import_extensions(filter(None, os.environ.get(IMPORT, "").split(os.pathsep)))
        except BaseException:
            # Else half a registry would pass for a whole one the next time.
            self._loaded = False
            raise
        for point in entry_points(group=self.group):
            try:
                point.load()
            except Exception as error:
                # Somebody else's package must not keep finercam from working.
                first = next(iter(str(error).splitlines()), "")
                warnings.warn(
                    f"the {self.kind} {point.name!r} of {getattr(point.dist, 'name', 'a package')} cannot be loaded: "
                    f"{type(error).__name__}: {first}",
                    stacklevel=3,
                )


def import_extensions(modules: Iterable[str]) -> None:
    """Import modules that register something: dotted names, or paths of ``.py`` files.

    Raises:
        FinercamError: one of them cannot be imported.
    """
    for given in modules:
        name = Path(given).stem if given.endswith(".py") else given
        if given.endswith(".py") and (folder := str(Path(given).resolve().parent)) not in sys.path:
            sys.path.insert(0, folder)
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise FinercamError(f"{given!r} needs {error.name!r}, which is not installed") from error
            raise FinercamError(
                f"there is no module {given!r}; give a dotted name that Python finds, or the path of a .py file"
            ) from error


def split_spec(spec: str) -> tuple[str, list[str]]:
    """Return the name and the parameters' texts of ``name@value@key=value``."""
    name, *given = spec.strip().split("@")
    return name, given


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return a function's keyword-only parameters: what a spec may set."""
    found = inspect.signature(function).parameters.items()
    return {name: parameter for name, parameter in found if parameter.kind is parameter.KEYWORD_ONLY}


def read_parameters(
    function: Callable[..., Any], spec: str, defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return all keyword-only parameters of a function, those that a spec gives and the defaults of the others.

    Args:
        function: its annotations say of what type each parameter is: ``int``, ``float``, ``bool``, ``str`` or a
            ``Literal``, or one of these or ``None``.
        spec: ``name@value@key=value``; values without a key are taken in the function's order.
        defaults: take the place of the function's own; those of other names do not matter.

    Raises:
        FinercamError: a parameter is unknown, given twice, missing, or of another type.
    """
    name, given = split_spec(spec)
    known = parameters_of(function)
    hints = _types_of(function, known)
    values: dict[str, Any] = {}
    free = iter(known)
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            key, value = next((one for one in free if one not in values), ""), text
            if not key:
                raise FinercamError(f"{spec!r}: {_takes(name, known)}")
        if key not in known:
            raise FinercamError(f"{spec!r}: {name} has no parameter {key!r}; {_takes(name, known)}")
        if key in values:
            raise FinercamError(f"{spec!r}: {key} is given twice")
        values[key] = _as(hints.get(key, str), value, f"{spec!r}: {key}")
    usual = {one: own.default for one, own in known.items()} | {
        one: value for one, value in (defaults or {}).items() if one in known
    }
    missing = [one for one, default in usual.items() if one not in values and default is inspect.Parameter.empty]
    if missing:
        raise FinercamError(f"{spec!r}: {missing[0]} is missing; write, for example, {name}@{missing[0]}=...")
    return usual | values


def write_spec(name: str, function: Callable[..., Any], parameters: Mapping[str, Any]) -> str:
    """Return the spec of a name and its parameters, without those that have their default. Numbers in full."""
    own = parameters_of(function)
    differing = {key: value for key, value in parameters.items() if value != own[key].default}
    return "@".join([name, *(f"{key}={value}" for key, value in differing.items())])


def _types_of(function: Callable[..., Any], known: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Return the parameters' types, not those of other arguments, which may be imported for type checkers only."""
    written = {name: own.annotation for name, own in known.items() if own.annotation is not own.empty}
    scope = getattr(inspect.unwrap(function), "__globals__", None)
    return get_type_hints(SimpleNamespace(__annotations__=written), scope)


def _takes(name: str, known: Mapping[str, inspect.Parameter]) -> str:
    if not known:
        return f"{name} takes no parameter"
    return f"{name} takes " + ", ".join(
        key if own.default is own.empty else f"{key} (default {own.default})" for key, own in known.items()
    )


def _as(hint: Any, text: str, what: str) -> Any:
    choices = get_args(hint)
    if get_origin(hint) is Literal:
        if text not in choices:
            raise FinercamError(f"{what} is {text!r}; {nearest(text, map(str, choices))}")
        return text
    if type(None) in choices:
        if text.casefold() == "none":
            return None
        hint = next(one for one in choices if one is not type(None))
    if hint is bool:
        if text.casefold() not in ("true", "false", "yes", "no", "1", "0"):
            raise FinercamError(f"{what} is {text!r}; write true or false")
        return text.casefold() in ("true", "yes", "1")
    if hint in (int, float):
        kind = "a whole number" if hint is int else "a number"
        try:
            value = hint(text)
        except (ValueError, OverflowError):
            raise FinercamError(f"{what} is {text[:200]!r}; it must be {kind}") from None
        # No parameter has a meaning at infinity, and NaN passes by every bound.
        if isinstance(value, float) and not math.isfinite(value):
            raise FinercamError(f"{what} is {text!r}; it must be a finite number")
        if hint is int and value > _MOST and not what.endswith("seed"):
            raise FinercamError(f"{what} is {value}; give at most {_MOST}")
        return value
    return text
