"""From rounds and folds to replicas, and from their outcomes to curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.data.dataset import Indices, Splits
from pipeline.data.folds import check_folds, split_folds
from pipeline.data.rounds import draw_samples, resampled
from pipeline.models.hyperparameters import Hyperparameters, Structure
from pipeline.models.variant import Variant
from pipeline.stages.stage import Sampling
from pipeline.tasks.subjects import Model, Subject, open_subject, variant_for
from pipeline.training.compute import Compute
from pipeline.training.plan import Outcome, Replica
from pipeline.training.ways import check_precision, way_of
from pipeline.tuning.trials import SELECTIONS

MAX_ROUNDS = 1000
RESAMPLINGS = ("none", "bootstrap")
"""What is done with the training samples of a round before it is trained on them."""


@dataclass(frozen=True, kw_only=True)
class FoldsConfig:
    """What every stage that cross-validates is told."""

    sampling: Sampling
    model: Model
    folds: int
    rounds: int = 1
    select: str = "mean"
    """What the best has least of: `mean` over folds of the validation metric, or `mean+std`."""
    compute: Compute = field(default_factory=Compute)

    @property
    def variant(self) -> Variant:
        """The model, for which data are had if it is a person's own. Raises UnknownNameError."""
        return variant_for(self.model, self.sampling.data)

    def __post_init__(self) -> None:
        if self.sampling.samples:
            check_folds(self.folds, self.sampling.samples)
        if not 1 <= self.rounds <= MAX_ROUNDS:
            raise InputError(f"--rounds must be between 1 and {MAX_ROUNDS}, but got {self.rounds}")
        if self.select not in SELECTIONS:
            raise UnknownNameError("selection", self.select, SELECTIONS)


def open_stage(model: Model, sampling: Sampling, compute: Compute) -> Subject:
    """A model with data that it can learn from.

    Raises InputError where data, model and precision do not go together.
    """
    subject = open_subject(model, sampling.data)
    variant = subject.variant
    if compute.precision == "bfloat16":
        check_precision(way_of(variant, variant.preset.structure).way, variant, bfloat16=True)
    return subject


def explained(subject: Subject) -> list[str]:
    """What a person should know who brought the model, or did not say what is learned."""
    variant, found = subject.variant, list[str]()
    if subject.guessed:
        found.append(f"what is learned is {subject.guessed}; --task says otherwise")
    if variant.foreign:
        trained = way_of(variant, variant.preset.structure)
        found.append(f"{variant.name} trains {trained.way}: {trained.reason}")
    return found


def training_tags(variant: Variant, structure: Structure) -> dict[str, str]:
    """How replicas of a person's model train together, and why not faster, as it is kept with a run."""
    if not variant.foreign:
        return {}
    trained = way_of(variant, structure)
    return {"trained": trained.way, "trained_because": trained.reason}


def fold_replicas(
    splits: Splits,
    sampling: Sampling,
    hyper: Hyperparameters,
    *,
    rounds: int,
    folds: int,
    first_round: int = 0,
    name: tuple[str | int, ...] = (),
    read_at: tuple[int, ...] = (),
    patience: int = 0,
) -> tuple[Replica, ...]:
    """K-fold cross validation of the training samples of each round, round by round; the test pool takes no part."""
    replicas = []
    for round_ in range(first_round, first_round + rounds):
        samples = draw_samples(
            "train", splits.train, sampling.fold_count(splits, folds), seed=sampling.seed, round_=round_
        )
        for fold, (train, validation) in enumerate(
            split_folds(samples, folds, seed=sampling.seed, round_=round_, data=splits.train, classes=splits.classes)
        ):
            replicas.append(
                Replica(
                    seed=sampling.seed,
                    name=(*name, "round", round_, "fold", fold),
                    hyper=hyper,
                    train=train,
                    held_out=validation,
                    read_at=read_at,
                    patience=patience,
                )
            )
    return tuple(replicas)


def round_replicas(
    splits: Splits, sampling: Sampling, hyper: Hyperparameters, *, rounds: int, resampling: str = "none"
) -> tuple[Replica, ...]:
    """One training a round on its training samples, held out: its test samples from the test pool."""
    train, test = sampling.train_count(splits), sampling.test_count(splits)

    def samples_of(round_: int) -> Indices:
        samples = draw_samples("train", splits.train, train, seed=sampling.seed, round_=round_)
        return resampled(samples, seed=sampling.seed, round_=round_) if resampling == "bootstrap" else samples

    return tuple(
        Replica(
            seed=sampling.seed,
            name=("round", round_),
            hyper=hyper,
            train=samples_of(round_),
            held_out=draw_samples("test", splits.test, test, seed=sampling.seed, round_=round_),
        )
        for round_ in range(rounds)
    )


def curves_of(outcomes: Sequence[Outcome], held_out: str) -> dict[str, list[list[float]]]:
    """Metric name -> the curve of each training; `held_out` is what the held-out samples are called."""
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.curves)
    return {
        name.replace("held_out", held_out): [list(outcome.curves.get(name, ())) for outcome in outcomes]
        for name in names
    }


def metric_series(
    curves: Mapping[str, list[list[float]]], variant: Variant, held_out: str
) -> dict[str, list[list[float]]]:
    """The curves of metrics in the unit of the first one, by the name that they have in a picture."""
    first, *others = variant.metrics
    names = {f"train_{first.name}": "training", f"{held_out}_{first.name}": held_out}
    for metric in others:
        if metric.unit == first.unit:
            names[f"{held_out}_{metric.name}"] = f"{held_out}, {metric.title}"
    return {label: curves[name] for name, label in names.items() if name in curves}
