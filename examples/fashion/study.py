"""Does a convolutional network tell clothes apart better with maximum pooling, with dropout, or with both?

Reads the four IDX files of Fashion-MNIST in the folder that is given, or in `fashion/` here.
"""

import sys

from torch import Tensor, nn

import variantlab as vl


@vl.factors(pooling=["average", "max"], dropout=[False, True])
class Net(nn.Module):
    """Two convolutions and one hidden layer."""

    def __init__(
        self, in_channels: int, num_classes: int, pooling: str = "average", dropout: bool = False, channels: int = 8
    ) -> None:
        super().__init__()
        pool = nn.MaxPool2d(2) if pooling == "max" else nn.AvgPool2d(2)
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, channels, 5), nn.ReLU(), pool,
            nn.Conv2d(channels, 2 * channels, 3), nn.ReLU(), pool,
            nn.Flatten(),
            nn.Linear(2 * channels * 25, 64), nn.ReLU(), nn.Dropout(0.3 if dropout else 0.0),
            nn.Linear(64, num_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, 28, 28) grey values -> (B, 10) scores."""
        return self.layers(x)


folder = sys.argv[1] if len(sys.argv) > 1 else "fashion"
lab = vl.Lab(vl.data.load("idx", data_dir=folder), task="classification", train_size=400)
for variant in vl.definitions_of(Net):
    lab.evaluate(variant, rounds=8, changes={"epochs": 6, "batch_size": 20, "lr": 0.003})
print(lab.compare())
