"""Your own modules: layers by name or object, outputs of any kind, and what is said where nothing can be found."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from finercam import Classifier, Contrast, FinercamError, Grid, explain
from finercam.answering import saliency
from finercam.evidence import look

SIZE = (24, 32)


def conv(given: int, channels: int, stride: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(given, channels, 3, stride, 1), nn.BatchNorm2d(channels), nn.ReLU())


class Net(nn.Module):
    """A small convolutional classifier; ``wrap`` is what it returns its logits in."""

    def __init__(self, wrap: Callable[[Tensor, Tensor], Any] = lambda logits, maps: logits) -> None:
        super().__init__()
        self.stem, self.body = conv(3, 8), conv(8, 12)
        self.head = nn.Linear(12, 5)
        self.wrap = wrap

    def forward(self, images: Tensor) -> Any:
        maps = self.body(self.stem(images))
        return self.wrap(self.head(maps.mean((2, 3))), maps)


class Tokens(nn.Module):
    """A transformer of PyTorch's own; its batch comes second unless told otherwise."""

    def __init__(self, prefix: int, batch_first: bool, norm_first: bool = True, patch: int = 4) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, patch, patch)
        self.prefix = nn.Parameter(torch.randn(1, prefix, 16))
        block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(block, 3, enable_nested_tensor=False)
        self.head = nn.Linear(16, 5)
        self.batch_first = batch_first

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patch(images).flatten(2).mT
        tokens = torch.cat([self.prefix.expand(len(images), -1, -1), tokens], 1)
        tokens = self.encoder(tokens) if self.batch_first else self.encoder(tokens.transpose(0, 1)).transpose(0, 1)
        return self.head(tokens[:, 0] if self.prefix.shape[1] else tokens.mean(1))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def made(kind: Callable[[], nn.Module]) -> nn.Module:
    """Return the module that this makes, with the same random weights every time."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return kind().eval()


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def classifier(module: nn.Module, *args: Any, **options: Any) -> Classifier:
    return Classifier(module, *args, image_size=SIZE, **options)


# --- layers ------------------------------------------------------------------------------------------------------


def test_a_layer_by_name_or_as_an_object() -> None:
    module = made(Net)
    assert classifier(module).layers == ("body",)
    assert classifier(module, "stem").layers == ("stem",)
    assert classifier(module, module.stem[0]).layers == ("stem.0",)
    several = classifier(module, ["stem", module.body])
    assert several.layers == ("stem", "body")
    assert len(several.grids) == 2
    assert not several.pooled


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("bodi", "the model has no layer 'bodi'; did you mean 'body'"),
        ("stem.9", "the model has no layer 'stem.9'; did you mean 'stem."),
        (nn.ReLU(), "the layer given .ReLU. is not part of the model"),
        ([], "layer is an empty list"),
        ("head", r"layer 'head' puts out the shape \(1, 5\), which is no grid .* image of 24 x 32"),
    ],
)
def test_a_layer_that_cannot_be_used(layer: Any, said: str) -> None:
    with pytest.raises(FinercamError, match=said):
        classifier(made(Net), layer)


def test_a_layer_that_does_not_run() -> None:
    module = made(Net)
    module.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(FinercamError, match="layer 'spare' is not used in the forward pass"):
        classifier(module, "spare")


def test_the_last_layer_is_where_everything_passes_through() -> None:
    """A functional shortcut goes round the block's last layer: half of the evidence would be missing there."""

    class Residual(Net):
        def forward(self, images: Tensor) -> Tensor:
            maps = self.body(self.stem(images))
            return self.head((maps + self.branch(maps)).mean((2, 3)))

    module = Residual()
    module.branch = nn.Sequential(nn.Conv2d(12, 12, 3, 1, 1), nn.BatchNorm2d(12))
    assert classifier(module.eval()).layers == ("body",)


