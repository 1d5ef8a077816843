"""A vision classifier, and what must be known about it to explain it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from finercam.contrast.labels import Labels, display_name
from finercam.errors import FinercamError
from finercam.models.assumed import SOFTMAX, BothSides, check_kind
from finercam.models.facts import Facts
from finercam.models.feeding import Fed, check_batch, check_channels, first_channels, noise
from finercam.models.grid import Grid
from finercam.models.layers import find_layers
from finercam.models.look import Look, visit
from finercam.models.outputs import read_logits
from finercam.models.passes import forward_pass
from finercam.models.preprocessing import Preprocessing
from finercam.models.run import Run
from finercam.models.undisturbed import device_of, undisturbed


@dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A module and the facts about it; ``Classifier.of(module)`` finds them.

    A plain record: ``dataclasses.replace(classifier, name="mine")`` changes that and nothing else.

    Attributes:
        module: maps images b 3 H W to logits b C. It is never changed.
        layers: dotted names of the target layers.
        grids: how the output of each lies over the image.
        classes: how many logits there are, C.
        labels: their names, if they have any.
        preprocessing: how a photo becomes an input.
        read: takes what the module returns, gives the logits.
        head: the final linear layer, if the logits are its output; its rows are what ``against="weights"`` compares.
        pooled: whether the logits are ``head`` applied to the mean of the target layer's cells: the closed form of
            the gradient is exact.
        channels_last: from how many images on they are given in the memory order b H W 3, in which most convolutions
            are faster; ``None`` where the module does not take it.
        probabilities: what makes probabilities of the logits: ``softmax`` among the classes, or ``sigmoid`` for each
            class by itself, as where several are there at once.
        prompts: whether the classes are prompts (``finercam.models.text`` with its templates left bare): what counts
            is then the similarity to the image and not a probability among them.
        name: shown and recorded.
    """

    module: nn.Module = field(repr=False)
    layers: tuple[str, ...]
    grids: tuple[Grid, ...]
    classes: int
    labels: Labels | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    read: Callable[[Any], Tensor] = read_logits
    head: nn.Linear | None = None
    pooled: bool = False
    channels_last: int | None = None
    probabilities: str = SOFTMAX
    prompts: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        check_kind(self.probabilities)

    @classmethod
    def of(
        cls,
        module: nn.Module,
        layer: str | nn.Module | Sequence[str | nn.Module] | None = None,
        grid: Grid | None = None,
        preprocess: Callable[[Any], Tensor] | None = None,
        class_names: Iterable[str] | Labels | None = None,
        read: Callable[[Any], Tensor] = read_logits,
        image_size: tuple[int, int] = (224, 224),
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        probabilities: str = SOFTMAX,
        name: str = "",
        channels: int | None = None,
        feed: Callable[[Tensor], Any] | None = None,
    ) -> Classifier:
        """Return a module with what must be known about it, found by running it on noise where it is not given.

        The target layer is the last one whose output lies on a grid over the image and on whose cells (on one in ten
        at least) the logits depend.

        Args:
            module: any ``nn.Module`` that maps images b c H W to logits b C, on its own or inside a tuple, mapping or
                dataclass.
            layer: the target layer, as a module inside ``module`` or its dotted name; several are averaged.
            grid: how the layers' outputs lie over the image.
            preprocess: turns an RGB ``PIL.Image`` into a tensor c H W. Needed for photos, not for tensors.
            class_names: in the order of the logits.
            read: takes what the module returns, gives the logits.
            image_size: height and width of the input the module is tried on.
            mean, std: what ``preprocess`` normalises by, per channel; used to show the picture again.
            probabilities: ``softmax``, or ``sigmoid`` where each class has a probability of its own. A module with a
                single logit z becomes a classifier of two classes, that class and "not" it (``BothSides``).
            name: shown and recorded; the module's class if left out.
            channels: of the input, c; those of the module's first convolution if left out.
            feed: makes what the module is called with of a batch of images, where that is not the batch itself:
                ``lambda images: {"image": images}``. The layers are then named below ``model.``

        Raises:
            FinercamError: the module does not run on such images, a layer does not exist or has no grid, no layer
                fits, or there are not as many names as logits. The message says which argument would help.
        """
        name = name or type(module).__name__
        if feed is not None:
            layer = _below_fed(layer)
            module = Fed(_bare(module), feed)
        taken = first_channels(_bare(module), image_size) if channels is None else check_channels(channels)
        preprocessing = Preprocessing(preprocess, image_size, mean, std, taken)
        return cls.from_parts(
            module,
            preprocessing,
            layer=layer,
            grid=grid,
            class_names=class_names,
            read=read,
            probabilities=probabilities,
            name=name,
        )

    @classmethod
    def from_parts(
        cls,
        module: nn.Module,
        preprocessing: Preprocessing,
        *,
        layer: str | nn.Module | Sequence[str | nn.Module] | None = None,
        grid: Grid | None = None,
        class_names: Iterable[str] | Labels | None = None,
        read: Callable[[Any], Tensor] = read_logits,
        probabilities: str = SOFTMAX,
        prompts: bool = False,
        trained: bool = True,
        name: str = "",
    ) -> Classifier:
        """Return what ``of`` does, where the preprocessing is a record already.

        Args:
            module, preprocessing, layer, grid, class_names, read, probabilities, name: as for ``of``.
            prompts: whether the classes are prompts.
            trained: whether the logits were trained to tell these classes apart. A single logit that was not, as a
                prompt's, says nothing of a class that is "not" it.
        """
        module = _bare(module)
        found = find_layers(module, preprocessing.size, read, layer, grid, preprocessing.channels)
        labels = class_names if isinstance(class_names, Labels | None) else Labels(class_names)
        if labels is not None and len(labels) != found.classes:
            alone = "; name the class that the one logit is for" if found.classes == 1 else ""
            raise FinercamError(f"{len(labels)} class names were given for a model with {found.classes} logits{alone}")
        classes, head, pooled = found.classes, found.head, found.pooled
        if classes == 1 and trained:
            # One logit is compared with what it is not. The head has no row for that.
            one = display_name(0, labels)
            classes, labels, read = 2, Labels([one, f"not {one}"]), BothSides(read)
            head, pooled, probabilities = None, False, SOFTMAX
        return cls(
            module,
            found.layers,
            found.grids,
            classes,
            labels,
            preprocessing,
            read,
            head,
            pooled,
            _channels_last_from(module, preprocessing, read) if found.grids[0].layout == "nchw" else None,
            probabilities,
            prompts,
            name or type(module).__name__,
        )

    def look(
        self,
        images: Float[Tensor, "b c H W"],
        run: Run | None = None,
        *,
        at: Sequence[str] = (),
        altered: nn.Module | None = None,
    ) -> AbstractContextManager[Look]:
        """Visit the model with a batch: the only way it is run. See ``Look``.

        Args:
            images: preprocessed.
            run: how the model is run.
            at: layers (or ``INPUT``) whose gradients will be asked for; naming them here saves a second run.
            altered: the copy of the network that altered copies of the images are run through; made when it is
                first needed if left out.
        """
        return visit(self, images, Run() if run is None else run, at, altered)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return device_of(self.module)

    def take(self, images: Float[Tensor, "b c H W"], precision: str = "float32") -> Float[Tensor, "b c H W"]:
        """Return a batch of the model's channels, refusing others, on its device and in the order it is fastest in."""
        images = check_batch(images, self.channels).to(self.device)
        # The other order is slower only for few images in float32 on a processor (docs/benchmarks.md).
        always = precision != "float32" or images.device.type != "cpu"
        reordered = self.channels_last is not None and (always or len(images) >= self.channels_last)
        return images.contiguous(memory_format=torch.channels_last if reordered else torch.contiguous_format)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the input."""
        return self.preprocessing.size

    @property
    def channels(self) -> int:
        """Channels of the input, c."""
        return self.preprocessing.channels

    def noise(self, count: int = 1) -> Float[Tensor, "count c H W"]:
        """Return images of noise to try the model on, the same every time."""
        return noise(self.channels, self.image_size, count)

    @property
    def rows(self) -> Float[Tensor, "C K"] | None:
        """The classifier's rows, where it ends in a linear layer."""
        return None if self.head is None else self.head.weight.detach()

    @property
    def facts(self) -> Facts:
        """What an explanation must know of it."""
        scale, shift = 1.0, 0.0
        if self.prompts and self.head is not None:
            # The rows are unit embeddings times the scale, and a bias (SigLIP's) is the same for all prompts.
            scale = float(self.head.weight.detach()[0].double().norm())
            shift = 0.0 if self.head.bias is None else float(self.head.bias.detach()[0])
        preprocessing = self.preprocessing
        return Facts(
            name=self.name,
            classes=self.classes,
            labels=self.labels,
            layers=self.layers,
            mean=preprocessing.mean,
            std=preprocessing.std,
            probabilities=self.probabilities,
            prompts=self.prompts,
            scale=scale,
            shift=shift,
            rows=self.rows,
        )

    def class_name(self, index: int) -> str:
        """Return the name of a class, or ``class 7`` where there are no names."""
        return display_name(index, self.labels)

    def __repr__(self) -> str:
        grids = ", ".join(str(grid) for grid in self.grids)
        return f"<Classifier {self.name}: {self.classes} classes, layer {', '.join(self.layers)} ({grids})>"


