"""The question asked of variantlab: `python ours.py CACHE_DIR`."""

import os
import sys

from torch import nn

import variantlab as vl

os.environ["VARIANTLAB_CACHE"] = sys.argv[1]


@vl.factors(width=[64, 128])
def mlp(in_features: int, num_classes: int, width: int = 64) -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(
        *(nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, num_classes))
    )


lab = vl.Lab(vl.data.load("sklearn:digits"))
for model in vl.definitions_of(mlp):
    lab.evaluate(model)
sys.stdout.write(f"{lab.compare().headline}\n")
