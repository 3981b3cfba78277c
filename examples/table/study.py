"""Does a network predict the progress of diabetes better than ridge regression? And which of two networks does?"""

from sklearn.linear_model import Ridge
from torch import Tensor, nn

import variantlab as vl


@vl.factors(family="network", width="8")
class Narrow(nn.Module):
    """Eight hidden nodes."""

    def __init__(self, in_features: int, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 10) features -> (B, 1) value, standardised."""
        return self.layers(x)


@vl.factors(family="network", width="64")
class Wide(Narrow):
    """Sixty-four hidden nodes."""

    def __init__(self, in_features: int, width: int = 64) -> None:
        super().__init__(in_features, width)


lab = vl.Lab(vl.data.load("sklearn:diabetes"))
lab.search(Narrow, space={"lr": vl.Float(1e-4, 1e-1, log=True), "epochs": vl.Int(5, 40, step=5)}, n_trials=12)
lab.search(Wide, space={"lr": vl.Float(1e-4, 1e-1, log=True), "epochs": vl.Int(5, 40, step=5)}, n_trials=12)
lab.search(Ridge, space={"model__alpha": vl.Float(1e-3, 1e2, log=True)}, n_trials=12)
for model in (Narrow, Wide, Ridge):
    lab.evaluate(model, resampling="bootstrap")
print(lab.compare(contrasts=[("Wide", "Narrow"), ("Narrow", "Ridge")]))
