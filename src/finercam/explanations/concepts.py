"""Where a concept is in a photo: a prompt against a base prompt (arXiv 2501.11309, Sections 3.3 and C.2).

The classifier is one made of words (``finercam.models.text``), so a concept is an explanation whose classes are
prompts. Its logit for "red epaulets" alone also grows with all that makes the photo one of a bird;
``y_concept - gamma * y_base`` with the base "bird" takes that out.

>>> from finercam import open_photo
>>> from finercam.explanations.explaining import explain_batch
>>> from finercam.models.text import BARE, text
>>> classifier = text("open_clip/ViT-B-16/openai", ["red wings", "bird"], templates=BARE)
>>> images = classifier.preprocessing(open_photo("bird.jpg"))[None]
>>> ((found,),) = explain_batch(
...     classifier, images, [concept_against(classifier, "red wings", "bird")], sources=["bird.jpg"]
... )
>>> print(found)
red wings, against bird, gamma 0.6
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from finercam.contrast.contrast import Contrast, exactly
from finercam.contrast.labels import find_class
from finercam.contrast.objective import Objective
from finercam.errors import FinercamError
from finercam.explanations.explaining import Asked
from finercam.explanations.explanation import Explanation
from finercam.methods.method import Method
from finercam.metrics.masking import ranking, top_count
from finercam.models.classifier import Classifier

#: How much of a photo is hidden: the larger of the two shares of pixels that the paper masks (Section 4.2).
FRACTION = 0.1


def concept_against(
    classifier: Classifier, concept: str, base: str, gamma: float | int = 0.6, method: str | Method = "gradcam"
) -> Asked:
    """Return the question where a concept is that is not the base.

    Args:
        classifier: made by ``finercam.models.text`` with the concept and the base among its names.
        concept, base: names among the classifier's. Both may be the same to the model: with gamma 1 nothing is left.
        gamma: comparison strength; 0 is the concept alone.
        method: what answers it.

    Raises:
        FinercamError: a name the classifier does not have, a strength that is not a finite number, or a classifier
            that is not made of words.
    """
    c, b = (find_class(name, classifier.classes, classifier.labels) for name in (concept, base))
    contrast = Contrast(against=[b], gamma=gamma)
    if classifier.rows is None or not classifier.prompts:
        raise FinercamError(
            f"concepts need a classifier made of words, finercam.models.text(..., templates=BARE); {classifier.name} "
            "has trained classes"
        )
    if bool((classifier.rows[c] == classifier.rows[b]).all()):
        # A class is never its own reference, but what is the same to the model may be asked for.
        left = 1 - contrast.strength
        name = f"{concept}, against {base}, gamma {exactly(contrast.strength)}"
        return Asked(Objective(lambda logits: left * logits[:, c], name), c, method)
    return Asked(contrast, c, method)


@dataclass(frozen=True, eq=False)
class Hidden:
    """A photo with what a map points at masked out, and what the model makes of it.

    Attributes:
        image: as preprocessed; hidden pixels have the mean colour, 0 after normalisation.
        mask: the pixels hidden.
        logits: of what is left.
    """

    image: Float[Tensor, "c H W"]
    mask: Bool[Tensor, "H W"]
    logits: Float[Tensor, " C"]


def hide(explanation: Explanation, saliency: Float[Tensor, "H W"], fraction: float = FRACTION) -> Hidden:
    """Mask out what a map points at: the most salient pixels get the mean colour, and the model looks at what is left.

    Args:
        explanation: whose photo it is, with its classifier.
        saliency: whose pixels are hidden: the contrast's (``explanation.saliency``) or the target's alone
            (``explanation.plain``).
        fraction: of the photo's pixels to hide, at most; ties go by pixel order. A pixel whose saliency is zero is
            not hidden, so an empty map hides nothing.

    Raises:
        FinercamError: the explanation was loaded without its model.
    """
    classifier = explanation.classifier
    if classifier is None:
        raise FinercamError("this explanation was loaded without its model; load it with classifier=")
    count = top_count(fraction, saliency.numel())
    mask = (ranking(saliency[None])[0] < count) & (saliency > 0)
    image = torch.where(mask.to(explanation.image.device), 0.0, explanation.image)
    with classifier.look(image[None], explanation.run) as look:
        return Hidden(image, mask, look.logits[0])
