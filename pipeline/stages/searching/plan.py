"""What a search would do."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from sqlalchemy import make_url

from pipeline.stages.planning import Work
from pipeline.stages.replicas import explained, fold_replicas
from pipeline.stages.searching.config import SearchConfig, inputs
from pipeline.training.plan import Job
from pipeline.tuning.ledger import finished_trials
from pipeline.tuning.paths import Paths
from pipeline.tuning.samplers import SAMPLERS, Proposer
from pipeline.tuning.storage import is_there, open_storage
from pipeline.tuning.trials import PlannedTrial, TrialRecord

SAMPLE = 12
"""Configurations drawn at random that stand for those that a sampler will propose."""


def plan(config: SearchConfig) -> list[Work]:
    """The trials that are left, and the recheck of the best."""
    subject, space = inputs(config)
    variant, splits = subject.variant, subject.splits
    name = config.study_name(space, variant, splits)
    records = []
    if is_there(config.storage):
        with closing(open_storage(config.storage)) as storage:
            records = finished_trials(storage, name)
    steps = config.make_trial_sampler().steps(space, records)
    left = [proposal for step in steps for proposal in step][len(records) :]
    sampled = config.sampler in SAMPLERS
    proposer = Proposer("random", space, seed=config.sampling.seed, population=config.population)
    trials = [
        PlannedTrial(
            number=len(records) + number,
            hyper=space.hyper(proposer.propose(number, proposal.parameters)),
            samples=proposal.samples,
            stop=None,
            batch=(len(records), len(records) + len(left)),
        )
        for number, proposal in enumerate(left[:SAMPLE] if sampled else left)
    ]
    trained, read_off = trials, 0
    if not sampled:
        paths = Paths()
        paths.learn(records)
        trained, sources = paths.divide(trials)
        read_off = len(sources)

    def job(trial: PlannedTrial) -> Job:
        sampling = replace(config.sampling, samples=trial.samples or config.sampling.samples)
        replicas = fold_replicas(splits, sampling, trial.hyper, rounds=config.rounds, folds=config.folds)
        return Job(variant=variant, replicas=replicas)

    # The trials of a step that depends on another one's are timed, and counted, with the preset.
    later = config.make_trial_sampler().total(space, records) - len(records) - len(left)
    first = PlannedTrial(number=0, hyper=space.preset, stop=None, batch=(0, 1))
    jobs = [*(job(trial) for trial in trained), *[job(first)] * later]
    again = min(config.recheck, len(records) + len(left) + later)
    whole = [job(replace(trial, samples=0)) for trial in trials[: again or 1]]
    folds = f"{config.folds} folds" + (f" x {config.rounds} rounds" if config.rounds > 1 else "")
    works = [
        Work(
            what=f"search {variant.name}",
            trainings=f"{len(left) + later} trials x {folds}",
            jobs=jobs,
            share=len(trials) / len(left) if left else 1.0,
            done=_done(records, read_off),
            note=" ".join([_note(config, name, sampled=sampled), *(f"{line}." for line in explained(subject))]),
        )
    ]
    if again and whole:
        works.append(Work(what="recheck", trainings=f"{again} trials x {folds}", jobs=whole, share=len(whole) / again))
    return works


def _done(records: list[TrialRecord], read_off: int) -> str:
    done = [f"{len(records)} trials"] if records else []
    return ", ".join([*done, *([f"{read_off} read off others"] if read_off else [])]) or "-"


def _note(config: SearchConfig, name: str, *, sampled: bool) -> str:
    limits = [f"--{limit} ends it earlier" for limit in ("budget", "timeout") if getattr(config, limit)]
    less = ["what is pruned or read off makes it less"] if sampled else []
    return (
        f"Study `{name}` in {Path(str(make_url(config.storage).database)).name}"
        + "".join(f"; {part}" for part in (*less, *limits))
        + "."
    )
