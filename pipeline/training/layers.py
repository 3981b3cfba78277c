"""The batched layers: R replicas of one layer that run as one.

Layout. Vectors are (R, B, D). Images enter as (R, B, 2, H, W); feature maps are (B, R*C, H, W) in channels_last, so
that pooling, activations and batch normalisation of torch already treat every replica apart. Parameters and buffers
gain a leading replica axis; row r belongs to replica r.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

NARROW = 16
"""Up to so many outputs a weight is stored as torch stores it: products with few columns are 2-4 times slower."""


def repeat(tensor: Tensor, replicas: int) -> Tensor:
    """R copies of a tensor along a new first dimension."""
    return tensor.detach().expand(replicas, *tensor.shape).clone(memory_format=torch.contiguous_format)


class GradientSlot:
    """Where a layer writes its gradient, so that it need not be allocated, added and copied."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias
        self.filled = False
        """Whether this step has written it; a layer that is used twice adds to it the second time."""


class BatchedLinear(nn.Module):
    """`nn.Linear` for R replicas: weight (R, in, out), or (R, out, in) up to `NARROW` outputs; bias (R, out)."""

    def __init__(self, layer: nn.Linear, replicas: int) -> None:
        super().__init__()
        self.narrow = layer.out_features <= NARROW
        self.weight = nn.Parameter(repeat(layer.weight if self.narrow else layer.weight.T, replicas))
        self.bias = None if layer.bias is None else nn.Parameter(repeat(layer.bias, replicas))
        self.slot: GradientSlot | None = None

    def as_layer(self, row: Tensor) -> Tensor:
        """One replica's weight as `nn.Linear` has it."""
        return row if self.narrow else row.T

    def forward(self, x_RBD: Tensor) -> Tensor:
        """(R, B, in) -> (R, B, out)."""
        weight = self.weight.transpose(1, 2) if self.narrow else self.weight
        if self.bias is None:
            return torch.bmm(x_RBD, weight)
        return torch.baddbmm(self.bias.unsqueeze(1), x_RBD, weight)

    def pull_parameters(self, gradient: Tensor, x_RBD: Tensor) -> None:
        """Write the gradients of weight and bias, from that of the output, where the slot says."""
        slot = self.slot
        assert slot is not None
        factors = (gradient, x_RBD) if self.narrow else (x_RBD, gradient)
        product = (factors[0].transpose(1, 2), factors[1])
        if slot.filled:
            slot.weight.baddbmm_(*product)
            if slot.bias is not None:
                slot.bias.add_(gradient.sum(1))
        else:
            torch.bmm(*product, out=slot.weight)
            if slot.bias is not None:
                torch.sum(gradient, 1, out=slot.bias)
        slot.filled = True

    def pull_input(self, gradient: Tensor) -> Tensor:
        """Gradient of the input from that of the output."""
        return torch.bmm(gradient, self.weight if self.narrow else self.weight.transpose(1, 2))


@dataclass(frozen=True)
class Activation:
    """A function whose derivative follows from its value."""

    apply_: Callable[[Tensor], Tensor]
    """In place."""
    derivative: Any
    """torch's own operator: (gradient of the output, output, *settings) -> gradient of the input."""
    settings: tuple[float, ...] = ()

    def pull(self, gradient: Tensor, output: Tensor) -> Tensor:
        """Gradient of the input from that of the output."""
        pulled: Tensor = self.derivative(gradient, output, *self.settings)
        return pulled

    def pull_(self, gradient: Tensor, output: Tensor) -> Tensor:
        """The same, written over the gradient of the output."""
        pulled: Tensor = self.derivative.grad_input(gradient, output, *self.settings, grad_input=gradient)
        return pulled


ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation(torch.relu_, torch.ops.aten.threshold_backward, settings=(0,)),
    nn.Tanh: Activation(torch.tanh_, torch.ops.aten.tanh_backward),
    nn.Sigmoid: Activation(torch.sigmoid_, torch.ops.aten.sigmoid_backward),
}