def test_two_towers_have_no_such_layer() -> None:
    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = Net(), Net()

        def forward(self, images: Tensor) -> Tensor:
            return self.left(images) + self.right(images)

    assert classifier(made(Towers)).layers == ("right.body",)


def test_what_is_tapped_is_what_the_layer_returns() -> None:
    """This backbone returns its map, but the logits come from what it pooled before: its last stage is the layer."""

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.body = conv(3, 8), conv(8, 12)

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            maps = self.body(self.stem(images))
            return {"maps": maps, "pooled": maps.mean((2, 3))}

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.norm, self.head = Backbone(), nn.LayerNorm(12), nn.Linear(12, 5)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.norm(self.backbone(images)["pooled"]))

    found = classifier(made(Whole))
    assert found.layers == ("backbone.body",)
    assert saliency(found, images()).amax() > 0


def test_a_map_that_is_changed_in_place_is_not_what_is_pooled() -> None:
    class InPlace(Net):
        def forward(self, images: Tensor) -> Tensor:
            return self.head(torch.relu_(self.last(self.stem(images))).mean((2, 3)))

    module = InPlace()
    module.last = nn.Conv2d(8, 12, 3, 1, 1)
    found = classifier(module.eval())
    assert found.layers == ("last",)
    assert not found.pooled
    assert look(found, images(), lambda y: torch.eye(5).expand(2, -1, -1)).activations[0].min() < 0


def test_a_module_that_runs_twice_is_taken_at_its_last() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 12, 3, 2, 1)
            self.act, self.hidden, self.head = nn.ReLU(), nn.Linear(12, 12), nn.Linear(12, 5)

        def forward(self, images: Tensor) -> Tensor:
            maps = self.act(self.second(self.act(self.first(images))))
            return self.head(self.act(self.hidden(maps.mean((2, 3)))))

    assert classifier(made(Shared)).layers == ("second",)


def test_a_block_that_runs_at_two_sizes() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.block, self.head = conv(3, 8), conv(8, 8), nn.Linear(8, 5)

        def forward(self, images: Tensor) -> Tensor:
            maps = self.stem(images)
            maps = self.block(maps) + nn.functional.avg_pool2d(maps, 2)
            return self.head(self.block(maps).mean((2, 3)))

    found = classifier(made(Twice))
    assert (found.layers, found.pooled) == (("block",), True)
    assert look(found, images(), lambda y: torch.eye(5).expand(2, -1, -1)).activations[0].shape == (2, 8, 3, 4)


def test_average_pooling_is_not_the_layer() -> None:
    module = nn.Sequential(
        OrderedDict(body=conv(3, 8), pool=nn.AdaptiveAvgPool2d((3, 4)), flat=nn.Flatten(), head=nn.Linear(96, 5))
    )
    assert classifier(module.eval()).layers == ("body",)


def test_tokens_with_the_channels_in_the_middle() -> None:
    """Sixteen channels are not four by four cells."""

    class Middle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.norm, self.head = nn.Conv2d(3, 16, 4, 4), nn.BatchNorm1d(16), nn.Linear(16, 5)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.norm(self.patch(images).flatten(2)).relu().mean(2))

    assert Classifier(made(Middle), image_size=(40, 40)).layers == ("patch",)


def test_the_closed_form_needs_the_mean_itself() -> None:
    """Also in half precision, where a near miss is nearer."""

    class Powers(Net):
        def forward(self, images: Tensor) -> Tensor:
            maps = self.body(self.stem(images))
            return self.head(maps.pow(self.power).mean((2, 3)).pow(1 / self.power))

    for power in (1, 1.1, 3):
        for dtype in (torch.float32, torch.bfloat16):
            module = made(Powers).to(dtype)
            module.power = power
            assert classifier(module).pooled == (power == 1), (power, dtype)


