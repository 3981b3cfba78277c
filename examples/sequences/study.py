"""Sequences of sixteen symbols: does each bracket that opens also close? An attention network against a GRU."""

import numpy as np
import torch
from torch import Tensor, nn

import variantlab as vl

LENGTH, OPEN, CLOSE = 16, 0, 1


def balanced(rng: np.random.Generator) -> np.ndarray:
    """A sequence that is, drawn step by step."""
    depth, symbols = 0, []
    for left in range(LENGTH, 0, -1):
        opens = depth == 0 or (depth < left and rng.random() < 0.5)
        symbols.append(OPEN if opens else CLOSE)
        depth += 1 if opens else -1
    return np.array(symbols)


def sequences(count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """(N, 16) symbols, and whether they are balanced; in half of them two symbols of different kinds change places."""
    rng = np.random.default_rng(0)
    x = np.stack([balanced(rng) for _ in range(count)])
    y = np.ones(count, dtype=bool)
    for row in range(0, count, 2):
        x[row, rng.choice(np.flatnonzero(x[row] == OPEN))], x[row, rng.choice(np.flatnonzero(x[row] == CLOSE))] = 1, 0
        depth = np.cumsum(np.where(x[row] == OPEN, 1, -1))
        y[row] = depth.min() >= 0
    return x, y


class Attention(nn.Module):
    """Two heads that look at all symbols and their places."""

    def __init__(self, num_embeddings: int, input_shape: tuple[int, ...], num_classes: int, width: int = 16) -> None:
        super().__init__()
        self.symbols = nn.Embedding(num_embeddings, width)
        self.places = nn.Parameter(torch.randn(input_shape[0], width) / width**0.5)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.scores = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T) symbols -> (B, 2) scores."""
        x = self.symbols(x) + self.places
        seen, _ = self.attention(x, x, x, need_weights=False)
        return self.scores(torch.relu(x + seen).mean(1))


class Recurrent(nn.Module):
    """A GRU that reads them one after the other."""

    def __init__(self, num_embeddings: int, num_classes: int, width: int = 16) -> None:
        super().__init__()
        self.symbols = nn.Embedding(num_embeddings, width)
        self.reader = nn.GRU(width, width, batch_first=True)
        self.scores = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T) symbols -> (B, 2) scores."""
        _, last = self.reader(self.symbols(x))
        return self.scores(last[0])


lab = vl.Lab(vl.data.arrays(*sequences(), name="brackets"))
for model in (Attention, Recurrent):
    lab.evaluate(model, rounds=8, changes={"epochs": 12, "lr": 0.01, "batch_size": 50})
print(lab.compare(contrasts=[("Recurrent", "Attention")]))
