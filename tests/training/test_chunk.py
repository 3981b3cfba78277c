"""What a chunk returns, and that no way of leaving it disturbs the replicas that stay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.models.hyperparameters import OPTIMISERS
from pipeline.tasks.digit_pairs.dataset import DigitSet
from pipeline.tasks.registry import get_variant
from pipeline.training.chunk import ReplicaSamples
from pipeline.training.plan import Outcome, Replica, StopGroup
from tests.synthetic import make_digits
from tests.training.conftest import Splits
from tests.training.plain import scale_of
from tests.training.plans import POINTS, has_alpha, make_chunk, make_hyper, make_hypers, make_replica

HYPER = make_hyper("mlp_ws")


def test_more_held_out_samples_than_are_evaluated_at_once(train_digits: DigitSet) -> None:
    splits = Splits(train_digits, train_digits)
    replicas = [
        replace(make_replica(index, HYPER), held_out=make_replica(index, HYPER, samples=190).train)
        for index in range(2)
    ]
    chunk = make_chunk("mlp_ws", replicas, keep_models=True)
    splits.assert_equal_to_plain(chunk, splits.run(chunk))


@pytest.mark.parametrize("variant", ["mlp_ws_al", "convnet_ws_al"])
def test_the_loss_falls_and_the_pattern_is_learnt(splits: Splits, variant: str) -> None:
    hyper = make_hyper(variant, lr=2e-3, epochs=15, alpha=1.0)
    [outcome] = splits.run(make_chunk(variant, [make_replica(0, hyper, samples=190)]))
    assert outcome.curves["train_loss"][-1] < outcome.curves["train_loss"][0] / 2
    assert outcome.held_out("error") < 0.2


def test_each_replica_reads_inputs_of_its_own(splits: Splits) -> None:
    hypers = [replace(HYPER, inputs=inputs) for inputs in get_variant("mlp_ws").transforms.scalings]
    chunk = make_chunk("mlp_ws", [make_replica(index, hyper) for index, hyper in enumerate(hypers)], keep_models=True)
    outcomes = splits.run(chunk)
    splits.assert_equal_to_plain(chunk, outcomes)
    assert list(map(scale_of, outcomes[1:])) == [(0.0, 255.0), (0.0, 1.0)]


def test_what_inputs_are_scaled_by_broadcasts_with_one_sample(splits: Splits) -> None:
    [outcome] = splits.run(make_chunk("mlp_ws", [make_replica(0, HYPER)]))
    assert outcome.mean is not None
    assert outcome.std is not None
    assert outcome.mean.shape == outcome.std.shape == (1, 1, 1)


def test_without_keep_models_no_weights_are_returned(splits: Splits) -> None:
    [outcome] = splits.run(make_chunk("mlp_ws", [make_replica(0, HYPER)]))
    assert outcome.weights is None
    assert outcome.predictions == {}


def test_returned_weights_load_into_an_ordinary_network(splits: Splits) -> None:
    replicas = [make_replica(index, hyper) for index, hyper in enumerate(make_hypers("convnet", 2))]
    for outcome in splits.run(make_chunk("convnet", replicas, keep_models=True)):
        assert outcome.weights is not None
        network = get_variant("convnet").build()
        network.load_state_dict({name: torch.from_numpy(weight) for name, weight in outcome.weights.items()})


def test_the_train_error_is_read_at_the_epochs_asked_for_and_at_the_last(splits: Splits) -> None:
    replicas = [
        make_replica(0, replace(HYPER, epochs=4), read_at=(1, 3)),
        make_replica(1, replace(HYPER, epochs=3), read_at=(2,)),
    ]
    chunk = make_chunk("mlp_ws", replicas)
    outcomes = splits.run(chunk)
    assert [sorted(outcome.train_at) for outcome in outcomes] == [[1, 3, 4], [2, 3]]
    splits.assert_equal_to_plain(chunk, outcomes)


def test_a_long_training_contains_the_shorter_one(splits: Splits) -> None:
    [long] = splits.run(make_chunk("mlp_ws", [make_replica(0, replace(HYPER, epochs=4), read_at=(2,))]))
    [short] = splits.run(make_chunk("mlp_ws", [make_replica(0, replace(HYPER, epochs=2))]))
    assert long.curves["held_out_error"][:2] == short.curves["held_out_error"]
    assert long.train_at[2] == short.train_at[2]
    assert long.train("error", 2) == short.train("error")


class TestDivergence:
    @pytest.mark.parametrize("optimiser", OPTIMISERS)
    @pytest.mark.parametrize("variant", ["mlp_ws_al", "convnet"])
    def test_leaves_the_neighbours_equal_to_plain(self, splits: Splits, variant: str, optimiser: str) -> None:
        hypers = make_hypers(variant, 4, optimiser=optimiser, momentum=0.9)
        # Adam's steps are as long as the learning rate: it takes one beyond what is accepted to leave float64.
        object.__setattr__(hypers[1], "lr", 1e80)
        replicas = [make_replica(*numbered) for numbered in enumerate(hypers)]
        outcomes = splits.run(make_chunk(variant, replicas, keep_models=True))
        assert_diverged(outcomes.pop(1), epochs=1)
        del replicas[1]
        splits.assert_equal_to_plain(make_chunk(variant, replicas), outcomes)

    def test_by_the_held_out_loss_alone_is_noticed(self, train_digits: DigitSet) -> None:
        splits = Splits(train_digits, make_digits(210, "held out", broken=10))
        replicas = [make_replica(index, HYPER) for index in range(2)]
        replicas[0].held_out[3] = 205, 206
        diverged, outcome = splits.run(make_chunk("mlp_ws", replicas))
        assert np.isfinite(diverged.curves["train_loss"]).all()
        assert_diverged(diverged, epochs=1)
        splits.assert_equal_to_plain(make_chunk("mlp_ws", replicas[1:]), [outcome])

    def test_has_no_train_error_even_where_a_neighbour_reads_one(self, held_out_digits: DigitSet) -> None:
        splits = Splits(make_digits(410, "train", broken=10), held_out_digits)
        replicas = [make_replica(index, replace(HYPER, epochs=epochs)) for index, epochs in enumerate((1, 1, 2))]
        for replica in replicas[1:]:
            replica.train[0] = 405, 406
        for diverged in splits.run(make_chunk("mlp_ws", replicas))[1:]:
            assert_diverged(diverged, epochs=1)
            assert np.isnan(diverged.train("error"))


def assert_diverged(outcome: Outcome, *, epochs: int) -> None:
    assert outcome.status == "diverged"
    losses = [outcome.curves[name][-1] for name in ("train_loss", "held_out_loss")]
    loss = next(loss for loss in losses if not np.isfinite(loss))
    assert outcome.reason == f"the loss became {loss} in epoch {epochs}"
    assert outcome.weights is None
    assert outcome.predictions == {}
    assert outcome.epochs == epochs


@dataclass
class StopAfter:
    """Stops at an epoch and keeps what it was told."""

    epoch: int
    told: Sequence[Sequence[float]] = ()

    def __call__(self, held_out_FE: Sequence[Sequence[float]], /) -> bool:
        self.told = [list(errors) for errors in held_out_FE]
        return len(held_out_FE[0]) == self.epoch


class TestStopRule:
    def test_stops_all_replicas_at_its_epoch(self, splits: Splits) -> None:
        replicas = [make_replica(index, replace(HYPER, epochs=5)) for index in range(3)]
        chunk = make_chunk("mlp_ws", replicas, stop=StopAfter(2), keep_models=True)
        outcomes = splits.run(chunk)
        for replica, outcome in zip(replicas, outcomes, strict=True):
            assert (outcome.status, outcome.reason) == ("stopped", "stopped after epoch 2")
            assert outcome.weights is None
            plain = splits.plain(chunk.variant, replica)
            np.testing.assert_allclose(outcome.curves["held_out_loss"], plain.curves["held_out_loss"][:2], rtol=1e-9)

    def test_is_told_the_held_out_errors_of_each_replica(self, splits: Splits) -> None:
        rule = StopAfter(3)
        outcomes = splits.run(
            make_chunk("mlp_ws", [make_replica(i, replace(HYPER, epochs=5)) for i in range(3)], stop=rule)
        )
        assert rule.told == [outcome.curves["held_out_error"] for outcome in outcomes]

    def test_of_one_job_leaves_the_others_in_the_chunk_as_if_it_had_been_alone(self, splits: Splits) -> None:
        replicas = [make_replica(index, replace(HYPER, epochs=4)) for index in range(5)]
        first, second = StopAfter(2), StopAfter(99)
        chunk = make_chunk("mlp_ws", replicas, keep_models=True)
        shared = replace(chunk, stop_groups=(StopGroup(rows=(1, 3), stop=first), StopGroup(rows=(0, 2), stop=second)))
        outcomes = splits.run(shared)
        assert [outcome.status for outcome in outcomes] == ["complete", "stopped", "complete", "stopped", "complete"]
        assert [len(errors) for errors in first.told] == [2, 2]
        assert second.told == [outcomes[row].curves["held_out_error"] for row in (0, 2)]
        staying = [0, 2, 4]
        splits.assert_equal_to_plain(
            make_chunk("mlp_ws", [replicas[row] for row in staying], keep_models=True),
            [outcomes[row] for row in staying],
        )

    def test_leaves_replicas_that_end_earlier_or_with_it_complete(self, splits: Splits) -> None:
        hypers = [replace(HYPER, epochs=epochs) for epochs in (1, 2, 4)]
        replicas = [make_replica(index, hyper) for index, hyper in enumerate(hypers)]
        outcomes = splits.run(make_chunk("mlp_ws", replicas, stop=StopAfter(2)))
        assert [outcome.status for outcome in outcomes] == ["complete", "complete", "stopped"]
        assert [outcome.epochs for outcome in outcomes] == [1, 2, 2]

    def test_that_never_fires_changes_nothing(self, splits: Splits) -> None:
        chunk = make_chunk("mlp_ws", [make_replica(index, HYPER) for index in range(2)], stop=StopAfter(99))
        splits.assert_equal_to_plain(chunk, splits.run(chunk))


class TestPatience:
    @pytest.mark.parametrize("variant", ["mlp_ws_al", "convnet"])
    def test_stops_a_replica_alone_and_leaves_the_neighbours_equal_to_plain(self, splits: Splits, variant: str) -> None:
        replicas = [make_replica(*numbered, patience=9) for numbered in enumerate(make_hypers(variant, 4))]
        replicas[1] = replace(replicas[1], hyper=replace(replicas[1].hyper, lr=1e-12, epochs=4), patience=2)
        chunk = make_chunk(variant, replicas, keep_models=True)
        outcomes = splits.run(chunk)
        stopped = outcomes[1]
        assert stopped.status == "stopped"
        assert stopped.reason == "stopped after epoch 3: no lower error for 2 epochs"
        assert len(stopped.curves["held_out_error"]) == stopped.epochs == 3
        assert sorted(stopped.train_at) == [3]
        assert np.isfinite(stopped.train("error"))
        assert [outcome.status for outcome in outcomes] == ["complete", "stopped", "complete", "complete"]
        splits.assert_equal_to_plain(chunk, outcomes)

    @pytest.mark.parametrize("patience", [1, 2, 3])
    def test_counts_from_the_lowest_error_so_far(self, splits: Splits, patience: int) -> None:
        hyper = replace(HYPER, lr=3e-3, epochs=12)
        replicas = [make_replica(index, hyper, patience=patience) for index in range(3)]
        chunk = make_chunk("mlp_ws", replicas)
        outcomes = splits.run(chunk)
        splits.assert_equal_to_plain(chunk, outcomes)
        for outcome in outcomes:
            errors = outcome.curves["held_out_error"]
            assert outcome.status == "stopped"
            assert len(errors) - 1 - errors.index(min(errors)) == patience

    def test_that_ends_with_the_last_epoch_is_complete(self, splits: Splits) -> None:
        hyper = make_hyper("mlp", lr=1e-12)
        [outcome] = splits.run(make_chunk("mlp", [make_replica(0, hyper, patience=2)], keep_models=True))
        assert (outcome.status, outcome.reason) == ("complete", "")
        assert outcome.weights is not None

    def test_of_0_never_stops(self, splits: Splits) -> None:
        hyper = make_hyper("mlp", lr=1e-12, epochs=5)
        [outcome] = splits.run(make_chunk("mlp", [make_replica(0, hyper)]))
        assert outcome.epochs == 5


class TestDigitErrors:
    @pytest.mark.parametrize("variant", ["mlp_al", "bncnn_ws_al", "linear_digits", "lenet_digits"])
    def test_are_read_with_the_others_where_digits_are_recognised(self, splits: Splits, variant: str) -> None:
        hyper = make_hyper(variant, epochs=4, alpha=1.0 if has_alpha(variant) else 0.0)
        [outcome] = splits.run(make_chunk(variant, [make_replica(0, hyper, read_at=(1, 3))]))
        assert len(outcome.curves["held_out_digit_error"]) == 4
        assert outcome.held_out("digit_error") == outcome.curves["held_out_digit_error"][-1]
        assert [sorted(outcome.train_at[epoch]) for epoch in (1, 3, 4)] == [["digit_error", "error"]] * 3
        assert outcome.train("digit_error") == outcome.train_at[4]["digit_error"]

    @pytest.mark.parametrize("variant", ["mlp", "cnn5", "bnmlp_ws"])
    def test_are_none_where_digits_are_not_trained(self, splits: Splits, variant: str) -> None:
        [outcome] = splits.run(make_chunk(variant, [make_replica(0, make_hyper(variant))]))
        assert "held_out_digit_error" not in outcome.curves
        assert [sorted(found) for found in outcome.train_at.values()] == [["error"]]
        assert np.isnan([outcome.held_out("digit_error"), outcome.train("digit_error")]).all()

    def test_fall_as_digits_are_learnt_and_bound_the_errors_of_who_compares_by_them(self, splits: Splits) -> None:
        hyper = make_hyper("linear_digits", epochs=10)
        [outcome] = splits.run(make_chunk("linear_digits", [make_replica(0, hyper)]))
        digit_error_E, error_E = (np.array(outcome.curves[f"held_out_{name}"]) for name in ("digit_error", "error"))
        assert digit_error_E[0] > 0.2
        assert digit_error_E[-1] < 0.05
        assert error_E.any()
        assert (error_E <= 2 * digit_error_E).all()  # behind a wrong answer there is at least one of two digits

    def test_are_none_after_a_divergence(self, splits: Splits) -> None:
        hypers = make_hypers("mlp_al", 2)
        object.__setattr__(hypers[0], "lr", 1e80)
        diverged, outcome = splits.run(make_chunk("mlp_al", list(map(make_replica, range(2), hypers))))
        assert_diverged(diverged, epochs=1)
        assert np.isnan(diverged.train("digit_error"))
        assert not np.isnan(outcome.train("digit_error"))


class TestLastBatchOfOneSample:
    """Nineteen samples in batches of nine."""

    def replicas(self, variant: str, **options: bool) -> list[Replica]:
        hypers = make_hypers(variant, 2, 9, optimiser="sgd", **options)
        return [make_replica(*numbered, samples=19, held_out=12) for numbered in enumerate(hypers)]

    @pytest.mark.parametrize(
        ("variant", "options"),
        [("bnmlp", {}), ("bncnn_ws_al", {}), ("lenet_digits", {}), ("mlp_ws_al", {"batch_norm": True})],
        ids=str,
    )
    def test_joins_the_batch_before_it_where_layers_normalise(
        self, splits: Splits, variant: str, options: dict[str, bool]
    ) -> None:
        chunk = make_chunk(variant, self.replicas(variant, **options), keep_models=True)
        outcomes = splits.run(chunk)
        splits.assert_equal_to_plain(chunk, outcomes)
        for replica, outcome in zip(chunk.replicas, outcomes, strict=True):
            assert outcome.weights is not None
            seen = [int(value) for name, value in outcome.weights.items() if name.endswith("num_batches_tracked")]
            assert min(seen) == 2 * replica.hyper.epochs

    @pytest.mark.parametrize("variant", ["mlp", "bnmlp", "cnn5_al", "linear_digits"])
    def test_is_a_step_of_its_own_where_none_does(self, splits: Splits, variant: str) -> None:
        chunk = make_chunk(variant, self.replicas(variant, batch_norm=False), keep_models=True)
        splits.assert_equal_to_plain(chunk, splits.run(chunk))

    def test_makes_another_training_than_without_it(self, splits: Splits) -> None:
        losses = []
        for samples in (19, 18):
            hyper = make_hyper("mlp", batch_size=9, epochs=1)
            [outcome] = splits.run(make_chunk("mlp", [make_replica(0, hyper, samples=samples)]))
            losses.append(outcome.curves["held_out_loss"][0])
        assert abs(losses[0] - losses[1]) > 1e-4


@given(count=st.integers(1, 40), size=st.integers(1, 12), least=st.integers(1, 2))
def test_batches_hold_every_sample_once_in_order(count: int, size: int, least: int) -> None:
    assume(size >= least)
    numbers = torch.arange(2 * count).view(2, count)
    samples = {"x": numbers, "target": numbers, "more": torch.stack([numbers, numbers], -1)}
    parts = list(ReplicaSamples(samples).batches(size, least=least))
    for name, whole in samples.items():
        assert torch.equal(torch.cat([part[name] for part in parts], 1), whole)
    sizes = [part["target"].shape[1] for part in parts]
    joined = least > 1 and count > size and count % size == 1
    assert sizes[:-1] == [size] * (len(sizes) - 1)
    assert len(sizes) == math.ceil(count / size) - joined
    assert sizes[-1] >= min(least, count)


class TestPoints:
    """Chunks of the network that is made of `pipeline.tasks.disc.mini`."""

    HYPER = make_hyper("disc_mlp", lr=0.05, batch_size=4)

    def replicas(self, *epochs: int) -> list[Replica]:
        hypers = [replace(self.HYPER, epochs=number) for number in epochs]
        return [make_replica(*numbered, splits=POINTS) for numbered in enumerate(hypers)]

    def test_the_disc_is_learnt(self, points: Splits) -> None:
        hyper = replace(self.HYPER, epochs=30)
        [outcome] = points.run(
            make_chunk("disc_mlp", [make_replica(0, hyper, samples=190, held_out=90, splits=POINTS)])
        )
        assert outcome.curves["train_loss"][-1] < outcome.curves["train_loss"][0] / 2
        assert outcome.held_out("error") < 0.15
        assert "held_out_digit_error" not in outcome.curves

    def test_the_structure_can_be_chosen(self, points: Splits) -> None:
        hyper = self.HYPER.replaced({"nodes": 3, "layers": 1})
        chunk = make_chunk("disc_mlp", [make_replica(0, hyper, splits=POINTS)], keep_models=True)
        [outcome] = points.run(chunk)
        assert outcome.weights is not None
        assert {name: weight.shape for name, weight in outcome.weights.items()} == {
            "0.weight": (3, 2),
            "0.bias": (3,),
            "2.weight": (1, 3),
            "2.bias": (1,),
        }
        points.assert_equal_to_plain(chunk, [outcome])

    def test_the_train_error_is_read_where_it_is_asked_for(self, points: Splits) -> None:
        replicas = [replace(part, read_at=(1, 2)) for part in self.replicas(4, 2, 1)]
        chunk = make_chunk("disc_mlp", replicas)
        outcomes = points.run(chunk)
        assert [sorted(outcome.train_at) for outcome in outcomes] == [[1, 2, 4], [1, 2], [1]]
        points.assert_equal_to_plain(chunk, outcomes)

    def test_a_divergence_leaves_the_neighbours_equal_to_plain(self, points: Splits) -> None:
        replicas = self.replicas(3, 3, 2, 4)
        object.__setattr__(replicas[1].hyper, "lr", 1e200)
        outcomes = points.run(make_chunk("disc_mlp", replicas, keep_models=True))
        assert_diverged(outcomes.pop(1), epochs=1)
        del replicas[1]
        points.assert_equal_to_plain(make_chunk("disc_mlp", replicas), outcomes)

    def test_patience_stops_a_replica_alone(self, points: Splits) -> None:
        replicas = self.replicas(4, 4, 3)
        replicas[0] = replace(replicas[0], hyper=replace(replicas[0].hyper, lr=1e-12), patience=1)
        chunk = make_chunk("disc_mlp", replicas, keep_models=True)
        outcomes = points.run(chunk)
        assert [outcome.status for outcome in outcomes] == ["stopped", "complete", "complete"]
        assert outcomes[0].reason == "stopped after epoch 2: no lower error for 1 epochs"
        points.assert_equal_to_plain(chunk, outcomes)

    def test_a_rule_stops_all(self, points: Splits) -> None:
        rule = StopAfter(2)
        outcomes = points.run(make_chunk("disc_mlp", self.replicas(1, 3, 4), stop=rule))
        assert [outcome.status for outcome in outcomes] == ["complete", "stopped", "stopped"]
        assert rule.told == [outcome.curves["held_out_error"] for outcome in outcomes[1:]]

    def test_are_computed_in_float32_also_where_others_are_in_bfloat16(self, points: Splits) -> None:
        chunk = make_chunk("disc_mlp", self.replicas(2, 2))
        for one, other in zip(
            points.run(chunk, torch.float32, bfloat16=True), points.run(chunk, torch.float32), strict=True
        ):
            assert one.curves["train_loss"] == other.curves["train_loss"]


GOLDEN: dict[str, list[float]] = {
    "mlp_ws_al": [2.813780142, 2.285239236, 1.744853724, 1.231703825],
    "convnet_ws_al": [2.991227845, 2.845582393, 2.702131249, 2.538707661],
}


@pytest.mark.parametrize(("variant", "train_loss_E"), GOLDEN.items())
def test_the_golden_loss_curve_is_kept(splits: Splits, variant: str, train_loss_E: list[float]) -> None:
    hyper = make_hyper(variant, epochs=4, alpha=0.5)
    [outcome] = splits.run(make_chunk(variant, [make_replica(0, hyper)]))
    assert outcome.curves["train_loss"] == pytest.approx(train_loss_E, abs=1e-6)
