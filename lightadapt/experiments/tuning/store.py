"""Where a study is kept: a storage of Optuna for its trials, and a folder for what the best of them learned."""

from __future__ import annotations

import os
import platform
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from lightadapt.errors import LightAdaptError, shown
from lightadapt.methods.ranges import written

if TYPE_CHECKING:
    import optuna

INSTALL = 'A search needs Optuna. Install it: pip install "lightadapt[tune]"'
JOURNAL = "study.journal"
"""The file of trials in the folder of a study."""
SETTING = "lightadapt"
"""Under which a study keeps what it is of."""
SPENT = "seconds of "
"""Begins the names under which it keeps how long each process has worked on it."""
STARTUP = 8
"""Trials at random before what they showed is used."""


def require_optuna() -> None:
    """Raise a LightAdaptError that says how to install Optuna when it is not there."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise LightAdaptError(INSTALL) from error


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna tells nothing of each trial, and does not warn of what is experimental in it, inside a `with` block."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


@dataclass(frozen=True)
class Store:
    """Where one study is, as any process can open it."""

    place: str
    """The journal file, or the URL of a database as Optuna takes it."""
    name: str
    """Of the study in it."""
    folder: Path
    """For artifacts, one a trial."""

    @classmethod
    def at(cls, storage: Any, name: str, default: Path) -> Store:
        """The store that a user names.

        Args:
            storage: a URL; a folder, or a path without a suffix, for a journal in it; a file for the journal itself,
                beside which artifacts have a folder. None: the default folder.
            name: of the study.
            default: a folder.

        Raises:
            LightAdaptError: it is none of these, or cannot be written.
        """
        if not isinstance(storage, (str, Path, type(None))) or storage == "":
            raise LightAdaptError(f"storage={shown(storage)}: give a folder, a journal file, or the URL of a database.")
        if isinstance(storage, str) and "://" in storage:
            return cls(storage, name, default)
        path = Path(default if storage is None else storage).absolute()
        try:
            is_file = path.is_file() or (bool(path.suffix) and not path.is_dir())
            journal = path if is_file else path / JOURNAL
            folder = path.with_name(f"{path.name}.artifacts") if is_file else path / "artifacts"
            journal.parent.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:  # a ValueError is for a name that no path has
            raise LightAdaptError(f"storage={shown(str(storage))} cannot be written: {error}.") from error
        if not os.access(journal.parent, os.W_OK):
            raise LightAdaptError(f"storage={shown(str(storage))}: {journal.parent} cannot be written to.")
        return cls(str(journal), name, folder)

    def as_json(self) -> dict[str, str]:
        """What `of_json` makes the store of again."""
        return {"place": self.place, "name": self.name, "folder": str(self.folder)}

    @classmethod
    def of_json(cls, saved: Mapping[str, str]) -> Store:
        """The store that `as_json` describes."""
        return cls(saved["place"], saved["name"], Path(saved["folder"]))

    def artifact(self, number: int) -> Path:
        """The folder for what a trial learned."""
        return self.folder / f"trial-{number}"

    # ---- the study

    def storage(self) -> Any:
        """Optuna's storage.

        Raises:
            LightAdaptError: it cannot be opened.
        """
        import optuna
        from optuna.storages.journal import JournalFileBackend

        with self._opening():
            if "://" in self.place:
                return optuna.storages.get_storage(self.place)
            return optuna.storages.JournalStorage(JournalFileBackend(self.place))

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Raise a LightAdaptError for whatever Optuna says of a storage inside a `with` block."""
        try:
            yield
        except LightAdaptError:
            raise
        except Exception as error:  # each database has errors of its own, and a file may hold anything
            raise LightAdaptError(
                f"storage={self.place!r} cannot be opened as a storage of Optuna ({type(error).__name__}: "
                f"{str(error)[:200]}). Name another one."
            ) from error

    def open(self, setting: Mapping[str, Any], *, direction: str, seed: int) -> optuna.Study:
        """The study, made when it is not there.

        Args:
            setting: what it is of.
            direction: `"maximize"` or `"minimize"`.
            seed: of what is tried; a study that is gone on with tries other settings than before.

        Raises:
            LightAdaptError: the storage holds a study of something else under this name, or what is none.
        """
        import optuna

        with self._opening():
            if "://" not in self.place:
                mend(Path(self.place))
            storage = self.storage()
            study = optuna.create_study(storage=storage, study_name=self.name, direction=direction, load_if_exists=True)
            known = study.user_attrs.get(SETTING)
            if known is not None:
                check_same(known, setting, self.place)
            goals = [each.name.lower() for each in study.directions]
            if goals != [direction] or (known is None and study.get_trials(deepcopy=False)):
                raise LightAdaptError(
                    f"{self.place} holds a study {self.name!r} that is not of tune. Choose another storage or name."
                )
            if known is None:
                study.set_user_attr(SETTING, dict(setting))
            return self.load(storage=storage, seed=seed + len(study.get_trials(deepcopy=False)))

    def load(self, *, storage: Any = None, seed: int | None = None) -> optuna.Study:
        """The study as it is kept, with the pruner of a search, and with its sampler where there is a seed for it."""
        import optuna

        from lightadapt.experiments.tuning.pruning import AtCheckpoints

        with quiet_optuna():
            sampler = optuna.samplers.RandomSampler() if seed is None else _sampler(seed)
            return optuna.load_study(
                study_name=self.name, storage=storage or self.storage(), sampler=sampler, pruner=AtCheckpoints()
            )

    def trial(self, number: int) -> optuna.Trial:
        """A trial that runs, to tell scores to."""
        import optuna

        study = self.load()
        return optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)

    def best_score(self) -> float | None:
        """The best score of the trials that came to their end; None before there is one."""
        try:
            return float(self.load().best_value)
        except ValueError:
            return None

    def keep_only(self, best: int, ended: list[int]) -> None:
        """Remove what trials that have ended learned, but for the best."""
        for number in ended:
            if number != best:
                shutil.rmtree(self.artifact(number), ignore_errors=True)


