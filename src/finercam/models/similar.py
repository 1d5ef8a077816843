"""A backbone as a classifier whose classes are photos: its logits are the similarities to them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from finercam.errors import FinercamError
from finercam.models.backbone import Backbone
from finercam.models.classifier import Classifier
from finercam.models.outputs import read_logits
from finercam.models.passes import forward_pass
from finercam.models.undisturbed import undisturbed


class Similar(nn.Module):
    """Images to cosines with known embeddings, the length of an image's own embedding taken as given.

    The cosine ``u . f / |f|`` has a gradient that is at right angles to f: what every place adds to the length is taken
    from it again, and gradient times activation adds up to zero. With ``|f|`` as a constant the gradient is
    ``u / |f|``, and where f is the mean of cells, gradient times activation is each cell's share of the cosine.
    """

    def __init__(self, backbone: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        prefix = getattr(backbone, "num_prefix_tokens", None)
        if isinstance(prefix, int):
            # The search for the layer asks the outermost module.
            self.num_prefix_tokens = prefix

    def forward(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "_b C"]:
        """Return the cosines."""
        embedding = read_logits(self.backbone(images)).to(self.head.weight.dtype)
        length = embedding.detach().norm(dim=1, keepdim=True).clamp(min=torch.finfo(embedding.dtype).tiny)
        cosines: Tensor = self.head(embedding / length)
        return cosines


def embed(backbone: Backbone, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b K"]:
    """Return unit embeddings of preprocessed images.

    Raises:
        FinercamError: one is zero or not finite, so that it has no direction.
    """
    device = next((one.device for one in backbone.module.parameters()), torch.device("cpu"))
    with undisturbed(backbone.module):
        found = read_logits(forward_pass(backbone.module, images.to(device), "float32")).float()
    length = found.norm(dim=1, keepdim=True)
    if not bool((length.isfinite() & (length > 0)).all()):
        raise FinercamError(f"{backbone.spec} gives a photo an embedding that is zero or not finite; use another model")
    return found / length


def similar_to(
    backbone: Backbone,
    embeddings: Float[Tensor, "C K"],
    names: Sequence[str],
    *,
    layer: str | Sequence[str] | None = None,
) -> Classifier:
    """Return a classifier whose classes are embeddings of photos.

    Args:
        backbone: any.
        embeddings: unit rows, as ``embed`` gives them.
        names: of the photos.
        layer: as for ``Classifier``, where the layer found is not the one wanted.
    """
    head = nn.Linear(embeddings.shape[1], len(embeddings), bias=False, device=embeddings.device)
    with torch.no_grad():
        head.weight.copy_(embeddings)
    module = Similar(backbone.module, head).eval()
    # A cosine is shown as what it is, and not as a probability among the photos.
    return Classifier.from_parts(
        module,
        backbone.preprocessing,
        layer=layer,
        class_names=names,
        prompts=True,
        trained=False,
        name=backbone.spec,
    )
