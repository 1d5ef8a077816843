"""How a question is answered: the record of a method, and the registry of methods.

A class activation map of your own is one function of a layer's activations ``A`` and the question's gradient ``G``
(b K h w each), which returns a signed map b h w. It knows of no target, reference or gamma: with the one-hot row of a
class it is its ordinary self, with a contrast's row its finer version::

    @finercam.method("gradnorm")
    def gradnorm(activations, gradients):
        return (activations * gradients).norm(dim=1)

An explainer that is not a CAM is a function of a look and rows of coefficients that returns evidence; its keyword-only
parameters can be set where it is asked for, as in ``rise@masks=2000``. ``finercam.methods.rise`` is one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from jaxtyping import Float
from torch import Tensor

from finercam.errors import FinercamError
from finercam.methods.evidence import Evidence
from finercam.methods.gradients import gather_gradients, gradient_taps
from finercam.registry import Registry, folded, read_parameters, split_spec, write_spec

if TYPE_CHECKING:
    from finercam.models.classifier import Classifier
    from finercam.models.look import Look

#: Given a look and rows of coefficients (b m C), and the method's parameters: the evidence.
Gatherer = Callable[..., Evidence]
#: Layers (or ``INPUT``) of a classifier whose gradients a method asks for.
Taps = Callable[["Classifier"], tuple[str, ...]]
Function = TypeVar("Function", bound=Callable[..., Any])


def no_taps(classifier: Classifier) -> tuple[str, ...]:
    """Return no layer: the method needs no gradient."""
    return ()


@dataclass(frozen=True)
class Method:
    """A way to answer rows of coefficients.

    Attributes:
        name: as in the registry and on the command line.
        title: as in a table.
        gatherer: see ``Gatherer``.
        function: how evidence of that kind is read, where several methods share it: a CAM's function.
        linear: whether the map is linear in the row, so that finished maps may be mixed.
        taps: layers whose gradients will be asked for, so that the graph is recorded in the first run.
        parameters: names and values, in order.
        source: the paper.
        spans: whether evidence of some rows answers their mixtures. Where it does not, what is gathered must be the
            very rows that are asked.
    """

    name: str
    title: str
    gatherer: Gatherer
    function: Callable[..., Tensor] | None = None
    linear: bool = False
    taps: Taps = no_taps
    parameters: tuple[tuple[str, Any], ...] = ()
    source: str = ""
    spans: bool = True

    def gather(self, look: Look, rows: Float[Tensor, "b m C"]) -> Evidence:
        """Return what the method needs to answer these rows (and whatever else the same evidence answers)."""
        found = self.gatherer(look, rows, **dict(self.parameters))
        return replace(found, how=self, labels=look.classifier.labels)

    def gathers_as(self, other: Method) -> bool:
        """Whether evidence that the other method gathered can be read by this one."""
        return self.gatherer is other.gatherer and self.parameters == other.parameters

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """The functions it is made of."""
        own = (self.gatherer, self.taps)
        return own if self.function is None else (*own, self.function)

    @property
    def spec(self) -> str:
        """The name with the parameters that differ from their defaults, as in ``rise@masks=2000``."""
        return write_spec(self.name, self.gatherer, dict(self.parameters))

    @property
    def full_title(self) -> str:
        """The title, with the parameters that differ from their defaults, as in ``RISE (masks=2000)``."""
        _, given = split_spec(self.spec)
        return f"{self.title} ({', '.join(given)})" if given else self.title


METHODS: Registry[Method] = Registry("method", "finercam.methods", "finercam.methods")

_REFUSED = {
    "eigencam": "eigengradcam",
    "kpcacam": "eigengradcam",
    "fem": "layercam",
}


def method(
    name: str,
    *,
    title: str | None = None,
    linear: bool = False,
    source: str = "",
    gather: Gatherer = gather_gradients,
    taps: Taps | None = None,
) -> Callable[[Function], Function]:
    """Register a function as a CAM method; see the head of this file for what it takes and returns.

    Args:
        name: how users ask for it.
        title: how tables and pictures call it.
        linear: promise that the map is linear in the gradient, which makes a new gamma cheaper.
        source: the paper it implements.
        gather: what gathers its evidence: gradients if left out; for score methods their table of scores.
        taps: layers whose gradients that needs; the target layers where it gathers gradients.

    Raises:
        FinercamError: the name is taken.
    """
    if taps is None:
        taps = gradient_taps if gather is gather_gradients else no_taps

    def register(function: Function) -> Function:
        METHODS.add(name, Method(name, title or name, gather, function, linear, taps, source=source))
        return function

    return register


def explainer(
    name: str, *, title: str | None = None, source: str = "", taps: Taps = no_taps, spans: bool = True
) -> Callable[[Function], Function]:
    """Register a function from a look and rows of coefficients to evidence as a method.

    Args:
        name: how users ask for it. The function's keyword-only arguments are its parameters.
        title: how tables and pictures call it.
        source: the paper it implements.
        taps: layers (or ``INPUT``) whose gradients it asks for; naming them saves a second run of the model.
        spans: whether its evidence answers mixtures of the rows it gathered.

    Raises:
        FinercamError: the name is taken.
    """

    def register(function: Function) -> Function:
        parameters = tuple(read_parameters(function, name).items())
        METHODS.add(name, Method(name, title or name, function, None, False, taps, parameters, source, spans))
        return function

    return register


def find_method(spec: str | Method) -> Method:
    """Return the method for ``name`` or ``name@parameter=value``.

    Raises:
        FinercamError: there is none, or it ignores the class and so cannot answer why this class; or a parameter is
            not one of its own.
    """
    if isinstance(spec, Method):
        return spec
    name, given = split_spec(spec)
    known = {folded(one) for one in METHODS}
    if folded(name) not in known and folded(name) in _REFUSED:
        raise FinercamError(
            f"{name} ignores the class, so it cannot say why this one and not another; use {_REFUSED[folded(name)]!r}"
        )
    found = METHODS.find(name)
    if not given:
        return found
    return replace(found, parameters=tuple(read_parameters(found.gatherer, spec).items()))