@dataclass(frozen=True)
class Dense:
    """A linear layer and what follows it."""

    linear: BatchedLinear
    activation: Activation | None


class _DenseRun(torch.autograd.Function):
    """Dense layers, one after the other, as one node of autograd; their gradients go to their slots.

    For nets of this size autograd's own work costs as much as the arithmetic.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, run: Sequence[Dense], _weight: nn.Parameter) -> Tensor:
        values = [x]
        for dense in run:
            x = dense.linear.forward(x)
            if dense.activation is not None:  # only the activated value is needed again
                dense.activation.apply_(x)
            values.append(x)
        ctx.run = run
        # A last value that is not activated is not needed again, and others may write over it.
        ctx.save_for_backward(*values[: len(run) + (run[-1].activation is not None)])
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None]:
        values, run = ctx.saved_tensors, ctx.run
        for index in range(len(run) - 1, -1, -1):
            dense = run[index]
            if dense.activation is not None:  # the first gradient is not ours to write over
                pull = dense.activation.pull if index == len(run) - 1 else dense.activation.pull_
                gradient = pull(gradient, values[index + 1])
            dense.linear.pull_parameters(gradient, values[index])
            if index or ctx.needs_input_grad[0]:
                gradient = dense.linear.pull_input(gradient)
        return gradient if ctx.needs_input_grad[0] else None, None, None


class BatchedSequential(nn.Sequential):
    """`nn.Sequential`; while learning, runs of dense layers go through autograd as one."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__(OrderedDict(layers))
        self._parts: Sequence[nn.Module | list[Dense]] = list(layers.values())

    def gather_runs(self) -> None:
        """Form the runs; to be called once the linear layers have slots."""
        self._parts = _parts(list(self))

    def forward(self, x: Any) -> Any:
        """As the ordinary one, on stacked layouts."""
        in_runs = torch.is_grad_enabled() and not torch.compiler.is_compiling()
        for part in self._parts if in_runs else self:
            x = part(x) if isinstance(part, nn.Module) else _DenseRun.apply(x, part, part[0].linear.weight)
        return x


def _parts(layers: Sequence[nn.Module]) -> list[nn.Module | list[Dense]]:
    """The layers, with the dense ones gathered in runs."""
    parts: list[nn.Module | list[Dense]] = []
    before: nn.Module | None = None
    for layer in layers:
        run = parts[-1] if parts and isinstance(parts[-1], list) else None
        if isinstance(layer, BatchedLinear):
            if run is None:
                parts.append(run := [])
            run.append(Dense(layer, None))
        elif run is not None and isinstance(before, BatchedLinear) and type(layer) in ACTIVATIONS:
            run[-1] = Dense(before, ACTIVATIONS[type(layer)])
        else:
            parts.append(layer)
        before = layer
    return parts


class BatchedConv2d(nn.Module):
    """`nn.Conv2d` for R replicas: one grouped convolution, weight (R, out, in / groups, h, w), bias (R, out)."""

    def __init__(self, layer: nn.Conv2d, replicas: int) -> None:
        super().__init__()
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise TypeError(f"Conv2d can be stacked with numeric zero padding only, but got {layer}")
        self.groups = layer.groups
        self.settings = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        self.weight = nn.Parameter(repeat(layer.weight, replicas))
        self.bias = None if layer.bias is None else nn.Parameter(repeat(layer.bias, replicas))

    def forward(self, x: Tensor) -> Tensor:
        """(B, R*in, H, W) -> (B, R*out, H', W')."""
        bias = None if self.bias is None else self.bias.flatten()
        x = x.contiguous(memory_format=torch.channels_last)
        return functional.conv2d(
            x, self.weight.flatten(0, 1), bias, groups=len(self.weight) * self.groups, **self.settings
        )


