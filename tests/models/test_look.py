"""A visit to a model: what it shows, how often the model runs for it, and that it leaves no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from finercam import INPUT, Classifier, FinercamError, Look, Run
from support.models import CLASSES, NETS, SIZE, DeepNet, Net, PooledNet, Probed, TinyViT, build, photos
from support.states import Random, disturbing_net, untouched


def probed(kind: type[Net] = DeepNet) -> tuple[Classifier, Probed]:
    net = Probed(build(kind))
    model = Classifier.of(net, f"inner.{kind.layer}", image_size=SIZE)
    net.batches.clear()
    return model, net


def rows(count: int = 2, images: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, count, CLASSES, generator=generator, dtype=torch.float64)


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    peak = float(theirs.detach().abs().max())
    assert peak > 0
    assert ours.shape == theirs.shape
    assert float((ours - theirs).detach().abs().max()) <= 1e-11 * peak


@torch.enable_grad()
def by_autograd(net: nn.Module, layer: str, images: Tensor, row: Tensor) -> Tensor:
    """The gradient of ``row . logits`` for what the layer puts out (or the images), by one backward through it all."""
    if layer == INPUT:
        images = images.clone().requires_grad_()
        return torch.autograd.grad((net(images) * row).sum(), images)[0]
    kept: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda module, args, output: kept.append(output))
    try:
        logits = net(images)
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad((logits * row).sum(), kept[-1])
    return gradient


# --- logits and activations --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_the_logits_are_there_at_once(name: str) -> None:
    model, net = probed(NETS[name])
    with model.look(photos()) as look:
        assert net.batches == [2]
        assert torch.equal(look.logits, net.inner(photos()))
        assert not look.logits.requires_grad
        assert look.image_size == SIZE
        assert (look.passes, look.copies) == (1, 0)
    assert net.batches == [2]


def test_logits_are_in_float32_or_better() -> None:
    model = Classifier.of(build(DeepNet, dtype=torch.bfloat16), "stem", image_size=SIZE)
    with model.look(photos(dtype=torch.bfloat16)) as look:
        assert look.logits.dtype == torch.float32
        assert look.activations()[0].dtype == torch.bfloat16
    model = Classifier.of(build(DeepNet, dtype=torch.float32), "stem", image_size=SIZE)
    with model.look(photos(dtype=torch.float32), Run(precision="bfloat16")) as look:
        assert look.logits.dtype == torch.float32
        assert look.activations()[0].dtype == torch.bfloat16


def test_activations_of_the_target_layer_and_of_others() -> None:
    model, net = probed(TinyViT)
    vit = net.inner
    with model.look(photos()) as look:
        (target,) = look.activations()
        assert_same(target, vit.grid(vit.split(photos())[0]))
        assert net.batches == [2]
        patches, first = look.activations(["inner.patch", "inner.first"])
        assert_same(patches, vit.patch(photos()))
        assert_same(first, vit.grid(vit.before(photos())))
        (images,) = look.activations([INPUT])
        assert torch.equal(images, photos())
        assert look.passes == 2
        # What was tapped once stays.
        look.activations(["inner.patch"])
        look.activations(["inner.last.norm1", INPUT])
        look.activations(["inner.patch", "inner.first"])
        look.activations(["inner.first.norm2"])
        look.activations(["inner.patch", "inner.first.norm2"])
        assert look.passes == 3
    assert net.batches == [2, 2, 2]


def test_the_grid_of_another_layer() -> None:
    model, _ = probed(TinyViT)
    with model.look(photos()) as look:
        assert look.grid("inner.last.norm1") is model.grids[0]
        assert str(look.grid("inner.patch")) == "nchw"
        assert look.grid("inner.first").prefix == 2
        for layer, why in {
            "inner.head": r"layer 'inner.head' puts out the shape \(2, 7\), which is not a grid of cells over images",
            "inner.hat": "the model has no layer 'inner.hat'; did you mean .*'inner.head'",
        }.items():
            with pytest.raises(FinercamError, match=why):
                look.grid(layer)
            with pytest.raises(FinercamError, match=why):
                look.activations([layer])


# --- gradients ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_gradients_may_be_asked_for_twice(name: str) -> None:
    model, net = probed(NETS[name])
    with model.look(photos(), at=model.layers) as look:
        for seed, count in ((0, 1), (1, 3), (0, 1)):
            asked = rows(count, seed=seed)
            (gradients,) = look.gradients(asked)
            for number in range(count):
                expected = by_autograd(net.inner, NETS[name].layer, photos(), asked[:, number])
                assert_same(gradients[:, number], net.inner.grid(expected))
        assert look.passes == 1
    assert net.batches == [2]


@pytest.mark.parametrize("at", [["stem"], ["stem.0"], ["more.0"], ["stem.0", "more"], ["more", "stem.0"]])
def test_gradients_at_other_layers_are_autograds(at: list[str]) -> None:
    model, net = probed(DeepNet)
    names = [f"inner.{layer}" for layer in at]
    asked = rows(2)
    for opened in ((), names, model.layers, (INPUT,)):
        with model.look(photos(), at=opened) as look:
            found = look.gradients(asked, names)
            assert look.passes == (1 if set(names) <= {*opened, *(model.layers if opened else ())} else 2)
            for layer, gradients in zip(at, found, strict=True):
                for number in range(2):
                    assert_same(gradients[:, number], by_autograd(net.inner, layer, photos(), asked[:, number]))


@pytest.mark.parametrize("name", NETS)
def test_gradients_at_the_input_are_autograds(name: str) -> None:
    model, net = probed(NETS[name])
    asked = rows(2)
    for opened in ((), (INPUT,), (INPUT, *model.layers), model.layers):
        with model.look(photos(), at=opened) as look:
            (gradients,) = look.gradients(asked, [INPUT])
            assert look.passes == (1 if INPUT in opened else 2)
            for number in range(2):
                assert_same(gradients[:, number], by_autograd(net.inner, INPUT, photos(), asked[:, number]))
            assert not look.images.requires_grad


def test_several_layers_and_the_input_at_once() -> None:
    model, net = probed(DeepNet)
    asked = rows(1)
    with model.look(photos(), at=[INPUT, "inner.stem", "inner.more"]) as look:
        images, stem, more = look.gradients(asked, [INPUT, "inner.stem", "inner.more"])
        (alone,) = look.gradients(asked, ["inner.more"])
        assert torch.equal(alone, more)
        assert look.passes == 1
    assert_same(stem[:, 0], by_autograd(net.inner, "stem", photos(), asked[:, 0]))
    assert_same(more[:, 0], by_autograd(net.inner, "more", photos(), asked[:, 0]))
    assert images.shape == (2, 1, 3, *SIZE)


def test_layers_named_at_opening_cost_one_pass_and_others_a_second() -> None:
    model, net = probed(DeepNet)
    asked = rows(1)
    with model.look(photos(), at=["inner.stem"]) as look:
        look.gradients(asked)
        look.activations()
        assert (look.passes, net.batches) == (1, [2])
        look.gradients(asked, ["inner.more"])
        assert (look.passes, net.batches) == (2, [2, 2])
        # The second pass recorded both.
        look.gradients(asked)
        look.gradients(asked, ["inner.more", "inner.stem"])
        assert (look.passes, net.batches) == (2, [2, 2])
    with model.look(photos(), at=["inner.more"]) as look:
        look.gradients(asked)  # the target layers are always part of what is recorded
        assert look.passes == 1


def test_the_closed_form_costs_no_pass() -> None:
    model, net = probed(PooledNet)
    asked = rows(2)
    with model.look(photos()) as look:
        (gradients,) = look.gradients(asked)
        assert look.closed_form is not None
        assert net.batches == [2]
        for number in range(2):
            assert_same(gradients[:, number], by_autograd(net.inner, "stem", photos(), asked[:, number]))
        (early,) = look.gradients(asked, ["inner.stem.0"])
        assert look.passes == 2
        assert_same(early[:, 1], by_autograd(net.inner, "stem.0", photos(), asked[:, 1]))
    with probed(DeepNet)[0].look(photos()) as look:
        assert look.closed_form is None


@pytest.mark.parametrize("opened", [(), ("inner.stem",)])
def test_a_question_that_fails_leaves_the_visit_usable(opened: tuple[str, ...]) -> None:
    class Unused(DeepNet):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Conv2d(3, 3, 1)

    model, net = probed(Unused)
    asked = rows(1)
    with model.look(photos(), at=opened) as look:
        for layer, why in {
            "inner.mor": "the model has no layer 'inner.mor'; did you mean .*'inner.more'",
            "inner.unused": "layer 'inner.unused' is not used in the forward pass",
        }.items():
            with pytest.raises(FinercamError, match=why):
                look.gradients(asked, [layer])
            with pytest.raises(FinercamError, match=why):
                look.activations([layer])
        (gradients,) = look.gradients(asked)
        assert_same(gradients[:, 0], by_autograd(net.inner, "stem", photos(), asked[:, 0]))
    for layer in ("inner.mor", "inner.unused"):
        with pytest.raises(FinercamError, match=layer), model.look(photos(), at=[layer]):
            raise AssertionError("it opened")


# --- other images ------------------------------------------------------------------------------------------------


def test_the_same_images_at_another_size() -> None:
    net = Probed(build(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    asked = rows(1)
    larger = nn.functional.interpolate(photos(), (18, 20), mode="bilinear", align_corners=False, antialias=True)
    with untouched(net), model.look(photos(), Run(copies=3), at=model.layers) as look:
        with look.at((18, 20), at=model.layers) as other:
            assert other.image_size == (18, 20)
            assert_same(other.logits, net.inner(larger))
            (gradients,) = other.gradients(asked)
            assert gradients.shape[-2:] == (9, 10)
            assert_same(gradients[:, 0], by_autograd(net.inner, "stem", larger, asked[:, 0]))
            assert (look.passes, other.passes, other.run) == (1, 1, look.run)
            # The first is as it was.
            assert_same(look.gradients(asked)[0][:, 0], by_autograd(net.inner, "stem", photos(), asked[:, 0]))
        with pytest.raises(FinercamError, match="this look at the model is over"):
            other.gradients(asked)
        assert look.gradients(asked)[0].shape[-2:] == (6, 8)
        with look.at(SIZE) as same:
            assert torch.equal(same.logits, look.logits)
        with pytest.raises(ZeroDivisionError), look.at((18, 20)):
            raise ZeroDivisionError("no fault of the size")


def test_a_size_that_the_model_does_not_take() -> None:
    model, net = probed(TinyViT)  # its positions are those of 3 x 4 patches
    with untouched(net), model.look(photos()) as look:
        why = r"does not take images of 24 x 16 pixels \(.*\); it is made for 12 x 16"
        with pytest.raises(FinercamError, match=why), look.at((24, 16)):
            raise AssertionError("it opened")
        assert look.activations()[0].shape == (2, 8, 3, 4)


def test_other_images_beside() -> None:
    model, net = probed(DeepNet)
    with model.look(photos()) as look, look.beside(photos(3, seed=8), at=model.layers) as beside:
        assert_same(beside.logits, net.inner(photos(3, seed=8)))
        assert_same(
            beside.gradients(rows(1, 3))[0][:, 0], by_autograd(net.inner, "stem", photos(3, seed=8), rows(1, 3)[:, 0])
        )
        assert (look.passes, beside.passes) == (1, 1)


# --- altered copies ----------------------------------------------------------------------------------------------


def dimmed(look: Look) -> Callable[[Tensor, Tensor], Tensor]:
    """Copy k is the image at brightness 1 / (k + 1)."""
    return lambda image, copy: look.images[image] / (1 + copy[:, None, None, None]).to(look.images)


def table(look: Look, wanted: Tensor, **options: object) -> Tensor:
    found = look.logits.new_full((*wanted.shape, CLASSES), torch.nan)
    for image, copy, logits in look.rerun(dimmed(look), wanted, **options):
        found[image, copy] = logits
    return found


WANTED = torch.tensor([[True, True, False, True, True], [True, False, True, True, True]])


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("copies", [1, 3, 5, 100, None])
def test_copies_are_the_same_in_any_batch_size(name: str, copies: int | None) -> None:
    model, net = probed(NETS[name])
    with model.look(photos(), Run(copies=copies)) as look:
        found = table(look, WANTED)
        assert (look.passes, look.copies) == (1, 8)
    size = copies or 16
    assert net.batches == [2, *[size] * (8 // size), *[8 % size] * bool(8 % size)]
    assert bool((found.isnan().all(2) == ~WANTED).all())
    for image, copy in WANTED.nonzero().tolist():
        assert_same(found[image, copy], net.inner(photos()[image : image + 1] / (copy + 1))[0])


@pytest.mark.parametrize("copies", [1, 3, 100])
def test_edited_copies_are_the_same_in_any_batch_size(copies: int) -> None:
    model, net = probed(TinyViT)
    vit = net.inner

    def darken(image: Tensor, copy: Tensor, maps: Tensor) -> None:
        maps *= copy[:, None, None, None]

    with model.look(photos(), Run(copies=copies)) as look:
        found = table(look, WANTED, edit=darken)
        assert (look.passes, look.copies) == (1, 8)
    for image, copy in WANTED.nonzero().tolist():
        output, tail = vit.split(photos()[image : image + 1] / (copy + 1))
        output = output.clone()
        output[:, vit.prefix :] *= copy
        assert_same(found[image, copy], tail(output)[0])


def test_many_copies_go_through_the_folded_network() -> None:
    model, net = probed(DeepNet)
    many = torch.ones(2, 50, dtype=torch.bool)
    with untouched(net), model.look(photos()) as look:
        found = table(look, many)
        assert look.copies == 100
        # The last run through the network itself was to see what can be folded: on two images of noise.
        assert net.batches == [2, 2]
        again = table(look, WANTED)
        assert look.copies == 108
        assert net.batches == [2, 2]
    for image, copy in ((0, 0), (1, 49)):
        expected = net.inner(photos()[image : image + 1] / (copy + 1))[0].detach()
        assert float((found[image, copy] - expected).abs().max()) < 1e-9
    assert_same(again[WANTED], found[:, :5][WANTED])


def test_a_folded_network_that_is_handed_over_is_used() -> None:
    model, net = probed(DeepNet)
    other = Probed(build(DeepNet)).train()
    with untouched(other), model.look(photos(), altered=other) as look:
        found = table(look, WANTED)
    assert net.batches == [2]
    assert sum(other.batches) == 8
    assert_same(found[0, 3], net.inner(photos()[:1] / 4)[0])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_half_precision_is_in_force_in_the_model_only(precision: str) -> None:
    model = Classifier.of(build(DeepNet, dtype=torch.float32), "stem", image_size=SIZE)
    images = photos(dtype=torch.float32)
    product = images[0, 0] @ images[1, 0].mT
    made: list[Tensor] = []

    def make(image: Tensor, copy: Tensor) -> Tensor:
        made.append(images[0, 0] @ images[1, 0].mT)
        return images[image]

    with model.look(images, Run(precision=precision, copies=2)) as look:
        for _, _, logits in look.rerun(make, WANTED):
            assert torch.equal(images[0, 0] @ images[1, 0].mT, product)
            assert logits.dtype == getattr(torch, precision)
        assert len(made) == 4
        assert all(torch.equal(one, product) for one in made)


# --- no trace ----------------------------------------------------------------------------------------------------


def everything(look: Look) -> None:
    look.activations(["inner.more"])
    look.gradients(rows(2), ["inner.stem", INPUT])
    with look.at((18, 20)) as larger:
        larger.gradients(rows(1))
    with look.beside(photos(1)) as other:
        table(other, WANTED[:1])
    table(look, WANTED)
    table(look, torch.ones(2, 60, dtype=torch.bool))


def abandoned(look: Look) -> None:
    look.unfinished = look.rerun(dimmed(look), torch.ones(2, 60, dtype=torch.bool))
    next(look.unfinished)
    torch.rand(3)


def broken(look: Look) -> None:
    look.classifier.module.fails = True
    next(look.rerun(dimmed(look), WANTED))


def handed_on(look: Look) -> None:
    everything(look)
    raise ZeroDivisionError("the model broke")


VISITS = {"everything": everything, "abandoned": abandoned, "broken": broken, "handed on": handed_on}
FAILING = ("broken", "handed on")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("visit", VISITS)
def test_the_model_is_as_it_was(visit: str, precision: str) -> None:
    net = Probed(disturbing_net(DeepNet)).train()
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    assert any(isinstance(inner, Random) for inner in net.modules())
    raises = pytest.raises((RuntimeError, ZeroDivisionError), match="the model broke")
    held = []  # somebody may still hold the visit, and what it has not finished
    opened = model.look(photos(), Run(precision=precision), at=[INPUT])
    with untouched(net), raises if visit in FAILING else nullcontext(), opened as look:
        held.append(look)
        assert not net.training
        VISITS[visit](look)
    assert held


def test_the_model_is_as_it_was_when_the_first_pass_fails() -> None:
    net = Probed(disturbing_net(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    net.fails = True
    with untouched(net), pytest.raises(RuntimeError, match="the model broke"), model.look(photos(), at=[INPUT]):
        raise AssertionError("it opened")


def test_no_images() -> None:
    model, net = probed()
    with pytest.raises(FinercamError, match="there are no images in the batch"), model.look(photos()[:0]):
        raise AssertionError("it opened")
    assert net.batches == []


# --- afterwards --------------------------------------------------------------------------------------------------

AFTERWARDS: dict[str, Callable[[Look], object]] = {
    "activations": lambda look: look.activations(),
    "gradients": lambda look: look.gradients(rows(1)),
    "gradients elsewhere": lambda look: look.gradients(rows(1), [INPUT]),
    "rerun": lambda look: look.rerun(dimmed(look), WANTED),
    "at": lambda look: look.at((18, 20)).__enter__(),
    "beside": lambda look: look.beside(photos(1)),
    "grid": lambda look: look.grid("inner.more"),
}


@pytest.mark.parametrize("kind", [DeepNet, PooledNet])
@pytest.mark.parametrize("what", AFTERWARDS)
def test_a_visit_that_is_over_answers_no_more(what: str, kind: type[Net]) -> None:
    model, net = probed(kind)
    with model.look(photos(), at=model.layers) as look:
        logits = look.logits.clone()
    runs = list(net.batches)
    with (
        untouched(net),
        pytest.raises(FinercamError, match="this look at the model is over; ask inside"),
    ):
        AFTERWARDS[what](look)
    assert net.batches == runs
    # What it has shown can still be read.
    assert torch.equal(look.logits, logits)
    assert torch.equal(look.images, photos())
    assert look.passes == 1


def test_copies_left_over_are_not_run_afterwards() -> None:
    model, net = probed()
    held: list[Iterator[object]] = []
    with model.look(photos(), Run(copies=2)) as look:
        held.append(look.rerun(dimmed(look), WANTED))
        next(held[0])
        held.append(look.rerun(dimmed(look), WANTED))
    assert net.batches == [2, 2]
    for batches in held:
        with pytest.raises(FinercamError, match="this look at the model is over"):
            next(batches)
    assert net.batches == [2, 2]
    assert look.copies == 2


def test_the_graph_is_let_go() -> None:
    import gc
    import weakref

    model, _ = probed()
    gc.collect()
    gc.disable()
    try:
        with model.look(photos(), at=[INPUT, "inner.more"]) as look:
            (gradients,) = look.gradients(rows(1), ["inner.more"])
            held = [weakref.ref(look._graph), *map(weakref.ref, look._taps.values())]
            assert len(held) == 4
        assert [ref() for ref in held] == [None] * 4
        assert not gradients.requires_grad
    finally:
        gc.enable()
