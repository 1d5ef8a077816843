"""A linear head fitted to features by Adam on the cross-entropy, as in the paper.

The paper (section 4.1) says: Adam, 100 epochs, learning rate 3e-4. It does not say in what batches. The authors'
training script takes shuffled batches of 128 and PyTorch's initial weights, and so does this. The script also crops
and flips each photo at random, which features computed once cannot follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from finercam.errors import FinercamError, check_between


@dataclass(frozen=True)
class Recipe:
    """How the head is fitted.

    Attributes:
        epochs: how often each feature is seen.
        learning_rate: of Adam.
        minibatch: features per step; 0 takes all of them.
        seed: of the initial weights and of the order.
        patience: stop once the accuracy has not risen for this many epochs, and take the best epoch's head. As the
            head is then chosen by the photos it is measured on, its accuracy is somewhat flattered. ``None`` takes
            the last epoch's.
    """

    epochs: int = 100
    learning_rate: float = 3e-4
    minibatch: int = 128
    seed: int = 0
    patience: int | None = None

    def __post_init__(self) -> None:
        check_between("epochs", self.epochs, 1, 1_000_000)
        if not 0 < self.learning_rate < float("inf"):
            raise FinercamError(f"the learning rate is {self.learning_rate}; it must be above 0")
        if self.minibatch < 0:
            raise FinercamError(f"minibatch is {self.minibatch}; give features per step, or 0 for all of them")
        if self.patience is not None and self.patience < 1:
            raise FinercamError(f"early stopping after {self.patience} epochs makes no sense; give at least 1")


@dataclass(frozen=True)
class Epoch:
    """One epoch: mean cross-entropy while it was trained, and accuracies after it (0 to 1)."""

    number: int
    loss: float
    train_accuracy: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted head and the epochs it took; ``chosen`` is the one whose head this is."""

    weight: Float[Tensor, "C K"]
    bias: Float[Tensor, " C"]
    epochs: tuple[Epoch, ...]
    chosen: Epoch


def fit(
    features: Float[Tensor, "n K"],
    labels: Int[Tensor, " n"],
    test_features: Float[Tensor, "m K"],
    test_labels: Int[Tensor, " m"],
    classes: int,
    recipe: Recipe | None = None,
    *,
    device: torch.device | str = "cpu",
    report: Callable[[Epoch], None] = lambda epoch: None,
) -> Fitted:
    """Fit a linear head, the same one for the same seed on the same machine.

    Args:
        features, labels: to train on.
        test_features, test_labels: to measure the accuracy on after every epoch.
        classes: C.
        recipe: how; the paper's if left out.
        device: where.
        report: called after every epoch.

    Raises:
        FinercamError: the loss is not finite.
    """
    recipe = recipe or Recipe()
    # Drawn on the CPU, whatever the device: other seeds, not other machines, shall give other heads.
    with torch.random.fork_rng([]):
        torch.manual_seed(recipe.seed)
        head = nn.Linear(features.shape[1], classes).to(device)
    order = torch.Generator().manual_seed(recipe.seed)
    features, labels, test_features, test_labels = (
        tensor.to(device) for tensor in (features, labels, test_features, test_labels)
    )
    adam = torch.optim.Adam(head.parameters(), lr=recipe.learning_rate)
    epochs: list[Epoch] = []
    best, state = -1, dict[str, Tensor]()
    for number in range(1, recipe.epochs + 1):
        loss = _one_epoch(head, adam, features, labels, recipe.minibatch or len(features), order)
        if not loss < float("inf"):
            raise FinercamError(f"the loss is {loss} in epoch {number}; give a smaller learning rate")
        accuracies = (accuracy(head, x, y) for x, y in ((features, labels), (test_features, test_labels)))
        epochs.append(Epoch(number, loss, *accuracies))
        report(epochs[-1])
        if recipe.patience is None or best < 0 or epochs[-1].accuracy > epochs[best].accuracy:
            best = number - 1
            state = {name: value.detach().clone() for name, value in head.state_dict().items()}
        elif number - 1 - best >= recipe.patience:
            break
    return Fitted(state["weight"].cpu(), state["bias"].cpu(), tuple(epochs), epochs[best])


def _one_epoch(
    head: nn.Linear,
    adam: torch.optim.Adam,
    features: Float[Tensor, "n K"],
    labels: Int[Tensor, " n"],
    minibatch: int,
    order: torch.Generator,
) -> float:
    """Take one step for each batch and return the mean loss over the photos."""
    losses = []
    for batch in torch.randperm(len(features), generator=order).split(minibatch):
        chosen = batch.to(features.device)
        with torch.enable_grad():
            loss = nn.functional.cross_entropy(head(features[chosen]), labels[chosen])
            adam.zero_grad()
            loss.backward()
        adam.step()
        losses.append(loss.detach() * len(batch))
    return float(torch.stack(losses).sum() / len(features))


def accuracy(head: nn.Module, features: Float[Tensor, "n K"], labels: Int[Tensor, " n"]) -> float:
    """Return the share of features whose highest logit is their label's."""
    with torch.no_grad():
        right = sum(
            int((head(x).argmax(1) == y).sum()) for x, y in zip(features.split(8192), labels.split(8192), strict=True)
        )
    return right / len(labels)
