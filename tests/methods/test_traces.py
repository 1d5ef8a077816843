"""The one look at the model leaves no trace, whatever model it is and whoever calls, also in several threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from finercam import (
    PLAIN,
    Classifier,
    Contrast,
    FinercamError,
    Objective,
    answer,
    explain,
    gather,
    saliency,
)
from finercam.models.passes import forward_pass
from finercam.models.undisturbed import undisturbed
from support import reference
from support.evidence import ALL, KINDS, maps
from support.models import (
    NETS,
    SIZE,
    AroundNet,
    DeepNet,
    InPlaceNet,
    Net,
    PooledNet,
    Probed,
    build,
    classifier,
    photos,
)
from support.states import disturbing_net, state, untouched

# --- no trace ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("kind", NETS.values())
def test_the_model_is_untouched(kind: type[Net], method: str) -> None:
    net = disturbing_net(kind)
    assert len(set(state(net)["training"].values())) == 2
    with untouched(net):
        model = Classifier.of(net, kind.layer, image_size=SIZE)
        saliency(model, photos(), method=method)
        explain(model, photos(), keep=True)[0].again(gamma=0.1)
    with untouched(net):
        found = Classifier.of(net, image_size=SIZE)
        saliency(found, photos())


@pytest.mark.parametrize("method", KINDS)
def test_the_model_is_untouched_when_it_raises(method: str) -> None:
    net = Probed(disturbing_net(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    net.fails = True
    with untouched(net), pytest.raises(RuntimeError, match="the model broke"):
        saliency(model, photos(), method=method)
    net.fails = False
    with untouched(net), pytest.raises(FinercamError, match=r"no class is called|has no class names"):
        saliency(model, photos(), "Nobody's Bird", method=method)
    with untouched(net), pytest.raises(ZeroDivisionError):
        saliency(model, photos(), contrast=Objective(lambda y: 1 / 0), method=method)


@pytest.mark.parametrize("method", KINDS)
def test_the_model_is_untouched_when_its_layer_is_not_reached(method: str) -> None:
    class Fickle(DeepNet):
        around = False

        def forward(self, images: Tensor) -> Tensor:
            return self.tail(self.stem[:3](images) if self.around else self.stem(images))

    net = build(Fickle)
    model = Classifier.of(net, "stem", image_size=SIZE)
    net.around = True
    with untouched(net), pytest.raises(FinercamError, match="layer 'stem' is not used in the forward pass"):
        saliency(model, photos(), method=method)


def test_a_probe_that_does_not_look_would_be_caught() -> None:
    net = disturbing_net(DeepNet)
    for disturb in (
        lambda: net.eval(),
        lambda: torch.rand(1),
        lambda: net.head.register_forward_hook(lambda *_: None),
        lambda: net.requires_grad_(),
        lambda: net.zero_grad(),
        lambda: net(photos()).sum().backward(),
    ):
        with pytest.raises(AssertionError), untouched(net):
            disturb()


# --- any model, any caller ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("name", NETS)
def test_frozen_models(name: str, method: str) -> None:
    net = build(NETS[name]).requires_grad_(False)
    model = Classifier.of(net, NETS[name].layer, image_size=SIZE)
    assert torch.equal(maps(model, photos(), method), maps(classifier(name), photos(), method))


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("name", NETS)
def test_models_made_in_inference_mode(name: str, method: str) -> None:
    with torch.inference_mode():
        net = build(NETS[name])
        images = photos()
    assert next(net.parameters()).is_inference()
    model = Classifier.of(net, NETS[name].layer, image_size=SIZE)
    with untouched(net):
        assert torch.equal(maps(model, images, method), maps(classifier(name), photos(), method))
    assert Classifier.of(net, image_size=SIZE).layers == Classifier.of(build(NETS[name]), image_size=SIZE).layers


CALLERS: dict[str, Callable[[], object]] = {
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("name", NETS)
def test_the_callers_modes_make_no_difference(name: str, caller: str, method: str) -> None:
    model = classifier(name, torch.float32)
    images = photos(dtype=torch.float32)
    contrasts = [Contrast(weighting="softmax"), Objective(lambda y: y.logsumexp(1))]
    evidence, questions = gather(model, images, contrasts, method=method, collect=())
    expected = [answer(evidence, question) for question in questions]
    with CALLERS[caller]():
        modes = state(model.module)["modes"]
        evidence, questions = gather(model, images, contrasts, method=method, collect=())
        found = [answer(evidence, question) for question in questions]
        assert state(model.module)["modes"] == modes
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.question.rows, other.question.rows)
        assert torch.equal(one.maps, other.maps)
        assert not one.maps.requires_grad
    # What was kept under one mode is answered under another.
    later = answer(evidence, questions[0])
    assert torch.equal(later.saliency, expected[0].saliency)


def test_a_callers_autocast_does_not_choose_the_references() -> None:
    net = build(PooledNet, dtype=torch.float32)
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.weight[0, 0] = 1
        for row, cosine in ((1, 0.9), (2, 0.9002)):  # the same in bfloat16
            net.head.weight[row, 0], net.head.weight[row, row] = cosine, (1 - cosine**2) ** 0.5
    model = Classifier.of(net, "stem", image_size=SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        _, (question,) = gather(model, photos(), [Contrast("weights", references=2)], 0)
    assert question.references.tolist() == [[2, 1], [2, 1]]


def test_the_layer_found_does_not_depend_on_the_callers_modes() -> None:
    for caller in CALLERS.values():
        for kind in NETS.values():
            net = build(kind, dtype=torch.float32)
            with caller():
                found = Classifier.of(net, image_size=SIZE)
            assert (found.layers, found.grids) == (Classifier.of(net, image_size=SIZE).layers, found.grids)


def test_outputs_in_a_container_are_read_with_their_gradient() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = build(DeepNet)

        def forward(self, images: Tensor) -> dict[str, object]:
            return {"scores": [self.inner(images)]}

    model = Classifier.of(Wrapped(), "inner.stem", image_size=SIZE, read=lambda output: 2 * output["scores"][0][:, :4])
    look = reference.Look(model.module.inner, photos()[0])
    gradient = look.gradient(lambda y: 2 * (y[0] - 0.6 * y[1]))
    evidence, (question,) = gather(model, photos(1), [Contrast([1])], 0)
    assert question.rows.shape == (1, 1, 4)
    assert torch.allclose(evidence.gradient(question.rows)[0][0, 0], gradient, rtol=1e-12, atol=0)


def test_a_layer_that_runs_twice_is_looked_at_the_last_time() -> None:
    class Twice(DeepNet):
        def __init__(self) -> None:
            super().__init__()
            self.again = nn.Conv2d(5, 5, 3, 1, 1)

        def split(self, images: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
            return self.again(self.again(self.stem(images))), self.tail

        def forward(self, images: Tensor) -> Tensor:
            output, tail = self.split(images)
            return tail(output)

    net = build(Twice)
    look = reference.Look(net, photos()[0])
    evidence, (question,) = gather(Classifier.of(net, "again", image_size=SIZE), photos(1), [PLAIN], 3)
    assert torch.allclose(evidence.activations[0][0], look.activations)
    assert torch.allclose(evidence.gradient(question.rows)[0][0, 0], look.gradient(lambda y: y[3]))


def test_a_layer_that_returns_a_tuple_is_looked_at_in_its_first_tensor() -> None:
    class Pair(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> tuple[Tensor, str]:
            return self.inner(x), "attention"

    class Tupled(DeepNet):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair(self.stem)

        def forward(self, images: Tensor) -> Tensor:
            features, word = self.pair(images)
            assert word == "attention"
            return self.tail(features)

    model = Classifier.of(build(Tupled), "pair", image_size=SIZE)
    for method in KINDS:
        assert torch.allclose(maps(model, photos(), method), maps(classifier("deep"), photos(), method))


def test_the_target_layers_output_is_kept_as_it_was() -> None:
    net = build(InPlaceNet)
    evidence, _ = gather(Classifier.of(net, "stem", image_size=SIZE), photos(1), [PLAIN])
    kept = evidence.activations[0][0].clone()
    assert float(kept.min()) < 0  # what follows is a ReLU in place
    assert torch.allclose(kept, reference.Look(net, photos()[0]).activations)
    forward_pass(net, photos(), "float32")
    assert torch.equal(evidence.activations[0][0], kept)


def test_what_goes_around_the_layer_is_not_its_gradient() -> None:
    net = build(AroundNet)
    evidence, (question,) = gather(Classifier.of(net, "same", image_size=SIZE), photos(1), [PLAIN], 3)
    expected = reference.Look(net, photos()[0]).gradient(lambda y: y[3])
    assert torch.allclose(evidence.gradient(question.rows)[0][0, 0], expected)


# --- threads -----------------------------------------------------------------------------------------------------


@pytest.fixture
def restless() -> Iterator[None]:
    """Change threads as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(*jobs: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # handed over to the main thread
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("method", KINDS)
def test_two_threads_explain_with_one_model(method: str) -> None:
    net = build(DeepNet, dtype=torch.float32).train()  # as eval mode is set and taken back around each look
    model = Classifier.of(net, "stem", image_size=SIZE)
    images = photos(4, dtype=torch.float32)
    expected = [maps(model, images[i : i + 1], method) for i in range(4)]

    def job(mine: list[int]) -> Callable[[], None]:
        def explain_all() -> None:
            for _ in range(25):
                for i in mine:
                    assert torch.equal(maps(model, images[i : i + 1], method), expected[i])

        return explain_all

    with untouched(net):
        in_threads(job([0, 1]), job([2, 3]))


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("method", KINDS)
def test_a_bare_run_in_another_thread_sees_nothing(method: str) -> None:
    net = build(DeepNet, dtype=torch.float32)
    model = Classifier.of(net, "stem", image_size=SIZE)
    images = photos(4, dtype=torch.float32)
    expected_maps, expected = maps(model, images[:2], method), net(images[2:])
    done = threading.Event()

    def explaining() -> None:
        try:
            for _ in range(40):
                assert torch.equal(maps(model, images[:2], method), expected_maps)
        finally:
            done.set()

    def bare() -> None:
        while not done.is_set():
            output = net(images[2:])
            assert torch.equal(output, expected)
            assert output.requires_grad

    in_threads(explaining, bare)


def test_a_second_thread_waits_its_turn() -> None:
    net = build(DeepNet).train()
    order: list[str] = []
    inside = threading.Event()

    def first() -> None:
        with undisturbed(net):
            inside.set()
            threading.Event().wait(0.05)
            order.append("first done")

    def second() -> None:
        inside.wait()
        with undisturbed(net):
            order.append("second in")
            assert not net.training

    in_threads(first, second)
    assert order == ["first done", "second in"]
    assert net.training