# --- grids -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(("prefix", "norm_first"), [(1, True), (3, True), (1, False), (0, True)])
def test_pytorchs_own_transformer(prefix: int, batch_first: bool, norm_first: bool) -> None:
    found = classifier(made(lambda: Tokens(prefix, batch_first, norm_first)))
    expected = {
        (True, True): "encoder.layers.2.norm1",
        # Norm after each block: the input of the last block is what the block before it puts out.
        (True, False): "encoder.layers.1",
        (False, True): "encoder",
    }[prefix > 0, norm_first]
    assert found.layers == (expected,)
    assert found.grids == (Grid("tokens" if batch_first else "tokens-first", prefix),)
    maps = saliency(found, images(3), 2, Contrast(gamma=0))
    torch.testing.assert_close(maps[2:], saliency(found, images(3)[2:], 2, Contrast(gamma=0)), rtol=0, atol=1e-6)


def test_a_grid_given_explicitly() -> None:
    """Cells that are wider than high fit no guess."""

    class Stripes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 12, (8, 4), (8, 4))
            self.head = nn.Linear(12, 5)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.body(images).relu().mean((2, 3)))

    module = made(Stripes)
    with pytest.raises(FinercamError, match=r"no layer's output lies on a grid .* grid=Grid\(\.\.\.\)"):
        Classifier(module, image_size=(32, 32))
    with pytest.raises(FinercamError, match=r"layer 'body' puts out the shape .* give grid=Grid\(\.\.\.\)"):
        Classifier(module, "body", image_size=(32, 32))
    for found in (
        Classifier(module, "body", Grid("nchw"), image_size=(32, 32)),
        Classifier(module, grid=Grid("nchw"), image_size=(32, 32)),
    ):
        assert found.layers == ("body",)
        assert saliency(found, torch.randn(1, 3, 32, 32)).shape == (1, 32, 32)


def test_a_token_grid_of_a_given_size() -> None:
    class OneLess(Tokens):
        """Its last patch is dropped: 99 tokens of 10 x 10, and no square near."""

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.encoder(self.patch(images).flatten(2).mT[:, :99]).mean(1))

    module = made(lambda: OneLess(0, True))
    with pytest.raises(FinercamError, match=r"layer 'encoder' puts out the shape \(1, 99, 16\)"):
        Classifier(module, "encoder", image_size=(40, 40))
    with pytest.raises(FinercamError, match=r"99 tokens with 0 before .* give grid=Grid\('tokens', .*size=\(h, w\)"):
        Classifier(module, "encoder", Grid("tokens", size=(10, 10)), image_size=(40, 40))
    found = Classifier(module, "encoder", Grid("tokens", size=(9, 11)), image_size=(40, 40))
    photos = torch.randn(2, 3, 40, 40)
    assert look(found, photos, lambda y: torch.eye(5).expand(2, -1, -1)).activations[0].shape == (2, 16, 9, 11)


def test_many_prompts_before_the_patches() -> None:
    """The map the patches were cut from was seen, so twenty tokens before them are no riddle."""
    found = classifier(made(lambda: Tokens(20, True)))
    assert found.grids == (Grid("tokens", 20),)


# --- outputs -----------------------------------------------------------------------------------------------------


class Named(NamedTuple):
    features: Tensor
    scores: Tensor


@dataclass
class Output:
    maps: Tensor
    logits: Tensor


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits, maps: (logits, maps),
        lambda logits, maps: [maps, logits],
        lambda logits, maps: {"features": maps, "scores": logits},
        lambda logits, maps: {"pooled": maps.mean((2, 3)), "logits": logits},
        lambda logits, maps: Named(maps, logits),
        lambda logits, maps: Output(maps, logits),
    ],
    ids=["tuple", "list", "dict", "dict with logits", "named tuple", "dataclass"],
)
def test_logits_inside_other_things(wrap: Callable[[Tensor, Tensor], Any]) -> None:
    found = classifier(made(lambda: Net(wrap)))
    plain = classifier(made(Net))
    assert (found.layers, found.classes, found.pooled) == (plain.layers, 5, True)
    torch.testing.assert_close(saliency(found, images(), 1), saliency(plain, images(), 1))


