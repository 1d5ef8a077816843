"""The target layer of your own modules: named, given as an object, or found."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from finercam import Classifier, FinercamError, saliency
from models.small import Net, classifier, conv, images, made
from support.looking import look


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
        ("head", r"layer 'head' puts out the shape \(1, 5\), which is not a grid .* image of 24 x 32"),
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

    assert Classifier.of(made(Middle), image_size=(40, 40)).layers == ("patch",)


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
