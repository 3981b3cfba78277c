"""The question asked of ictonyx: `python peer.py SEEDS`; the last line says how many seconds it took."""

import sys
import time
from collections.abc import Callable
from typing import Any

import ictonyx
import torch
from ictonyx.core import PyTorchModelWrapper
from sklearn.datasets import load_digits
from torch import nn


def mlp(width: int) -> Callable[[Any], Any]:
    """What makes networks of two hidden layers."""

    def build(_config: Any) -> Any:
        network = nn.Sequential(*(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 10)))
        return PyTorchModelWrapper(
            network,
            criterion=nn.CrossEntropyLoss(),
            optimizer_class=torch.optim.Adam,
            optimizer_params={"lr": 1e-3},
        )

    build.__name__ = f"mlp_{width}"
    return build


x_ND, target_N = load_digits(return_X_y=True)
x_ND = ((x_ND - x_ND.mean()) / x_ND.std()).astype("float32")
started = time.perf_counter()
ictonyx.compare_models(
    models=[mlp(64), mlp(128)],
    data=(x_ND, target_N),
    runs=int(sys.argv[1]),
    epochs=25,
    batch_size=25,
    metric="val_accuracy",
    seed=0,
    verbose=False,
)
sys.stdout.write(f"{time.perf_counter() - started}\n")