def test_layers_that_return_more_than_a_tensor() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = conv(8, 12)

        def forward(self, maps: Tensor) -> Output:
            return Output(self.inner(maps) + 1, maps)

    class Whole(Net):
        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.body(self.stem(images)).maps.amax((2, 3)))

    module = Whole()
    module.body = Both()
    found = classifier(module.eval())
    assert found.layers == ("body",)
    assert saliency(found, images(), 1, Contrast(gamma=0)).shape == (2, *SIZE)


def test_a_head_that_takes_the_maximum_of_few_cells_beside_the_class_token() -> None:
    """Each class reads the class token and one patch: the layer is still the one whose patches the token reads."""

    class Beside(Tokens):
        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patch(images).flatten(2).mT
            tokens = self.encoder(torch.cat([self.prefix.expand(len(images), -1, -1), tokens], 1))
            return self.head(tokens[:, 0]) + 0.5 * self.aside(tokens[:, 1:]).amax(1)

    module = made(lambda: Beside(1, True))
    module.aside = nn.Linear(16, 5)
    assert classifier(module).layers == ("encoder.layers.2.norm1",)


def test_outputs_without_logits() -> None:
    with pytest.raises(FinercamError, match=r"not logits of shape .images, classes.; give read="):
        classifier(made(lambda: Net(lambda logits, maps: maps)))
    with pytest.raises(FinercamError, match="the model returned str, not logits"):
        classifier(made(lambda: Net(lambda logits, maps: "five classes")))
    found = classifier(made(lambda: Net(lambda logits, maps: [[logits]])), read=lambda output: output[0][0])
    assert found.classes == 5


def test_probabilities_are_refused_when_explaining() -> None:
    found = classifier(made(lambda: Net(lambda logits, maps: logits.softmax(1))))
    assert found.layers == ("body",)
    with pytest.raises(FinercamError, match="returns probabilities"):
        explain(found, images())


# --- what cannot be explained ------------------------------------------------------------------------------------


class Pixels(nn.Module):
    """A perceptron on flattened pixels, behind a layer that normalises them."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = nn.InstanceNorm2d(3)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE[0] * SIZE[1], 32), nn.ReLU(), nn.Linear(32, 5))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(self.normalise(images))


class Rows(nn.Module):
    """A recurrent net that reads the image row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3 * SIZE[1], 16, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.rnn(images.transpose(1, 2).flatten(2))[0][:, -1])


