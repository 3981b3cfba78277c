"""Replicas of any network train together as each would alone, in the fastest way that is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.base.errors import InputError
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.initial import build_network
from pipeline.models.variant import Variant
from pipeline.training.compute import Compute
from pipeline.training.dropout import OwnDropout
from pipeline.training.plan import Job, compose_chunks
from pipeline.training.pool import Trainer
from pipeline.training.step import NetworkStep, can_compile
from pipeline.training.ways import VMAPPED_MIN, Trained, Way, fastest_way, make_networks, way_of
from tests.models.foreign import foreign
from tests.training.brought import BROUGHT, CLASSES, Brought, dropping, layer_norm, mlp
from tests.training.networks import generator, generators
from tests.training.plain import PlainDropout
from tests.training.plans import ROWS, make_chunk, make_hyper, make_replica

R, B, STEPS = VMAPPED_MIN, 4, 3
LEARNING_RATES = [0.1, 0.1, 0.05, 0.2, 0.05, 0.1]
every_network = pytest.mark.parametrize("brought", BROUGHT.values(), ids=BROUGHT)


def variant_of(brought: Brought) -> Variant:
    return foreign(brought.make, *brought.shape, integer_inputs=brought.integers)


def hypers() -> list[Hyperparameters]:
    """Descent with all that it has, since Adam enlarges rounding where gradients are about 0."""
    return [
        Hyperparameters(lr=lr, batch_size=B, epochs=1, optimiser="sgd", momentum=0.5, weight_decay=0.1)
        for lr in LEARNING_RATES
    ]


def samples(brought: Brought, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(STEPS, R, B, ...) inputs and (STEPS, R, B) classes."""
    shape = (STEPS, R, B, *brought.shape)
    x = torch.randint(11, shape, generator=generator(1))
    inputs = x if brought.integers else torch.randn(shape, dtype=dtype, generator=generator(1))
    return inputs, torch.randint(CLASSES, shape[:3], generator=generator(2))


def built(variant: Variant, dtype: torch.dtype) -> list[nn.Module]:
    return [build_network(variant, 0, "test", row, dtype=dtype) for row in range(R)]


@contextmanager
def own_draws(own: torch.Generator) -> Iterator[None]:
    """What follows from a replica's generator, besides what `nn.Dropout` drops."""
    [seed] = torch.randint(2**63 - 1, (1,), generator=own.clone_state()).tolist()
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator(seed).get_state())
        yield


