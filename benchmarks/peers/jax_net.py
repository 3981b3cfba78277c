"""JAX: `scan` over the steps of an epoch inside, `vmap` over replicas, `jit` with donated buffers; the MLPs alone.

R   replica (the axis of vmap: functions here are written for one replica)
N   training pairs          B   pairs of a batch
P   trunks: 1 that reads both digits, or 2 that read one each
D   features                K   classes
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from torch import nn

from benchmarks.work import LEARNING_RATE, Curves, Samples, Task, Training

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
Array = Any
"""A JAX array."""
Weights = Any
"""A tree of arrays."""


class State(NamedTuple):
    """Of one replica."""

    weights: Weights
    moment_1: Weights
    moment_2: Weights
    steps: Array
    key: Array


class Data(NamedTuple):
    """The pairs of one replica."""

    x: Array
    """(N, 2, D)"""
    target: Array
    digits: Array


def build(task: Task, replicas: range) -> Training:
    """The training of several replicas at once."""
    initial = _stack([_weights(task.network(replica)) for replica in replicas])
    train, held_out = (
        _stack([_data(part) for part in parts]) for parts in zip(*map(task.samples, replicas), strict=True)
    )
    epoch = jax.jit(
        jax.vmap(partial(_epoch, batch_size=task.batch_size, auxiliary=task.auxiliary)),
        donate_argnums=0,
    )
    lr_R, alpha_R = jnp.full(len(replicas), LEARNING_RATE), jnp.full(len(replicas), task.alpha)

    def run(epochs: int) -> Curves:
        weights, moment_1, moment_2 = (
            jax.tree.map(fill, initial) for fill in (jnp.copy, jnp.zeros_like, jnp.zeros_like)
        )
        keys = jax.random.split(jax.random.key(0), len(replicas))
        state = State(weights, moment_1, moment_2, jnp.zeros(len(replicas)), keys)
        curves = []
        for _ in range(epochs):
            state, *means = epoch(state, lr_R, alpha_R, train, held_out)
            curves.append(means)
        loss_E, error_E = (np.mean(part, 1).tolist() for part in zip(*curves, strict=True))
        return Curves(loss_E=loss_E, held_out_error_E=error_E)

    return run


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *trees)


def _weights(network: nn.Module) -> Weights:
    """Trunk layers with weights (P, in, out) and biases (P, 1, out), head layers with (in, out) and (out,)."""
    trunks, head = (
        [layer for layer in part.modules() if isinstance(layer, nn.Linear)]
        for part in (network.get_submodule("trunks"), network.get_submodule("head"))
    )
    depth = 3
    places = [trunks[layer::depth] for layer in range(depth)]
    return {
        "trunk": [
            (np.stack([_matrix(x) for x in place]), np.stack([_bias(x)[None] for x in place])) for place in places
        ],
        "head": [(_matrix(layer), _bias(layer)) for layer in head],
    }


def _matrix(layer: nn.Linear) -> NDArray[np.float32]:
    return np.asarray(layer.weight.detach().T.numpy())


def _bias(layer: nn.Linear) -> NDArray[np.float32]:
    return np.asarray(layer.bias.detach().numpy())


def _data(part: Samples) -> Data:
    return Data(part.x.flatten(2).numpy(), part.target.numpy(), part.digits.numpy())


def _forward(weights: Weights, x_BCD: Array) -> tuple[Array, Array]:
    """Comparison (B, K) and digit scores (B, 2, K)."""
    batch, shared = len(x_BCD), len(weights["trunk"][0][0]) == 1
    hidden_PBD = x_BCD.reshape(1, 2 * batch, -1) if shared else x_BCD.swapaxes(0, 1)
    *inner, (weight, bias) = weights["trunk"]
    for matrix, offset in inner:
        hidden_PBD = jax.nn.relu(hidden_PBD @ matrix + offset)
    scores = hidden_PBD @ weight + bias
    scores = scores.reshape(batch, 2, -1) if shared else scores.swapaxes(0, 1)
    hidden = scores.reshape(batch, -1)
    for matrix, offset in weights["head"]:
        hidden = jax.nn.relu(hidden) @ matrix + offset
    return hidden, scores


def _cross_entropy(logits: Array, target: Array) -> Array:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), target[..., None], -1).mean()


def _loss(weights: Weights, batch: Data, alpha: Array, auxiliary: bool) -> Array:
    comparison, scores = _forward(weights, batch.x)
    loss = _cross_entropy(comparison, batch.target)
    # The mean over both digits is half the sum of each digit's mean.
    return loss + alpha * 2 * _cross_entropy(scores, batch.digits) if auxiliary else loss


def _step(state: State, batch: Data, lr: Array, alpha: Array, auxiliary: bool) -> tuple[State, Array]:
    """One step of Adam; the batch's loss, summed over its pairs."""
    loss, gradient = jax.value_and_grad(_loss)(state.weights, batch, alpha, auxiliary)
    steps = state.steps + 1
    rate, scale = lr / (1 - BETA_1**steps), 1 / (1 - BETA_2**steps)
    moment_1 = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, state.moment_1, gradient)
    moment_2 = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, state.moment_2, gradient)
    weights = jax.tree.map(
        lambda w, m, v: w - rate * m / (jnp.sqrt(v * scale) + EPSILON), state.weights, moment_1, moment_2
    )
    return State(weights, moment_1, moment_2, steps, state.key), loss * len(batch.target)


def _epoch(
    state: State, lr: Array, alpha: Array, train: Data, held_out: Data, *, batch_size: int, auxiliary: bool
) -> tuple[State, Array, Array]:
    """All pairs once in a fresh order, then the held-out pairs: the running loss, and the held-out error."""
    key, draw = jax.random.split(state.key)
    pairs = len(train.target)
    shuffled = jax.tree.map(lambda leaf: leaf[jax.random.permutation(draw, pairs)], train)
    step = partial(_step, lr=lr, alpha=alpha, auxiliary=auxiliary)
    whole = pairs // batch_size * batch_size
    batches = jax.tree.map(lambda leaf: leaf[:whole].reshape(-1, batch_size, *leaf.shape[1:]), shuffled)
    state, losses = jax.lax.scan(step, state._replace(key=key), batches)
    total = losses.sum()
    if whole < pairs:
        state, loss = step(state, jax.tree.map(lambda leaf: leaf[whole:], shuffled))
        total += loss
    comparison, _ = _forward(state.weights, held_out.x)
    return state, total / pairs, (comparison.argmax(1) != held_out.target).mean()
