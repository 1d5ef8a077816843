"""LRP: the rules taken literally, zennit on its own, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from finercam import PLAIN, Classifier, Contrast, FinercamError, answer, explain, gather, saliency
from finercam._torchvision import import_torchvision
from support import literal_explainers as literal
from support.models import CLASSES, SIZE, DeepNet, Net, PooledNet, Probed, TinyViT, build, conv_bn_relu, photos
from support.states import disturbing_net, state, untouched

torchvision = import_torchvision()
import timm  # noqa: E402

zennit = pytest.importorskip("zennit")
from zennit.canonizers import SequentialMergeBatchNorm  # noqa: E402
from zennit.composites import EpsilonPlusFlat  # noqa: E402
from zennit.layer import Sum  # noqa: E402
from zennit.torchvision import ResNetCanonizer  # noqa: E402

CONTRAST = Contrast([[4, 0, 6], [1, 2, 3]], gamma=0.7)
TARGETS = [2, 5]


def assert_same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-9) -> None:
    assert ours.shape == theirs.shape
    peak = float(theirs.abs().max())
    assert peak > 0
    assert float((ours - theirs).abs().max()) <= tolerance * peak


def asked(model: Classifier, images: Tensor, smooth: float = 0) -> tuple[Tensor, Tensor]:
    """The maps of ``CONTRAST`` and its rows, b C."""
    contrast = Contrast(CONTRAST.against[: len(images)], gamma=0.7)
    evidence, (question,) = gather(model, images, [contrast], TARGETS[: len(images)], method=f"lrp@smooth={smooth}")
    return answer(evidence, question).maps, question.rows[:, 0]


class Skipping(PooledNet):
    """With a skip connection, in place, and a pooling layer instead of a mean."""

    seed = 3

    def __init__(self, classes: int = CLASSES, explicit: bool = False) -> None:
        super().__init__(classes)
        self.stem = conv_bn_relu(3, 5, 2, inplace=True)
        self.block = nn.Sequential(nn.Conv2d(5, 5, 3, 1, 1, bias=False), nn.BatchNorm2d(5))
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.sum = Sum()
        self.explicit = explicit

    def tail(self, maps: Tensor) -> Tensor:
        x = self.block(maps)
        if self.explicit:
            x = self.sum(torch.stack([x, maps], -1))
        else:
            x += maps
        return self.head(self.pool(self.act(x)).flatten(1))


# --- literally ---------------------------------------------------------------------------------------------------


def merged(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """The weights of a convolution with the norm behind it; biases have no say in relevance."""
    return conv.weight.detach() * (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()[:, None, None, None]


def literal_pooled(net: Net, image: Tensor, row: Tensor) -> Tensor:
    """Epsilon, an average, z-plus and a flat first layer, one after the other."""
    with torch.no_grad():
        first = net.stem[0](image[None])[0]
        second = net.stem[1](first[None])[0]
        mean = second.mean((1, 2))
        relevance = row * net.head(mean)
    relevance = literal.epsilon(mean, net.head.weight.detach(), relevance)
    relevance = second / second[0].numel() / (mean + 1e-6)[:, None, None] * relevance[:, None, None]
    relevance = literal.z_plus(first, merged(net.stem[1][0], net.stem[1][1]), relevance, 2, 1)
    weight = merged(net.stem[0][0], net.stem[0][1])
    return literal.over_channels(literal.flat_rule(image, weight, relevance, 1, 1))


def literal_skipping(net: Net, image: Tensor, row: Tensor) -> Tensor:
    """What flows into a sum is shared out by what each summand adds."""
    with torch.no_grad():
        first = net.stem(image[None])[0]
        aside = net.block(first[None])[0]
        second = (first + aside).relu()
        mean = second.mean((1, 2))
        relevance = row * net.head(mean)
    relevance = literal.epsilon(mean, net.head.weight.detach(), relevance)
    relevance = second / second[0].numel() / (mean + 1e-6)[:, None, None] * relevance[:, None, None]
    total = first + aside
    total = total + 1e-6 * torch.where(total >= 0, 1.0, -1.0)
    along, through = first * relevance / total, aside * relevance / total
    along = along + literal.z_plus(first, merged(net.block[0], net.block[1]), through, 1, 1)
    return literal.over_channels(literal.flat_rule(image, merged(net.stem[0], net.stem[1]), along, 2, 1))


@pytest.mark.parametrize(("kind", "expected"), [(PooledNet, literal_pooled), (Skipping, literal_skipping)])
def test_the_rules(kind: type[Net], expected: object) -> None:
    net = build(kind)
    found, rows = asked(Classifier.of(net, "stem", image_size=SIZE), photos())
    for i, image in enumerate(photos()):
        assert_same(found[i], expected(net, image, rows[i]))


def test_smoothed() -> None:
    model = Classifier.of(build(PooledNet), "stem", image_size=SIZE)
    rough, _ = asked(model, photos())
    found, _ = asked(model, photos(), 0.13)
    assert_same(found, torch.stack([literal.smoothed(one, 1) for one in rough]))


# --- zennit on its own -------------------------------------------------------------------------------------------


def theirs(net: nn.Module, images: Tensor, rows: Tensor, canonizer: object) -> Tensor:
    composite = EpsilonPlusFlat(zero_params=["bias"], canonizers=[canonizer])
    given = images.clone().requires_grad_()
    with composite.context(net) as ruled:
        logits = ruled(given)
        (relevance,) = torch.autograd.grad(logits, given, rows * logits.detach())
    return relevance.sum(1)


def without_epsilon(net: nn.Module) -> nn.Module:
    """Zennit leaves the norms that it empties their epsilon: they still divide by the root of 1 + 1e-5."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-14
    return net