class Whole(nn.Module):
    """Filters as large as the image: every layer is global."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 16, SIZE)
        self.more, self.head = nn.Conv2d(16, 16, 1), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.more(self.look(images).relu()).relu().flatten(1))


@pytest.mark.parametrize("kind", [Pixels, Rows, Whole])
def test_no_layer_on_a_grid(kind: type[nn.Module]) -> None:
    with pytest.raises(FinercamError, match=r"no layer's output lies on a grid .* 24 x 32; give layer= .*grid=Grid"):
        classifier(made(kind))


def test_a_head_of_zeros() -> None:
    module = made(Net)
    nn.init.zeros_(module.head.weight)
    with pytest.raises(FinercamError, match=r"the logits do not depend on any layer .* untrained .all zero."):
        classifier(module)


class NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, given: Tensor) -> Tensor:
        return given.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise RuntimeError("no derivative")


def test_logits_that_cannot_be_differentiated() -> None:
    module = made(lambda: Net(lambda logits, maps: NoWayBack.apply(logits)))
    with pytest.raises(FinercamError, match=r"cannot be differentiated \(no derivative\); give layer=.*scorecam"):
        classifier(module)
    assert saliency(classifier(module, "body"), images(), 1, method="scorecam").shape == (2, *SIZE)


def test_the_wrong_image_size() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(), nn.Linear(4 * 6 * 8, 5))
    with pytest.raises(
        FinercamError, match=r"does not run on an image of 224 x 224 pixels .*; give image_size=\(H, W\)"
    ):
        Classifier(module)
    assert classifier(module.eval()).layers == ("0",)


def test_class_names_that_are_too_few() -> None:
    with pytest.raises(FinercamError, match="3 class names were given for a model with 5 logits"):
        classifier(made(Net), class_names=["a", "b", "c"])


# --- modules in every state --------------------------------------------------------------------------------------


def test_a_module_in_training_stays_there() -> None:
    module = made(Net).train()
    module.body.eval()
    before = copy.deepcopy(module.state_dict())
    reference = saliency(classifier(made(Net)), images(), 1)
    torch.testing.assert_close(saliency(classifier(module), images(), 1), reference)
    assert module.training
    assert module.stem.training
    assert not module.body.training
    torch.testing.assert_close(module.state_dict(), before)


def test_frozen_and_inference_weights() -> None:
    for kind in (Net, lambda: Tokens(1, True)):
        reference = saliency(classifier(made(kind)), images(), 1)
        frozen = made(kind).requires_grad_(False)
        torch.testing.assert_close(saliency(classifier(frozen), images(), 1), reference)
        assert not any(parameter.requires_grad for parameter in frozen.parameters())
        with torch.inference_mode():
            inference = made(kind)
        assert next(inference.parameters()).is_inference()
        torch.testing.assert_close(saliency(classifier(inference), images(), 1), reference)


def test_wrappers_are_taken_off() -> None:
    module = made(Net)
    assert classifier(nn.DataParallel(module)).module is module
    compiled = torch.compile(module)
    assert classifier(compiled).module is module
    assert classifier(nn.DataParallel(torch.compile(module))).module is module
    torch.testing.assert_close(
        saliency(classifier(compiled, "stem"), images(), 1), saliency(classifier(module, "stem"), images(), 1)
    )


def test_compiled_parts_run_as_written() -> None:
    """Compiled, they would pass over the hooks, or be compiled anew for each."""
    runs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        def run(*given: Tensor) -> Any:
            runs.append(len(given))
            return graph(*given)

        return run

    expected = saliency(classifier(made(Net), "body.0"), images(), 1)
    module = made(Net)
    module.body = torch.compile(module.body, backend=backend)
    module.stem.compile(backend=backend)
    module(images())
    compiled = len(runs)
    assert compiled > 0
    assert classifier(module).layers == ("body",)
    torch.testing.assert_close(saliency(classifier(module, "body._orig_mod.0"), images(), 1), expected)
    assert len(runs) == compiled
    module(images())
    assert len(runs) > compiled


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_of_other_precision(dtype: torch.dtype) -> None:
    reference = classifier(made(Net))
    expected = saliency(reference, images(), 1)
    found = classifier(made(Net).to(dtype))
    assert (found.layers, found.pooled) == (("body",), True)
    close = 0.05 if dtype == torch.bfloat16 else 1e-5
    given = saliency(found, images().to(dtype), 1)
    torch.testing.assert_close(given.float(), expected, rtol=0, atol=close * float(expected.max()))
    assert classifier(made(lambda: Tokens(1, True)).to(dtype)).layers == ("encoder.layers.2.norm1",)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.InstanceNorm2d])
def test_a_norm_before_tokens_has_one_image_explained_as_several(norm: type[nn.Module]) -> None:
    """PyTorch's backward of these norms on the CPU misreads the gradient that tokens send back for one image."""

    class Hybrid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 4, 4)
            self.more = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), norm(16))
            self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 5)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.more(self.stem(images)).flatten(2).transpose(1, 2)
            return self.head(self.norm(tokens).square().mean(1))

    found = classifier(made(Hybrid), "stem")
    rows = torch.eye(5)
    several = look(found, images(3), lambda y: rows.expand(3, -1, -1)).gradients[0]
    single = look(found, images(3)[1:2], lambda y: rows[None]).gradients[0]
    torch.testing.assert_close(single, several[1:2], rtol=0, atol=1e-6 * float(several.abs().max()))
