"""What the app offers: loaded models, what can be asked of each, and the answer to one question. Knows no server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from finercam.contrast.contrast import Contrast
from finercam.contrast.labels import full_name
from finercam.data.original import Original
from finercam.data.photos import open_photo
from finercam.data.placement import Placer
from finercam.errors import FinercamError
from finercam.explanations.answering import taps_of
from finercam.explanations.concepts import concept_against
from finercam.explanations.explaining import Asked, explain_batch, preprocess
from finercam.explanations.explanation import Explanation
from finercam.methods.gradients import one_hot_rows
from finercam.methods.method import METHODS, Method, find_method
from finercam.models import load
from finercam.models.classifier import Classifier
from finercam.models.finding import find_model
from finercam.models.run import Run
from finercam.models.text import BARE, load_text_image, spoken
from finercam.models.text_image import TextImageModel
from finercam.report.explained import model_name
from finercam.report.view.data import LIKELIEST
from finercam.texts import shortened

#: The target where none is named, as in ``find_targets``.
PREDICTED = "predicted"
#: Methods that come first in a list: the default, and those that ``finercam methods`` recommends beside it.
RECOMMENDED = ("gradcam", "sharp", "sharpest")
#: A method that runs the model more often than this on one image is a slow one.
_QUICK = 4
#: Characters of a name or a concept that a visitor writes, how many of them, and methods at once.
_LONGEST, _MOST, _METHODS = 300, 20, 4


@dataclass(frozen=True)
class Wanted:
    """What a visitor asks: of a classifier by ``target`` and ``against``, of a model of words by the other two.

    Attributes:
        photo: the file as it was given.
        name: what the visitor calls it.
        methods: names among the offer's.
        gamma: comparison strength.
        target: a class by name or index, or ``predicted``.
        against: references in the same way; none for the look-alikes.
        concepts: words; the first is asked about, the others can be asked in the view.
        base: the word that the concept is told apart from.
    """

    photo: Path
    name: str
    methods: Sequence[str] = ("gradcam",)
    gamma: float | int = 0.6
    target: str = PREDICTED
    against: Sequence[str] = ()
    concepts: Sequence[str] = ()
    base: str = ""


@dataclass(frozen=True, eq=False)
class Offer:
    """A model that visitors may ask.

    Attributes:
        name: the model's, as visitors see it: of a folder only the last part.
        classifier: with trained classes; ``None`` where visitors bring the words.
        words: the model of images and text that waits for them.
        quick, slow: names of the methods that work for it, those that run it a few times and the others.
        layer: as for ``load``.
    """

    name: str
    classifier: Classifier | None
    words: TextImageModel | None
    quick: tuple[str, ...]
    slow: tuple[str, ...]
    layer: Sequence[str] | None = field(default=None, repr=False)

    @property
    def classes(self) -> list[str]:
        """The class names, if there are any, as they are asked for."""
        labels = None if self.classifier is None else self.classifier.labels
        return [] if labels is None else list(labels.names)

    def explain(self, wanted: Wanted, enough: Callable[[], str | None] = lambda: None) -> list[Explanation]:
        """Look at a photo once and answer, by each method; the evidence is kept, so that the view can ask again.

        Args:
            wanted: what is asked.
            enough: asked before each run of the model; why to stop, or ``None`` to go on.

        Raises:
            FinercamError: the photo cannot be read, or what was asked cannot be, or it was enough; the message says
                what to do.
        """
        methods = list(dict.fromkeys(wanted.methods))
        for name in methods:
            if name not in (*self.quick, *self.slow):
                raise FinercamError(f"the method {shortened(name)!r} is not offered for {self.name}")
        if not 1 <= len(methods) <= _METHODS:
            raise FinercamError(f"{len(methods)} methods were chosen; choose 1 to {_METHODS}")
        if max(map(len, (wanted.target, wanted.base, *wanted.against, *wanted.concepts))) > _LONGEST:
            raise FinercamError(f"a name or concept is longer than {_LONGEST} characters; use fewer words")
        if max(len(wanted.against), len(wanted.concepts)) > _MOST:
            raise FinercamError(f"more than {_MOST} names or concepts were given; give fewer")
        picture = open_photo(wanted.photo, name=wanted.name)
        classifier, asked = self._about_classes(wanted) if self.words is None else self._about_words(wanted)

        def go_on() -> None:
            if (why := enough()) is not None:
                raise _Enough(why)

        try:
            with _before_each_run(classifier, go_on):
                (found,) = explain_batch(
                    classifier,
                    preprocess(classifier, picture)[None],
                    [replace(asked, method=name) for name in methods],
                    sources=[wanted.name],
                    originals=[Original(picture, Placer(classifier.preprocessing))],
                    collect=LIKELIEST,
                )
        except _Enough as stop:
            raise FinercamError(str(stop)) from None
        return found

    def _about_classes(self, wanted: Wanted) -> tuple[Classifier, Asked]:
        assert self.classifier is not None
        target = wanted.target.strip() or PREDICTED
        named = [name.strip() for name in wanted.against if name.strip()]
        return self.classifier, Asked(Contrast(against=named or "similar", gamma=wanted.gamma), target)

    def _about_words(self, wanted: Wanted) -> tuple[Classifier, Asked]:
        assert self.words is not None
        concepts, base = [text.strip() for text in wanted.concepts if text.strip()], wanted.base.strip()
        if not concepts or not base:
            raise FinercamError(
                "a concept and a base word are needed: where is 'red epaulets', and not just any 'bird'?"
            )
        prompts = list(dict.fromkeys([*concepts, base]))
        classifier = spoken(self.words, prompts, templates=BARE, layer=self.layer, name=self.name)
        return classifier, concept_against(classifier, concepts[0], base, wanted.gamma)


def offer(
    spec: str,
    *,
    methods: Sequence[str] | None = None,
    layer: Sequence[str] | None = None,
    device: str = "auto",
    revision: str | None = None,
) -> Offer:
    """Load a model and try which methods work for it.

    Args:
        spec: as for ``finercam.load``. A model of images and text waits for visitors' words.
        methods: names or specs of those to be offered; all that work if left out.
        layer, device, revision: as for ``finercam.load``.

    Raises:
        FinercamError: there is no such model, or none of the methods works for it.
    """
    name = model_name(spec)
    classifier = words = None
    if find_model(spec, revision=revision)[0].text_image is not None:
        # What is not of that kind, such as a classifier that transformers trained, is told before it is loaded.
        with suppress(FinercamError):
            words = load_text_image(spec, device=device, revision=revision)
    if words is None:
        tried = classifier = replace(load(spec, layer=layer, device=device, revision=revision), name=name)
    else:
        tried = spoken(words, ["bird", "photo"], templates=BARE, layer=layer, name=name)
    passes = {how.spec: _passes(tried, how) for how in map(find_method, methods or METHODS)}
    order = sorted(passes, key=lambda how: RECOMMENDED.index(how) if how in RECOMMENDED else len(RECOMMENDED))
    quick = tuple(how for how in order if _is_quick(how, passes[how]))
    slow = tuple(how for how in order if how not in quick and passes[how])
    if not quick and not slow:
        raise FinercamError(f"none of the methods works for {spec}; leave out --method")
    return Offer(name, classifier, words, quick, slow, layer)


def title_of(method: str) -> str:
    """Return how a method is called where people choose it."""
    return find_method(method).full_title


def class_title(name: str) -> str:
    """Return how a class is called where people choose it."""
    return full_name(name) or name


def _is_quick(name: str, passes: int) -> bool:
    return passes > 0 and (name in RECOMMENDED or passes <= _QUICK)


class _Enough(BaseException):
    """The model is to run no more. Not an error, so that nobody on the way takes it for one."""


@contextmanager
def _before_each_run(classifier: Classifier, do: Callable[[], None]) -> Iterator[None]:
    """Have something done before each run of the model, or of a copy of it that is made meanwhile."""
    hook = classifier.module.register_forward_pre_hook(lambda *_: do())
    try:
        yield
    finally:
        hook.remove()


def _passes(classifier: Classifier, method: Method) -> int:
    """Return how often a method runs a model on an image: 0 where it does not work, at most one more than ``_QUICK``.

    What stops a method from working is a model of a kind that it is not for, and shows in its first runs.
    """
    count = 0

    def one_more() -> None:
        nonlocal count
        count += 1
        if count > _QUICK:
            raise _Enough

    try:
        with (
            _before_each_run(classifier, one_more),
            classifier.look(classifier.noise(1), Run(copies=1), at=taps_of([method], classifier)) as look,
        ):
            method.gather(look, one_hot_rows(look.logits.argmax(1, keepdim=True), classifier.classes, look.logits))
    except _Enough:
        pass
    except FinercamError:
        return 0
    return count
