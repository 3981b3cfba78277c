"""Two networks that say of which species a leaf is."""

from torch import Tensor, nn


def dense(in_features: int, width: int, num_classes: int, dropout: float) -> nn.Module:
    """One hidden layer: (B, in_features) -> (B, num_classes)."""
    return nn.Sequential(nn.Linear(in_features, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, num_classes))


class Narrow(nn.Module):
    """Eight hidden nodes. `in_features` and `num_classes` are filled in from the data; the others can be searched."""

    def __init__(self, in_features: int, num_classes: int, width: int = 8, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = dense(in_features, width, num_classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """A score for each species."""
        scores: Tensor = self.layers(x)
        return scores


class Wide(nn.Module):
    """Sixty-four hidden nodes."""

    def __init__(self, in_features: int, num_classes: int, width: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = dense(in_features, width, num_classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """A score for each species."""
        scores: Tensor = self.layers(x)
        return scores
