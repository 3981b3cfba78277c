"""doctor: whether all that the stages need is there, and what processes that died have left in the stores."""

from __future__ import annotations

import importlib
import os
import shutil
import sqlite3
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from pipeline.base.errors import StoreError, VariantlabError
from pipeline.base.extras import EXTRAS, how_to_install, is_installed
from pipeline.base.files import writable_folder
from pipeline.base.processes import is_dead, show_process
from pipeline.base.resources import CHECKOUT, DISTRIBUTION
from pipeline.base.stores import damage
from pipeline.reports.tables import Table
from pipeline.stages.stage import Answer
from pipeline.tracking.address import IF_DAMAGED as TRACKING_IF_DAMAGED
from pipeline.tracking.address import is_sqlite, sqlite_file, tracking_uri
from pipeline.tracking.heartbeat import abandoned
from pipeline.tracking.port import Tracker
from pipeline.tuning.dashboard import ADDRESS
from pipeline.tuning.lease import free_abandoned, leases, left_running
from pipeline.tuning.storage import IF_DAMAGED as STUDIES_IF_DAMAGED
from pipeline.tuning.storage import database_file, is_there, open_storage

MODULES = ("torch", "torchvision", "mlflow", "optuna", "sklearn", "scipy", "matplotlib")
"""Those whose import fails when a part of them does not fit the machine or another part."""
PACKAGES_AGAIN, ENVIRONMENT_AGAIN = (
    (f"pip install --upgrade {DISTRIBUTION}", f"install {DISTRIBUTION} into a new environment")
    if CHECKOUT is None
    else ("pip install -r requirements.txt", "make the environment anew: make clean, then the command again")
)
LEAST_GIB = 1.0
"""Free space below which a search of the usual size may not end."""
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """What to look at."""

    storage: str
    """Database URL of studies."""
    artifacts: str
    """Folder of their files."""
    cache_dir: Path
    repair: bool = False
    """Whether to end and put back what dead processes left."""


@dataclass(frozen=True)
class Check:
    """What was found of one thing."""

    name: str
    found: str
    to_do: str = ""
    """What would make it well; empty if it is."""


def run(config: DoctorConfig, open_tracker: Callable[[], Tracker]) -> tuple[Answer, bool]:
    """Look at everything; the answer, and whether all is well."""
    checks = [
        _versions(),
        _imports(),
        *_tracking(config, open_tracker),
        *_studies(config),
        _folder("artifacts of studies", Path(config.artifacts), "--artifacts"),
        _folder("prepared data", config.cache_dir, "--cache-dir"),
        *_space(config),
        _dashboard(),
    ]
    wrong = [check for check in checks if check.to_do]
    headline = "All is well." if not wrong else f"{len(wrong)} of {len(checks)} things need attention."
    rows = [[check.name, "well" if not check.to_do else "NOT WELL", check.found] for check in checks]
    notes = [f"{check.name}: {check.to_do}" for check in wrong]
    return Answer(headline=headline, table=Table(["what", "state", "found"], rows), notes=notes), not wrong


def _versions() -> Check:
    """Whether the installed packages are those that this version works with; an extra may be left out."""
    name = f"packages of Python {sys.version.split()[0]}"
    wanted = _requirements()
    wrong = []
    for requirement in wanted:
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
        else:
            if not requirement.specifier.contains(installed, prereleases=True):
                wrong.append(f"{requirement.name} is {installed}, not {requirement.specifier}")
    if wrong:
        return Check(name, "; ".join(wrong), PACKAGES_AGAIN)
    return Check(name, f"{len(wanted)} as required")


def _requirements() -> list[Requirement]:
    """What has to be installed, by the project whose code this is: under `mlflow run` it is not installed."""
    present = ["", *(extra for extra in EXTRAS if is_installed(extra))]
    if CHECKOUT is None:
        given = [Requirement(text) for text in requires(DISTRIBUTION) or []]
        return [
            each for each in given if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in present)
        ]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return [Requirement(text) for extra in present for text in groups[extra]]


def _imports() -> Check:
    failed = []
    for name in (*MODULES, *([EXTRAS["postgres"]] if is_installed("postgres") else [])):
        try:
            importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            failed.append(f"{name}: {' '.join(str(error).split())[:200]}")
    if failed:
        return Check("imports", "; ".join(failed), ENVIRONMENT_AGAIN)
    return Check("imports", ", ".join(f"{name} {version(_distribution(name))}" for name in MODULES[:4]))


def _distribution(module: str) -> str:
    return {"sklearn": "scikit-learn"}.get(module, module)


