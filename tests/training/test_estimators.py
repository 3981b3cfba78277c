"""Estimators of scikit-learn train like networks, and tell what they tell alone."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.svm import LinearSVC

from pipeline.base.seeds import derive
from pipeline.data.dataset import ArrayDataset
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.initial import weights_generator
from pipeline.models.metrics import ERROR, LOG_LOSS, Metric, Unit, root_mean_squared_error_R
from pipeline.models.objectives import CrossEntropy, SquaredError
from pipeline.models.transforms import Transforms, unscaled
from pipeline.models.variant import Variant
from pipeline.training.compute import Compute
from pipeline.training.cost import nominal_seconds
from pipeline.training.estimators import EstimatorTraining, Placeholder, seed_draws
from pipeline.training.plan import Job, Outcome, Replica, compose_chunks
from pipeline.training.pool import Trainer
from tests.training.plans import ROWS, make_replica

SAMPLES = 50


def forest(*, trees: int) -> RandomForestClassifier:
    return RandomForestClassifier(trees)


def logistic(*, trees: int) -> Any:
    return make_pipeline(PolynomialFeatures(1), LogisticRegression(C=1e-3 * trees, max_iter=1000))


def neighbours(*, trees: int) -> KNeighborsClassifier:
    return KNeighborsClassifier(trees)


def support(*, trees: int) -> LinearSVC:
    return LinearSVC(max_iter=200 * trees)


def ridge(*, trees: int) -> Ridge:
    return Ridge(trees)


RMSE = Metric("rmse", root_mean_squared_error_R, Unit(""))


def variant_of(make: Callable[..., Any], *, classes: bool = True) -> Variant:
    training = EstimatorTraining(make, outputs=10 if classes else 1, classes=classes)
    return Variant(
        name="estimator",
        family="estimator",
        task="classification" if classes else "regression",
        title="",
        objective=CrossEntropy(probabilities=True) if classes else SquaredError(),
        metrics=(ERROR, LOG_LOSS) if classes else (RMSE,),
        transforms=Transforms({"unscaled": unscaled}),
        input_shape=(64,) if classes else (10,),
        preset=Hyperparameters(lr=1.0, batch_size=1, epochs=1, inputs="unscaled", structure=(("trees", 5),)),
        make=Placeholder(training.outputs),
        make_step=training,
        foreign=True,
    )


def replicas_of(variant: Variant, count: int) -> list[Replica]:
    splits = ROWS[variant.task]
    return [make_replica(index, variant.preset, samples=SAMPLES, splits=splits) for index in range(count)]


def trained(variant: Variant, replicas: list[Replica]) -> list[Outcome]:
    with Trainer(*ROWS[variant.task], Compute(device="cpu", workers=1)) as trainer:
        [outcomes] = trainer.run([Job(variant=variant, replicas=tuple(replicas), keep_models=True)])
    assert [outcome.reason for outcome in outcomes] == [""] * len(replicas)
    return outcomes


def alone(make: Callable[..., Any], replica: Replica, data: ArrayDataset) -> Any:
    """Fitted without the engine, to the samples in the order of the replica's first epoch."""
    estimator = make(trees=5)
    seed_draws(estimator, weights_generator(replica.seed, *replica.name))
    order = torch.Generator().manual_seed(derive(replica.seed, "order", *replica.name))
    samples = data.gather(replica.train[torch.randperm(SAMPLES, generator=order).numpy()])
    return estimator.fit(samples["x"], samples["target"])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("make", [logistic, neighbours, support])
def test_classes_and_their_probabilities_are_those_that_it_tells_alone(make: Callable[..., Any]) -> None:
    variant = variant_of(make)
    train, held_out = ROWS["classification"]
    assert isinstance(train, ArrayDataset)
    replicas = replicas_of(variant, 2)
    for replica, outcome in zip(replicas, trained(variant, replicas), strict=True):
        estimator, samples = alone(make, replica, train), held_out.gather(replica.held_out)
        answer_N = estimator.predict(samples["x"])
        np.testing.assert_array_equal(outcome.predictions["answer"], answer_N)
        assert outcome.held_out("error") == pytest.approx(np.mean(answer_N != samples["target"]))
        assert (outcome.weights, outcome.epochs) == ({}, 1)
        if not hasattr(estimator, "predict_proba"):
            assert "log_probabilities" not in outcome.predictions
            assert np.isnan(outcome.held_out("log_loss"))
            continue
        expected_NK = np.full((len(answer_N), 10), 1e-15)
        expected_NK[:, estimator.classes_] = estimator.predict_proba(samples["x"]).clip(1e-15)
        np.testing.assert_allclose(np.exp(outcome.predictions["log_probabilities"]), expected_NK, rtol=1e-3, atol=1e-9)
        said_N = expected_NK[np.arange(len(answer_N)), samples["target"].astype(np.int64)]
        assert outcome.held_out("log_loss") == pytest.approx(-np.log(said_N).mean(), rel=1e-3)


def test_values_are_those_that_it_tells_alone() -> None:
    variant = variant_of(ridge, classes=False)
    train, held_out = ROWS["regression"]
    assert isinstance(train, ArrayDataset)
    replicas = replicas_of(variant, 2)
    for replica, outcome in zip(replicas, trained(variant, replicas), strict=True):
        expected_N = alone(ridge, replica, train).predict(held_out.gather(replica.held_out)["x"])
        np.testing.assert_allclose(outcome.predictions["value"], expected_N, rtol=1e-4)
        assert outcome.curves["train_loss"][0] < 1  # at the scale at which networks learn


def test_what_an_estimator_draws_follows_from_its_replica() -> None:
    variant = variant_of(forest)
    replicas = replicas_of(variant, 2)
    twice = [replicas[0], replace(replicas[0], name=("another",)), *replicas]
    first, other, again, _ = trained(variant, twice)
    assert first.curves == again.curves
    assert first.curves != other.curves


def test_draws_of_parts_are_seeded_unless_they_are_chosen() -> None:
    estimator = make_pipeline(RandomForestClassifier(), LogisticRegression(random_state=7))
    seed_draws(estimator, torch.Generator().manual_seed(0))
    parameters = estimator.get_params()
    assert 0 <= parameters["randomforestclassifier__random_state"] < 2**32
    assert parameters["logisticregression__random_state"] == 7


def test_each_estimator_is_a_chunk_of_its_own_that_costs_something() -> None:
    variant = variant_of(forest)
    assert variant.count() == 0
    assert variant.build()(variant.example(3)).shape == (3, 10)
    assert nominal_seconds(variant, variant.preset, 100) > 0
    chunks = compose_chunks([Job(variant=variant, replicas=tuple(replicas_of(variant, 3)))])
    assert [(len(chunk.replicas), chunk.way) for chunk in chunks] == [(1, "one by one")] * 3
    assert pickle.loads(pickle.dumps(chunks[0])).variant == variant
    with Trainer(*ROWS["classification"], Compute(device="cpu", workers=1)) as trainer:
        assert trainer.time_epochs({"forest": chunks[0]}, 0.0)["forest"] > 0