def _sampler(seed: int) -> optuna.samplers.BaseSampler:
    """Parzen estimators of all settings of a method together (TPE; Bergstra et al. 2011, Falkner et al. 2018)."""
    import optuna

    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=STARTUP)


def mend(journal: Path) -> None:
    """Take the half of a line off the end of a journal, which a process that was killed has left.

    Optuna would write the next line behind it, and read neither.

    Raises:
        LightAdaptError: the file is no journal.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    if not journal.is_file():
        return
    lock = JournalFileSymlinkLock(str(journal))
    lock.acquire()
    try:
        content = journal.read_bytes()
        if content and not content.startswith(b"{"):
            raise LightAdaptError(f"{journal} is no journal of a study. Choose another storage.")
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(journal, whole)
    finally:
        lock.release()


def check_same(known: Mapping[str, Any], wanted: Mapping[str, Any], place: str) -> None:
    """Raise when a storage holds a study of something else.

    Raises:
        LightAdaptError: naming what differs.
    """
    for name in wanted:
        if known.get(name) != wanted[name]:
            there, now = (shown(_as_given(name, each.get(name)), 200) for each in (known, wanted))
            raise LightAdaptError(
                f"{place} holds a study with {name} {there}, and now it is {now}: they cannot be one. Choose another "
                "storage, or delete that one."
            )


def _as_given(name: str, value: Any) -> Any:
    """What a study keeps, as a user writes it: of what is searched it keeps how the ranges print."""
    return {key: written(kept) for key, kept in value.items()} if name == "search" and value else value


# ---- processes that share a study


def this_process() -> str:
    """What tells this process from others, also from a later one with its number."""
    return f"{platform.node()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def has_died(process: str | None) -> bool:
    """Whether a process was on this machine and is there no more."""
    if process is None:
        return False
    node, number, created = process.rsplit(":", 2)
    if node != platform.node():
        return False
    try:
        return bool(abs(psutil.Process(int(number)).create_time() - float(created)) > 1)
    except psutil.Error:
        return True