class BatchedBatchNorm(nn.Module):
    """`nn.BatchNorm1d` of vectors and `nn.BatchNorm2d` for R replicas: weight, bias and running buffers (R, C)."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    num_batches_tracked: Tensor

    def __init__(self, layer: nn.BatchNorm1d | nn.BatchNorm2d, replicas: int) -> None:
        super().__init__()
        if layer.momentum is None:
            raise TypeError(f"{type(layer).__name__} can be stacked with a numeric momentum only, but got {layer}")
        self.eps, self.momentum = layer.eps, layer.momentum
        self.maps = isinstance(layer, nn.BatchNorm2d)
        for name in ("weight", "bias"):
            parameter = getattr(layer, name)
            self.register_parameter(name, None if parameter is None else nn.Parameter(repeat(parameter, replicas)))
        for name, buffer in layer.named_buffers():
            self.register_buffer(name, repeat(buffer, replicas))

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (B, R*C, H, W) or vectors (R, B, C), each replica's channels by their own statistics."""
        if not self.maps:
            replicas = len(x)
            x = x.transpose(0, 1).flatten(1)
        mean, var = self._buffers.get("running_mean"), self._buffers.get("running_var")
        if self.training and mean is not None:
            self.num_batches_tracked.add_(1)
        dtype = torch.float32 if x.dtype is torch.bfloat16 else x.dtype  # statistics are kept in float32
        weight, bias = (
            None if parameter is None else parameter.flatten().to(dtype) for parameter in (self.weight, self.bias)
        )
        y = functional.batch_norm(
            x,
            None if mean is None else mean.flatten(),
            None if var is None else var.flatten(),
            weight,
            bias,
            training=self.training or mean is None,
            momentum=self.momentum,
            eps=self.eps,
        )
        return y if self.maps else y.unflatten(1, (replicas, -1)).transpose(0, 1)


class BatchedDropout(nn.Module):
    """`nn.Dropout` for R replicas, each with its own generator: what it drops does not depend on its neighbours.

    An element is dropped when 16 random bits are below p * 65536; torch's own way takes 4 times as long on a CPU.
    """

    def __init__(self, layer: nn.Dropout, replicas: int) -> None:
        super().__init__()
        self.p, self.replicas = layer.p, replicas
        self.generators: Sequence[torch.Generator] = ()

    def forward(self, x: Tensor) -> Tensor:
        """Vectors (R, B, D) or feature maps (B, R*C, H, W). Raises RuntimeError before `generators` are set."""
        if not self.training or self.p == 0:
            return x
        if len(self.generators) != self.replicas:
            raise RuntimeError("stacked dropout needs a generator for each replica; set its `generators` first")
        if x.dim() == 3:
            keep = torch.stack([keep_mask(x.shape[1:], self.p, generator) for generator in self.generators])
        else:
            batch, channels, *size = x.shape
            shape = (batch, channels // self.replicas, *size)
            keep = torch.cat([keep_mask(shape, self.p, generator) for generator in self.generators], 1)
        return x * keep.to(x.device, x.dtype).div_(1 - self.p) if self.p < 1 else x * 0


def keep_mask(shape: Sequence[int], p: float, generator: torch.Generator) -> Tensor:
    """Which elements of one replica's tensor stay, drawn on the CPU whatever the device: bool of this shape."""
    count = torch.Size(shape).numel()
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    dropped = min(round(p * 65536), 65535)  # of the 65536 values, which begin at -32768
    return (words.view(torch.int16)[:count] >= dropped - 32768).view(*shape)


class BatchedFlatten(nn.Module):
    """`nn.Flatten`: feature maps (B, R*C, H, W) -> vectors (R, B, C*H*W)."""

    def __init__(self, layer: nn.Flatten, replicas: int) -> None:
        super().__init__()
        if (layer.start_dim, layer.end_dim) != (1, -1):
            raise TypeError(f"Flatten can be stacked with its default dimensions only, but got {layer}")
        self.replicas = replicas

    def forward(self, x: Tensor) -> Tensor:
        """A view where the maps have one channel, a copy otherwise; vectors stay as they are."""
        if x.dim() == 3:
            return x
        maps_BRCHW: Tensor = x.unflatten(1, (self.replicas, -1))
        return maps_BRCHW.transpose(0, 1).flatten(2)
