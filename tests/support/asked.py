"""Classes, logits and rows that tests of contrasts share."""

from __future__ import annotations

import torch
from torch import Tensor

from finercam import Contrast, Objective
from finercam.contrast.labels import Labels

BIRDS = Labels(["Blue Grosbeak", "Grandala", "Indigo Bunting", "Lazuli Bunting", "House Finch", "Purple Finch"])
LOGITS = torch.tensor([[9.0, 7.0, 8.0, 1.0, 3.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])


def row(contrast: Contrast | Objective, logits: Tensor, target: object = None, **options: object) -> Tensor:
    """Return the one row of coefficients of a question for each image."""
    question = contrast.ask(logits, target, **options)
    assert question.rows.shape[1] == 1
    return question.rows[:, 0]
