"""Networks made random layer by layer."""

import copy

import pytest
import torch
from torch import nn

from finercam.errors import FinercamError
from finercam.studies.sanity import randomising
from finercam.studies.sanity.randomising import Randomised, weighted_layers
from support.models import NETS, PooledNet, TinyViT, build, photos

POOLED = ["stem.0.0", "stem.0.1", "stem.1.0", "stem.1.1", "head"]


def values(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items() if tensor.is_floating_point()}


def changed(before, after):
    """The parts any of whose values differ."""
    return {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("redraw", ["shuffle", "reset"])
@pytest.mark.parametrize("order", ["top-down", "bottom-up", "independent"])
def test_layers_become_random_one_by_one(order, redraw):
    net = build(PooledNet)
    before = values(net)
    assert weighted_layers(net) == POOLED
    seen = []
    for layer, module in Randomised(net, order=order, redraw=redraw):
        seen.append(layer)
        assert changed(before, values(module)) == ({layer} if order == "independent" else set(seen))
    assert seen == (POOLED if order == "bottom-up" else POOLED[::-1])


def test_a_layer_gets_the_same_values_in_every_order_and_others_from_another_seed():
    def drawn(order, seed):
        return {
            layer: module.get_submodule(layer).weight.tolist()
            for layer, module in Randomised(build(PooledNet), order=order, seed=seed)
        }

    assert drawn("top-down", 3) == drawn("independent", 3) == drawn("bottom-up", 3)
    assert all(drawn("top-down", 3)[layer] != values for layer, values in drawn("top-down", 4).items())


@pytest.mark.parametrize("redraw", ["shuffle", "reset"])
def test_layers_of_one_shape_do_not_get_the_same_values(redraw):
    net = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    net[1].load_state_dict(net[0].state_dict())
    *_, (_, module) = Randomised(net, redraw=redraw)
    assert not torch.equal(module[0].weight, module[1].weight)


@pytest.mark.parametrize("kind", NETS.values())
def test_shuffling_keeps_the_values_and_a_norms_scale_with_its_statistic(kind):
    net = build(kind)
    before = values(net)
    *_, (_, module) = Randomised(net)
    for name, tensor in values(module).items():
        assert not torch.equal(tensor, before[name])
        assert tensor.flatten().sort().values.tolist() == before[name].flatten().sort().values.tolist()
    for name, part in net.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            other = module.get_submodule(name)
            was = zip(part.weight.tolist(), part.bias.tolist(), part.running_var.tolist(), strict=True)
            now = zip(other.weight.tolist(), other.bias.tolist(), other.running_var.tolist(), strict=True)
            assert sorted(was) == sorted(now)
    assert module(photos()).isfinite().all()


def test_resetting_draws_as_for_training_from_scratch():
    net = build(PooledNet)
    *_, (_, module) = Randomised(net, redraw="reset")
    norm = module.stem[0][1]
    assert (norm.weight.tolist(), norm.running_mean.tolist()) == ([1.0] * 6, [0.0] * 6)
    bound = 1 / module.head.in_features**0.5
    assert values(module.head)["weight"].abs().amax() <= bound < values(net.head)["weight"].abs().amax()
    with pytest.raises(FinercamError, match=r"TinyViT.*no reset_parameters.*shuffle"):
        Randomised(build(TinyViT), redraw="reset")


@pytest.mark.parametrize("redraw", ["shuffle", "reset"])
@pytest.mark.parametrize("order", ["top-down", "bottom-up", "independent"])
def test_every_time_through_is_the_same_also_after_one_that_was_left(order, redraw, monkeypatch):
    drawn = []
    draw = randomising._drawn
    monkeypatch.setattr(randomising, "_drawn", lambda *given: drawn.append(given) or draw(*given))
    networks = Randomised(build(PooledNet), order=order, redraw=redraw)

    def through():
        return [(layer, {name: tensor.tolist() for name, tensor in values(net).items()}) for layer, net in networks]

    next(iter(networks))
    first = through()
    for _, _ in zip(networks, range(2), strict=False):
        pass
    assert through() == first
    # The random values are drawn once.
    assert len(drawn) == len(POOLED)


def test_the_module_given_and_the_random_numbers_stay_as_they_were():
    net = build(PooledNet).train()
    net.stem[0][0].weight.requires_grad_(False)
    torch.manual_seed(99)
    before, generator = values(net), torch.get_rng_state()
    kept = []
    for redraw in ("shuffle", "reset"):
        for _, module in Randomised(net, order="independent", redraw=redraw):
            assert module is not net
            assert not {id(p) for p in module.parameters()} & {id(p) for p in net.parameters()}
            assert module.training
            assert torch.is_grad_enabled()
            kept.append(module.stem[0][0].weight.requires_grad)
    assert not changed(before, values(net))
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any(kept)
    assert all(p.grad is None for p in net.parameters())


def test_layers_may_be_parts_of_any_size_and_each_weight_belongs_to_the_innermost():
    net = build(TinyViT)
    before = values(net)
    steps = {}
    for layer, module in Randomised(net, ["", "first", "last", "last.mlp", "head"], order="independent"):
        steps[layer] = changed(before, values(module))
    assert list(steps) == ["head", "last.mlp", "last", "first", ""]
    assert steps["head"] == {"head"}
    assert steps["last.mlp"] == {"last.mlp.0", "last.mlp.2"}
    assert steps["last"] == {"last.norm1", "last.norm2", "last.qkv", "last.proj"}
    assert steps[""] == {"", "patch", "norm"}
    # "first" is no part of "firstly".
    odd = nn.ModuleDict({"first": nn.Linear(4, 4), "firstly": nn.Linear(4, 4)})
    assert [changed(values(odd), values(module)) for _, module in Randomised(odd, ["first"])] == [{"first"}]


def test_a_layer_has_the_same_random_values_alone_and_inside_a_larger_one():
    fine = {layer: values(module.get_submodule(layer)) for layer, module in Randomised(build(PooledNet))}
    for layer, module in Randomised(build(PooledNet), ["stem", "head"]):
        parts = [name for name in POOLED if name.startswith(layer)]
        assert parts
        assert all(not changed(fine[part], values(module.get_submodule(part))) for part in parts)


def test_masks_and_positions_that_were_not_learned_stay_and_frozen_norms_do_not():
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            for name in ("weight", "bias", "running_mean", "running_var", "mask"):
                self.register_buffer(name, torch.randn(8))

    net = Frozen()
    ((_, module),) = Randomised(net)
    now = values(module)
    assert {name for name in now if torch.equal(now[name], getattr(net, name))} == {"mask"}


def test_weights_made_under_inference_mode():
    with torch.inference_mode():
        net = build(PooledNet)
    before = values(net)
    *_, (_, module) = Randomised(net)
    assert changed(before, values(module)) == set(POOLED)
    with torch.inference_mode():
        *_, (_, module) = Randomised(build(PooledNet))
    assert module(photos()).requires_grad


def test_what_cannot_be_done_is_said_at_once():
    net = build(PooledNet)
    for options, message in (
        ({"order": "topdown"}, "'top-down'"),
        ({"redraw": "shuffel"}, "'shuffle'"),
        ({"layers": ["stem.0", "heat"]}, "no layer 'heat'.*'head'"),
        ({"layers": ["stem.0.2"]}, "no weights"),
    ):
        with pytest.raises(FinercamError, match=message):
            Randomised(net, **options)
    with pytest.raises(FinercamError, match="nothing to make random"):
        Randomised(nn.ReLU())
    net.stem[0][0].made = nn.Linear(2, 2).weight * 2
    with pytest.raises(FinercamError, match="cannot be copied"):
        Randomised(net)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("order", "theirs"), [("top-down", "top_down"), ("independent", "independent")])
def test_the_steps_are_those_of_quantus(order, theirs):
    quantus = pytest.importorskip("quantus", reason="Quantus is not installed")
    net = build(PooledNet)
    before = values(net)
    wrapped = quantus.helpers.utils.get_wrapped_model(copy.deepcopy(net), channel_first=True, softmax=False)
    expected = [(name, changed(before, values(module))) for name, module in wrapped.get_random_layer_generator(theirs)]
    found = [(name, changed(before, values(module))) for name, module in Randomised(net, order=order, redraw="reset")]
    # It goes through the layers one by one from the first, which changes nothing where each is by itself.
    assert found == (expected[::-1] if order == "independent" else expected)
