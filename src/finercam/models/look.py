"""One visit to a model with a batch of images: the only way a model is run to be explained.

The logits are there at once, so that questions can be chosen after seeing them; then gradients of any rows of
coefficients with respect to the target layers, other layers or the images, the logits of altered copies, and the same
images at another size. The layers before the first one that is differentiated run without a graph. On leaving,
whatever happened, the model is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from finercam.errors import FinercamError, nearest
from finercam.models.altering import Altered, altered_logits
from finercam.models.checks import read_checked_logits
from finercam.models.closed_form import closed_form_rows
from finercam.models.folding import folded
from finercam.models.grid import Grid, grid_as
from finercam.models.passes import casts_kept, forward_pass, tapped_run
from finercam.models.products import products
from finercam.models.run import Run
from finercam.models.undisturbed import undisturbed

if TYPE_CHECKING:
    from finercam.models.classifier import Classifier

#: The images themselves, where layers are named.
INPUT = "input"
#: Altered copies from which on a copy of the model with its batch norms folded pays.
_WORTH_FOLDING = 100


class Look:
    """A visit, made by ``with classifier.look(images) as look``.

    Attributes:
        classifier: whose model it is.
        images: on the model's device, b 3 H W.
        run: how the model is run.
        logits: before any softmax, b C, in float32 or better.
        passes: how often the model was run on the images.
        copies: how many altered copies were run.
    """

    def __init__(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c H W"],
        run: Run,
        at: Sequence[str],
        altered: nn.Module | None,
        stack: ExitStack,
    ) -> None:
        self.classifier = classifier
        self.images = classifier.take(images, run.precision)
        self.run = run
        self.passes = self.copies = 0
        self.logits: Float[Tensor, "b C"]
        self._stack = stack
        self._altered, self._entered, self._closed = altered, False, False
        self._taps: dict[str, Tensor] = {}
        self._graph: Tensor | None = None
        self._recorded: tuple[str, ...] = ()
        self._pass(tuple(at))

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.images.shape[-2], self.images.shape[-1]

    def activations(self, at: Sequence[str] | None = None) -> tuple[Float[Tensor, "b _K _h _w"], ...]:
        """Return what layers put out, as grids over the image, in the layers' own precision.

        Args:
            at: dotted names or ``INPUT``; the target layers if left out.

        Raises:
            FinercamError: a layer does not run, or its output is not a grid of cells over the image.
        """
        names = self._named(at)
        self._ensure(names, differentiated=False)
        return tuple(self._as_grid(name, self._taps[name].detach()) for name in names)

    def gradients(
        self, rows: Float[Tensor, "b m C"], at: Sequence[str] | None = None
    ) -> tuple[Float[Tensor, "b m _K _h _w"], ...]:
        """Return the gradient of each ``row . logits`` with respect to what layers put out, as grids.

        Layers that were not named when the look was opened cost a second run of the model.

        Args:
            rows: of coefficients.
            at: dotted names or ``INPUT``; the target layers if left out.

        Raises:
            FinercamError: as for ``activations``; or no gradient arrives there, or one that is not finite.
        """
        names = self._named(at)
        closed = self.closed_form if names == self.classifier.layers else None
        if closed is not None:
            h, w = self.activations()[0].shape[-2:]
            alpha = rows.to(closed) @ closed / (h * w)
            return (alpha[..., None, None].expand(-1, -1, -1, h, w),)
        self._ensure(names, differentiated=True)
        assert self._graph is not None
        per_row = products(self._graph, {name: self._taps[name] for name in names}, rows.to(self.logits))
        return tuple(
            torch.stack([self._as_grid(name, one[layer]) for one in per_row], 1) for layer, name in enumerate(names)
        )

    @property
    def closed_form(self) -> Float[Tensor, "C K"] | None:
        """Rows of the final linear layer, where the gradient at the target layer is ``v @ rows / (h w)`` in each cell.

        ``None`` where it is not, or not up to rounding, or the model was changed since its classifier was made: then
        the gradient is computed.
        """
        classifier = self.classifier
        if not classifier.pooled or classifier.head is None:
            return None
        half = (torch.bfloat16, torch.float16)
        coarse = self.run.precision != "float32" or classifier.head.weight.dtype in half
        return closed_form_rows(classifier.head, self.logits, self.activations()[0], coarse=coarse)

    def rerun(
        self,
        make: Callable[[Int[Tensor, " n"], Int[Tensor, " n"]], Float[Tensor, "n c H W"]],
        wanted: Bool[Tensor, "b m"],
        *,
        edit: Callable[[Int[Tensor, " n"], Int[Tensor, " n"], Tensor], None] | None = None,
    ) -> Iterator[Altered]:
        """Return an iterator over the logits of altered copies, in batches of ``run.copies`` and never all at once.

        Args:
            make: given the indices (image, copy) of some copies, returns these copies; it computes in its own
                precision, whatever the run's. Called again with fewer where an accelerator's memory does not suffice.
            wanted: which copies of which image.
            edit: alters the first target layer's output in place, given the same indices and that output as a grid
                (n K h w). The model itself is then run, not its folded copy.

        Raises:
            OutOfMemory: not even one copy fits.
        """
        self._refuse_closed()
        classifier, precision = self.classifier, self.run.precision
        if edit is None:
            module = self._altered_module(int(wanted.sum()))

            def output(image: Tensor, copy: Tensor) -> Any:
                return forward_pass(module, make(image, copy), precision)

        else:
            grid, size = classifier.grids[0], self.image_size

            def output(image: Tensor, copy: Tensor) -> Any:
                def alter(name: str, output: Tensor) -> Tensor:
                    output = output.clone()
                    # The grid is a view, so what is changed in it is changed in the output.
                    edit(image, copy, grid.maps(output, size))
                    return output

                images = make(image, copy)
                return tapped_run(classifier.module, images, classifier.layers, precision=precision, edit=alter)[0]

        def logits(image: Tensor, copy: Tensor) -> Tensor:
            # Between two batches the caller may have left the visit.
            self._refuse_closed()
            return classifier.read(output(image, copy))

        def batches() -> Iterator[Altered]:
            for altered in altered_logits(logits, wanted.to(self.images.device), self.run.copies):
                self.copies += len(altered.image)
                yield altered

        return batches()

    @contextmanager
    def at(self, size: tuple[int, int], *, at: Sequence[str] = ()) -> Iterator[Look]:
        """Look at the same images, resized bilinearly to (height, width): ``with look.at((448, 448)) as larger``.

        Raises:
            FinercamError: the model does not take images of that size.
        """
        self._refuse_closed()
        resized = torch.nn.functional.interpolate(
            self.images, size, mode="bilinear", align_corners=False, antialias=True
        )
        with ExitStack() as stack:
            try:
                look = stack.enter_context(self.beside(resized, at=at))
            except (FinercamError, torch.OutOfMemoryError):
                raise
            except (RuntimeError, AssertionError, ValueError) as error:
                first = next(iter(str(error).splitlines()), "")
                raise FinercamError(
                    f"{self.classifier.name} does not take images of {size[0]} x {size[1]} pixels ({first}); it is "
                    f"made for {self.classifier.image_size[0]} x {self.classifier.image_size[1]}"
                ) from error
            yield look

    def beside(self, images: Float[Tensor, "n c _H _W"], *, at: Sequence[str] = ()) -> AbstractContextManager[Look]:
        """Look at other images with the same model, altered ones for example: ``with look.beside(images) as other``."""
        self._refuse_closed()
        return visit(self.classifier, images, self.run, at, self._altered)

    def grid(self, layer: str) -> Grid:
        """Return how a layer's output lies over the image.

        Raises:
            FinercamError: there is no such layer, it does not run, or it is not a grid of cells.
        """
        if layer in self.classifier.layers:
            return self.classifier.grids[self.classifier.layers.index(layer)]
        self._ensure(self._named([layer]), differentiated=False)
        output = self._taps[layer]
        # One image's shape: the batch is the first dimension, or the second where tokens come first.
        batch = 0 if output.shape[0] == len(self.images) else 1
        shape = [1 if axis == batch else length for axis, length in enumerate(output.shape)]
        stated = getattr(self.classifier.module, "num_prefix_tokens", None)
        found = grid_as(shape, self.image_size, self.classifier.grids, stated)
        if found is None:
            raise FinercamError(
                f"layer {layer!r} puts out the shape {tuple(output.shape)}, which is not a grid of cells over images "
                f"of {self.image_size[0]} x {self.image_size[1]}; choose another layer"
            )
        return found

    def _named(self, at: Sequence[str] | None) -> tuple[str, ...]:
        return self.classifier.layers if at is None else tuple(at)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise FinercamError(
                "this look at the model is over; ask inside its with block, or look again: classifier.look(images)"
            )

    def _ensure(self, names: Sequence[str], *, differentiated: bool) -> None:
        """Run the model again where layers are wanted that were not tapped or not recorded before."""
        self._refuse_closed()
        there = self._recorded if differentiated else tuple(self._taps)
        missing = [name for name in names if name not in there]
        if missing:
            self._pass((*self._recorded, *missing) if differentiated else self._recorded, (*self._taps, *missing))

    def _pass(self, recorded: tuple[str, ...], watch: Sequence[str] = ()) -> None:
        """Run the model once, tap the target layers and what is to be recorded, and read its logits."""
        module, images = self.classifier.module, self.images
        layers = tuple(dict.fromkeys(name for name in (*self.classifier.layers, *watch, *recorded) if name != INPUT))
        for name in layers:
            try:
                module.get_submodule(name)
            except AttributeError:
                known = [known for known, _ in module.named_modules() if known]
                raise FinercamError(f"the model has no layer {name!r}; {nearest(name, known)}") from None
        from_start = INPUT in recorded
        if from_start:
            images = images.detach().clone().requires_grad_()
        # What was there is let go before the model runs, for room, and is not there either should the run fail.
        self._graph, self._taps, self._recorded = None, {}, ()
        with torch.set_grad_enabled(from_start):
            output, taps = tapped_run(
                module, images, layers, precision=self.run.precision, differentiate=bool(recorded)
            )
            unreached = next((name for name in layers if name not in taps), None)
            if unreached is not None:
                raise FinercamError(f"layer {unreached!r} is not used in the forward pass; choose another with layer=")
            with torch.set_grad_enabled(bool(recorded)):
                logits = read_checked_logits(self.classifier.read, output, self.run.precision)
        self.passes += 1
        self._taps = {INPUT: images, **taps}
        # Where a graph is recorded at all, whatever was tapped is part of it.
        self._recorded = (*layers, *([INPUT] if from_start else [])) if recorded else ()
        self._graph = logits if recorded else None
        self.logits = logits.detach()

    def _as_grid(self, name: str, tensor: Tensor) -> Tensor:
        return tensor if name == INPUT else self.grid(name).maps(tensor, self.image_size)

    def _altered_module(self, copies: int) -> nn.Module:
        if self._altered is None:
            if copies < _WORTH_FOLDING:
                return self.classifier.module
            self._altered = folded(self.classifier)
        if not self._entered:
            self._stack.enter_context(undisturbed(self._altered))
            self._entered = True
        return self._altered

    def _close(self) -> None:
        self._closed = True
        self._graph, self._taps, self._recorded = None, {}, ()


@contextmanager
def visit(
    classifier: Classifier,
    images: Float[Tensor, "b c H W"],
    run: Run,
    at: Sequence[str] = (),
    altered: nn.Module | None = None,
) -> Iterator[Look]:
    """Look at a model; the arguments are those of ``Classifier.look``.

    Raises:
        FinercamError: there are no images, a layer does not run, or what the model returns are not logits.
    """
    if not len(images):
        raise FinercamError("there are no images in the batch")
    with undisturbed(classifier.module), casts_kept(classifier.device, run.precision), ExitStack() as stack:
        look = Look(classifier, images, run, at, altered, stack)
        try:
            yield look
        finally:
            look._close()
