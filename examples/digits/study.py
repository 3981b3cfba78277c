"""Three networks of a newcomer, and the baseline that a reviewer asks for, on scikit-learn's handwritten digits."""

import torch
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor, nn
from torch.nn import functional

import variantlab as vl


class Linear(nn.Module):
    """No hidden layer."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.scores = nn.Linear(in_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 64) grey values -> (B, 10) scores."""
        return self.scores(x)


class Perceptron(nn.Module):
    """Two hidden layers, normalised."""

    def __init__(self, in_features: int, num_classes: int, width: int = 64) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(in_features, width), nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.scores = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 64) grey values -> (B, 10) log-probabilities."""
        x = functional.relu(self.norms[0](self.first(x)))
        x = functional.relu(self.norms[1](self.second(x)))
        return functional.log_softmax(self.scores(x), dim=1)


class Convolutions(nn.Module):
    """Two convolutions over the image of 8x8."""

    def __init__(self, num_classes: int, channels: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.scores = nn.Linear(channels * 4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 64) grey values -> (B, 10) scores."""
        x = x.view(-1, 1, 8, 8)
        x = functional.max_pool2d(torch.relu(self.first(x)), 2)
        x = functional.max_pool2d(torch.relu(self.second(x)), 2)
        return self.scores(x.flatten(1))


lab = vl.Lab(vl.data.load("sklearn:digits"))
for model in (Linear, Perceptron, Convolutions):
    lab.evaluate(model, rounds=10, changes={"epochs": 10})
lab.evaluate(RandomForestClassifier, rounds=10)
contrasts = [("Perceptron", "Linear"), ("Convolutions", "Perceptron"), ("Convolutions", "RandomForestClassifier")]
print(lab.compare(contrasts=contrasts))