def _damaged(name: str, path: Path, if_damaged: str) -> Check | None:
    """What is wrong with a database that is a file, if it is damaged."""
    try:
        found = damage(path) if path.exists() else ""
    except (sqlite3.Error, OSError):  # opening it says what is wrong
        return None
    return Check(name, f"{path} is damaged: {found}", if_damaged) if found else None


def _advice(error: VariantlabError, otherwise: str) -> str:
    """What to do about an error of a store."""
    known = error if isinstance(error, StoreError) else error.__cause__
    return known.remedy if isinstance(known, StoreError) else otherwise


def _tracking(config: DoctorConfig, open_tracker: Callable[[], Tracker]) -> Iterator[Check]:
    name = "tracking store"
    try:
        file = sqlite_file(tracking_uri()) if is_sqlite(tracking_uri()) else None
        if file is not None and (damaged := _damaged(name, file, TRACKING_IF_DAMAGED)) is not None:
            yield damaged
            return
        tracker = open_tracker()
        ended = tracker.repair() if config.repair else 0
        left = tracker.left_open()
    except VariantlabError as error:
        advice = _advice(error, "start its server, or set MLFLOW_TRACKING_URI to a store that is there")
        yield Check(name, str(error), advice)
        return
    yield Check(name, f"{tracker.place} can be reached and written")
    dead = abandoned(left)
    others = [run for run in left if run not in dead]
    repaired = [f"{ended} ended now, as KILLED"] if ended else []
    named = [f"{len(others)} open ({', '.join(sorted({_whose(run.tags) for run in others}))})"] if others else []
    zombies = [f"{len(dead)} of dead processes: {', '.join(run.name for run in dead[:SHOWN])}"] if dead else []
    found = "; ".join([*repaired, *named, *zombies]) or "none is open"
    yield Check("open runs", found, f"{DISTRIBUTION} doctor --repair ends them; so does every stage" if dead else "")


def _whose(tags: Mapping[str, str]) -> str:
    process = tags.get("process", "")
    return show_process(process) if process else "of no known process"


def _studies(config: DoctorConfig) -> Iterator[Check]:
    name = "database of studies"
    if not is_there(config.storage):
        yield Check(name, "none yet")
        return
    file = database_file(config.storage)
    if file is not None and (damaged := _damaged(name, file, STUDIES_IF_DAMAGED)) is not None:
        yield damaged
        return
    try:
        with closing(open_storage(config.storage)) as storage:
            freed = storage.retry(lambda: free_abandoned(storage)) if config.repair else 0
            held, running = storage.retry(lambda: (leases(storage), left_running(storage)))
    except VariantlabError as error:
        yield Check(name, str(error), _advice(error, "start its server, or choose another --storage"))
        return
    yield Check(name, f"{storage.place} can be reached and written")
    searched = [f"{study} by {show_process(lease.owner)}" for study, lease in held.items() if not is_dead(lease.owner)]
    repaired = [f"{freed} wait now"] if freed else []
    zombies = [f"{trials} of {study}, which nobody searches" for study, trials in running.items()]
    found = "; ".join([*repaired, *searched, *zombies]) or "none runs"
    advice = f"{DISTRIBUTION} doctor --repair lets them wait until their search goes on; so does every search"
    yield Check("running trials", found, advice if zombies else "")


def _folder(name: str, path: Path, option: str) -> Check:
    if not os.path.exists(os.path.expanduser(path)):
        return Check(name, f"{path}: not there yet")
    try:
        writable_folder(path, option)
    except VariantlabError as error:
        return Check(name, str(error), f"choose another {option}")
    return Check(name, f"{path} can be written")


def _space(config: DoctorConfig) -> Iterator[Check]:
    """Free space, once for each disk."""
    places = {
        "here": Path.cwd(),
        "prepared data": Path(os.path.expanduser(config.cache_dir)),
        "temporary files": Path(tempfile.gettempdir()),
    }
    seen = set()
    for name, path in places.items():
        there = next(folder for folder in (path, *path.absolute().parents) if os.path.exists(folder))
        disk = there.stat().st_dev
        if disk in seen:
            continue
        seen.add(disk)
        gib = shutil.disk_usage(there).free / 2**30
        advice = f"free some, a search may need {LEAST_GIB:g} GiB" if gib < LEAST_GIB else ""
        yield Check(f"free space, {name}", f"{gib:.1f} GiB at {there}", advice)


def _dashboard() -> Check:
    if not is_installed("ui"):
        return Check("optuna-dashboard", f"not installed, so studies are not shown; {how_to_install('ui')}")
    return Check("optuna-dashboard", f"{DISTRIBUTION} ui shows studies at {ADDRESS}")