def plain(network: nn.Module, hyper: Hyperparameters, own: torch.Generator, x: Tensor, target: Tensor) -> list[Tensor]:
    """Losses, evaluation and weights of an ordinary loop."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout and not child.inplace:
                setattr(module, name, PlainDropout(child.p, own))
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, hyper.lr, hyper.momentum, weight_decay=hyper.weight_decay)
    losses = []
    with own_draws(own):
        for each, wanted in zip(x, target, strict=True):
            loss = functional.cross_entropy(network.train()(each), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
    with torch.inference_mode():
        output = network.eval()(x[0])
    return [*losses, output, *network.state_dict().values()]


def together(variant: Variant, way: Way, dtype: torch.dtype, x: Tensor, target: Tensor) -> list[list[Tensor]]:
    """The same of R replicas, of which only some are there in the last step."""
    networks = make_networks(way, built(variant, dtype), variant, bfloat16=False, device="cpu")
    networks.use_generators(generators(R))
    step = NetworkStep(networks, hypers(), variant)
    step.begin_epoch(0)
    losses = [step({"x": x[index], "target": target[index]})[0] for index in range(STEPS - 1)]
    keep = torch.tensor([4, 0])
    step.select(keep)
    [last] = [step({"x": x[-1, keep], "target": target[-1, keep]})[0]]
    step.begin_evaluation()
    with torch.inference_mode():
        _, output = step.evaluate({"x": x[0, keep], "target": target[0, keep]})
    return [
        [*(loss_R[replica] for loss_R in losses), last[row], output[row], *step.state(row).values()]
        for row, replica in enumerate(keep.tolist())
    ]


@every_network
def test_replicas_train_in_the_fastest_way_that_is_right(brought: Brought) -> None:
    found = way_of(variant_of(brought), ())
    assert (found.way, brought.reason in found.reason) == (brought.way, True), found.reason


@every_network
@pytest.mark.parametrize("alone", [False, True], ids=["its way", "one by one"])
def test_replicas_that_train_together_do_what_each_does_in_an_ordinary_loop(brought: Brought, alone: bool) -> None:
    variant, way = variant_of(brought), "one by one" if alone else brought.way
    dtype = torch.float32 if brought is BROUGHT["single precision"] else torch.float64
    tolerance = 1e-5 if dtype == torch.float32 else 1e-10
    x, target = samples(brought, dtype)
    before = torch.get_rng_state()
    found = together(variant, way, dtype, x, target)
    assert torch.equal(torch.get_rng_state(), before)
    for row, replica in enumerate([4, 0]):
        network, own = built(variant, dtype)[replica], generators(R)[replica]
        expected = plain(network, hypers()[replica], own, x[:, replica], target[:, replica])
        for one, other in zip(found[row], expected, strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@every_network
def test_a_state_is_that_of_an_ordinary_network(brought: Brought) -> None:
    variant = variant_of(brought)
    networks = make_networks(brought.way, built(variant, torch.float32), variant, bfloat16=False, device="cpu")
    for row, network in enumerate(built(variant, torch.float32)):
        state, expected = networks.state(row), network.state_dict()
        assert list(state) == list(expected)
        assert all(torch.equal(state[name], expected[name]) for name in expected)
        network.load_state_dict(state)


def test_variants_of_batched_layers_are_not_tried() -> None:
    variant = foreign(layer_norm, 6)
    assert way_of(Variant(**{**vars(variant), "foreign": False}), ()).way == "stacked"
    assert not can_compile(foreign(mlp, 6), (), "cpu")


def test_a_cpu_that_has_enough_to_do_takes_vmapped_networks_one_by_one() -> None:
    variant = foreign(lambda: nn.Sequential(nn.Linear(64, 300), nn.LayerNorm(300), nn.Linear(300, CLASSES)), 64)
    ways = [fastest_way(variant, (), batch_size, device) for batch_size in (10, 1000) for device in ("cpu", "cuda")]
    assert ways == ["vmapped", "vmapped", "one by one", "vmapped"]


@pytest.mark.parametrize(("way", "sizes"), [("one by one", [1] * 7), ("vmapped", [4, 3]), ("stacked", [4, 3])])
def test_replicas_that_train_one_by_one_have_chunks_of_their_own(way: Way, sizes: Sequence[int]) -> None:
    name = {"one by one": "dropout in place", "vmapped": "layer norm", "stacked": "mlp"}[way]
    variant = variant_of(BROUGHT[name])
    replicas = tuple(make_replica(index, variant.preset, splits=ROWS["classification"]) for index in range(7))
    chunks = compose_chunks([Job(variant=variant, replicas=replicas)])
    assert [len(chunk.replicas) for chunk in chunks] == sizes
    assert {chunk.way for chunk in chunks} == {way}
    assert [chunk.composition.get("way", "stacked") for chunk in chunks] == [way] * len(sizes)
    [together] = compose_chunks([Job(variant=variant, replicas=replicas, stop=lambda _: False)])
    assert together.way == way


def test_chunks_of_registered_variants_say_nothing_of_the_way() -> None:
    assert "way" not in make_chunk("mlp", [make_replica(0, make_hyper("mlp"))]).composition


def test_half_precision_is_refused_where_layers_are_not_batched() -> None:
    variant = foreign(lambda: nn.Sequential(nn.Linear(64, 20), nn.LayerNorm(20), nn.Linear(20, 10)), 64)
    job = Job(variant=variant, replicas=(make_replica(0, variant.preset, splits=ROWS["classification"]),))
    with (
        Trainer(*ROWS["classification"], Compute(device="cpu", precision="bfloat16")) as trainer,
        pytest.raises(InputError, match="brought trains vmapped; choose --precision float32"),
    ):
        trainer.run([job])


@pytest.mark.parametrize("way", ["vmapped", "one by one"])
def test_dropout_needs_a_generator_for_each_replica(way: Way) -> None:
    variant = foreign(dropping, 6)
    networks = make_networks(way, built(variant, torch.float32), variant, bfloat16=False, device="cpu")
    with pytest.raises(RuntimeError, match="needs a generator for each replica"):
        networks(torch.zeros(R, B, 6))


def test_vmapped_replicas_cannot_share_what_they_drop() -> None:
    layer = nn.Dropout(0.5)
    layer.__class__ = OwnDropout
    assert isinstance(layer, OwnDropout)
    layer.vmapped, layer.generators = True, generators(2)
    with pytest.raises(RuntimeError, match="must differ between them"):
        torch.func.vmap(lambda x: x * layer(torch.ones(3)), randomness="error")(torch.ones(2, 3))


class Logarithm(nn.Module):
    """Of inputs that must be positive."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return functional.log_softmax(self.last(x.log()), 1)


class NoNumber(Logarithm):
    """Whatever is done to it."""

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(x) * torch.nan
        return output


def test_what_is_no_number_is_not_taken_for_equal() -> None:
    assert way_of(foreign(Logarithm, 6), ()) == Trained(
        "vmapped", "a dimension is named in its forward: outputs differ"
    )
    assert way_of(foreign(NoNumber, 6), ()) == Trained(
        "one by one", "it gives what is no number, which cannot be compared"
    )


def test_a_large_network_is_not_tried() -> None:
    found = way_of(foreign(lambda: nn.Linear(5000, 5000), 5000), ())
    assert found == Trained("one by one", "it trains more than 20,000,000 numbers")


def test_what_cannot_run_trains_one_by_one_and_says_why_there() -> None:
    found = way_of(foreign(lambda: nn.Linear(5, 2), 6), ())
    assert found.way == "one by one"
    assert found.reason.startswith("Linear: mat1 and mat2 shapes cannot be multiplied")
