"""What the tests of classifiers share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """The same random weights every time, in any order."""
    torch.manual_seed(0)