def _below_fed(layer: Any) -> Any:
    """Return the names of layers as the fed module has them; a layer given as a module is found by itself."""
    if isinstance(layer, str):
        return layer if layer.startswith("model.") else f"model.{layer}"
    return [_below_fed(one) for one in layer] if isinstance(layer, (list, tuple)) else layer


def _bare(module: nn.Module) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise FinercamError(f"module must be a torch.nn.Module, not {type(module).__name__}")
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        module = module.module
    # A compiled module calls its original without hooks; the original gives the same answers.
    original: nn.Module = getattr(module, "_orig_mod", module)
    script = next((name for name, inner in original.named_modules() if isinstance(inner, torch.jit.ScriptModule)), None)
    if script is not None:
        what = f"its part {script!r}" if script else "the model"
        raise FinercamError(
            f"{what} is TorchScript, whose layers cannot be watched; give the Python module that it was made from"
        )
    tensors = chain(original.named_parameters(), original.named_buffers())
    empty = next((name for name, tensor in tensors if tensor.is_meta), None)
    if empty is not None:
        raise FinercamError(
            f"the model's {empty} is on the meta device and has no values; load the weights first (load_state_dict "
            "with assign=True, or without device_map=)"
        )
    return original


def _channels_last_from(module: nn.Module, preprocessing: Preprocessing, read: Callable[[Any], Tensor]) -> int | None:
    """Return from how many images on the other memory order is faster, as measured on processors."""
    if not _runs_channels_last(module, preprocessing, read):
        return None
    grouped = any(isinstance(inner, nn.Conv2d) and inner.groups > 1 for inner in module.modules())
    return 1 if grouped else 4


def _runs_channels_last(module: nn.Module, preprocessing: Preprocessing, read: Callable[[Any], Tensor]) -> bool:
    """Whether the module takes the other memory order: a ``view`` on a convolution's output, for one, does not."""
    images = noise(preprocessing.channels, preprocessing.size)
    with undisturbed(module):
        try:
            reordered = forward_pass(module, images.contiguous(memory_format=torch.channels_last), "float32")
        except RuntimeError:
            return False
        usual, other = (read(output) for output in (forward_pass(module, images, "float32"), reordered))
    # Of a broken model nothing can be said; its logits are refused when it is asked something.
    finite = bool(usual.isfinite().all())
    return finite and bool(torch.allclose(usual, other, rtol=0, atol=1e-2 * float(usual.abs().amax())))