def test_zennit_merges_batch_norms_alike() -> None:
    """A network of layers alone, as it takes them: one after the other."""
    net, other = (without_epsilon(build(Skipping, explicit=explicit)) for explicit in (True, False))
    found, rows = asked(Classifier.of(net, "stem", image_size=SIZE), photos())
    assert_same(found, theirs(net, photos(), rows, SequentialMergeBatchNorm()))
    plain, _ = asked(Classifier.of(other, "stem", image_size=SIZE), photos())
    assert_same(plain, found)


def test_zennits_residual_network() -> None:
    """Its canonizer rewrites torchvision's blocks, so that their sums are layers; ours are seen as they are called."""
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=7).double().eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.weight.uniform_(0.5, 1.5)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    found, rows = asked(Classifier.of(without_epsilon(net), image_size=(64, 64)), images)
    assert_same(found, theirs(net, images, rows, ResNetCanonizer()), 1e-8)


# --- what it promises --------------------------------------------------------------------------------------------


def test_relevance_is_conserved() -> None:
    """Up to epsilon, and what units that are active by their bias alone lose; none here."""
    net = build(Skipping)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.zero_()
                module.bias.zero_()
        net.head.bias.zero_()
    found, rows = asked(Classifier.of(net, "stem", image_size=SIZE), photos())
    with torch.no_grad():
        value = (net(photos()) * rows).sum(1)
    assert_same(found.sum((1, 2)), value, 1e-4)


@pytest.mark.parametrize("name", ["mobilenetv2_035", "resnet10t", "densenet121"])
def test_known_families(name: str) -> None:
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=3).eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    found = saliency(Classifier.of(net, image_size=(64, 64)), torch.randn(1, 3, 64, 64), 0, method="lrp")
    assert float(found.max()) > 0
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(inner._forward_hooks or inner._forward_pre_hooks for inner in net.modules())


class Functional(PooledNet):
    def tail(self, maps: Tensor) -> Tensor:
        return super().tail(nn.functional.relu(maps))


class Gated(PooledNet):
    def tail(self, maps: Tensor) -> Tensor:
        return super().tail(maps * maps.mean((2, 3), keepdim=True))


class Twice(PooledNet):
    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Conv2d(5, 5, 1)

    def tail(self, maps: Tensor) -> Tensor:
        return super().tail(self.again(self.again(maps)))


class Attending(PooledNet):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(5, 1, batch_first=True)

    def tail(self, maps: Tensor) -> Tensor:
        tokens = maps.flatten(2).mT
        return self.head(self.attention(tokens, tokens, tokens)[0].mean(1))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Functional, "lrp has no rule for 'relu', which mine calls outside of its convolutions"),
        (Gated, "lrp has no rule for 'mul'"),
        (Twice, "lrp: Conv2d 'again' of mine runs more than once"),
        (Attending, "lrp has no rule for 'multi_head_attention_forward'"),
        (DeepNet, "lrp has no rule for 'layer_norm'"),
        (TinyViT, "lrp has no rule for 'layer_norm'"),
    ],
)
def test_what_has_no_rule_is_refused(kind: type[Net], why: str) -> None:
    net = build(kind)
    model = Classifier.of(net, kind.layer, image_size=SIZE, name="mine")
    with untouched(net), pytest.raises(FinercamError, match=why):
        gather(model, photos(), [PLAIN], method="lrp")


def test_the_model_is_untouched() -> None:
    net = disturbing_net(PooledNet)
    net._forward_hooks.clear()  # (it adds noise to the logits, for which there is no rule)
    with untouched(net):
        model = Classifier.of(net, "stem", image_size=SIZE)
        saliency(model, photos(), method="lrp")
        explain(model, photos(), method="lrp", keep=True)[0].again(gamma=0.1)


def test_the_model_is_not_even_run() -> None:
    """What it does with the weights in between, nobody sees: it is a copy's."""
    net = Probed(build(PooledNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    before, seen = state(net), []
    net.register_forward_hook(lambda module, args, output: seen.append(module is net))
    net.batches.clear()
    gather(model, photos(), [PLAIN], method="lrp")
    assert net.batches == [2, 2]  # the look, and what can be folded
    assert state(net)["values"] == before["values"]


def test_without_zennit_the_extra_is_named() -> None:
    script = (
        f"import sys; sys.modules['zennit'] = None; sys.path[:0] = {sys.path}\n"
        "import torch, finercam\n"
        "from support.models import PooledNet, SIZE, build, photos\n"
        "model = finercam.Classifier.of(build(PooledNet), 'stem', image_size=SIZE)\n"
        "try:\n    finercam.saliency(model, photos(), method='lrp')\n"
        "except finercam.FinercamError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == "lrp needs zennit, which is not installed; run pip install zennit\n"
