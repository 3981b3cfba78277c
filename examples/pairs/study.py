"""Pairs of clothes: does the first stand before the second in the list of classes? Are shared weights worth anything?

Reads the four IDX files of Fashion-MNIST in the folder that is given, or in `fashion/` here.
"""

import sys

import torch
from torch import Tensor, nn

import variantlab as vl


@vl.factors(ws=[False, True])
class Siamese(nn.Module):
    """One hidden layer for each image, the same for both with weight sharing, and one on what they give."""

    def __init__(self, input_shape: tuple[int, ...], ws: bool = False, width: int = 64) -> None:
        super().__init__()
        pixels = input_shape[1] * input_shape[2]
        self.trunks = nn.ModuleList(
            nn.Sequential(nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, 16)) for _ in range(1 if ws else 2)
        )
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2, H, W) two images -> (B, 2) scores of "greater" and "lesser or equal"."""
        first, second = (trunk(x[:, place].flatten(1)) for place, trunk in enumerate([self.trunks[0], self.trunks[-1]]))
        return self.head(torch.cat([first, second], 1))


folder = sys.argv[1] if len(sys.argv) > 1 else "fashion"
lab = vl.Lab(vl.data.load("idx", data_dir=folder), task="pairs", train_size=300)
for variant in vl.definitions_of(Siamese):
    lab.evaluate(variant, rounds=10, changes={"epochs": 15})
print(lab.compare())
