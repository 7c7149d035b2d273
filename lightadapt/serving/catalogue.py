"""Which adaptations are served, and the engine that computes each: those of one base share its weights and engine."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightadapt import peft_bridge
from lightadapt.adaptation import on_hub
from lightadapt.adaptation.stored import read_manifest
from lightadapt.adapted import Adapted
from lightadapt.api import load
from lightadapt.errors import LightAdaptError, listed, nearest, shown
from lightadapt.serving.engine import Engine
from lightadapt.serving.failures import RequestError
from lightadapt.serving.metrics import Metrics
from lightadapt.serving.settings import Settings
from lightadapt.tasks import LabelledTask, Task
from lightadapt.tasks.generation import Generation


@dataclass(frozen=True)
class Served:
    """An adaptation that is served.

    Attributes:
        task: its task, with its labels.
        base: what its base is called.
        engine: what computes it.
    """

    name: str
    task: Task
    method: str
    base: str
    engine: Engine
    created: int

    @property
    def labels(self) -> list[Any] | None:
        """The names of the classes; None for a task that has none."""
        return list(self.task.labels or ()) if isinstance(self.task, LabelledTask) else None

    @property
    def generates(self) -> bool:
        """Whether it writes texts."""
        return isinstance(self.task, Generation)


class Catalogue:
    """The adaptations by name."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._all: dict[str, Served] = {}
        self._engines: list[Engine] = []

    @property
    def names(self) -> list[str]:
        """In the order in which they came."""
        return list(self._all)

    @property
    def is_alive(self) -> bool:
        """Whether every engine computes, or waits for something to compute."""
        return bool(self._engines) and all(engine.is_alive for engine in self._engines)

    @property
    def waiting(self) -> int:
        """The records that wait, for all engines together."""
        return sum(len(engine.queue) for engine in self._engines)

    def named(self, name: str) -> Served:
        """The adaptation of that name.

        Raises:
            RequestError: 404, there is none.
        """
        if name not in self._all:
            raise RequestError(
                404, f"There is no adapter {shown(name)}. {nearest(name, self._all)}There are: {listed(self._all)}."
            )
        return self._all[name]

    def __iter__(self) -> Any:
        return iter(list(self._all.values()))

    def load(self, adaptations: Mapping[str, str | Path], **how: Any) -> None:
        """Load adaptations, try each on a record, and begin to compute.

        Args:
            how: options of `lightadapt.load` that say how a base is loaded.

        Raises:
            LightAdaptError: a name cannot be used, or a folder cannot be loaded.
        """
        check_names(adaptations)
        for name, path in adaptations.items():
            engine = self._hang_if_possible(name, path, how.get("base")) or self._engine_for(load(path, **how), name)
            self._enter(name, engine)
        for engine in self._engines:
            engine.start()

    def add(self, name: str, path: Path) -> Served:
        """Load another one while the server runs, onto a base that is in memory.

        Raises:
            RequestError: 409, the name is taken, or the base is none of those here.
            LightAdaptError: it cannot be loaded, or the name cannot be used.
        """
        check_names({name: path})
        if name in self._all:
            raise RequestError(
                409, f"The name {shown(name)} is taken. Choose another, or DELETE /adapters/{name} first."
            )
        engine = self._hang(name, path)
        if engine is None:
            raise RequestError(
                409, f"{path} was trained on another base than those in memory. Start a server with it from the start."
            )
        try:
            return self._enter(name, engine)
        except Exception:
            engine.adapted.remove(name)
            raise

    def remove(self, name: str) -> None:
        """Take one off; requests for it that wait get an error.

        Raises:
            RequestError: 404, there is none; 409, it is the only one of its base.
        """
        served = self.named(name)
        if len(served.engine.adapted.names) == 1:
            raise RequestError(
                409, f"{shown(name)} is the only adapter of its base, which cannot be removed. Stop the server."
            )
        del self._all[name]
        served.engine.forget(name)
        served.engine.adapted.remove(name)

    def stop(self, patience: float | None = None) -> None:
        """Compute what waits, for so many seconds at most, and end."""
        for engine in self._engines:
            engine.queue.close()
        for engine in self._engines:
            engine.stop(patience)

    # ---- loading

    def _hang(self, name: str, path: str | Path, base: Any = None) -> Engine | None:
        """The engine on whose base the artifact hangs from now on; None where its base is not in memory.

        Args:
            base: where the base is now; None: where the artifact says.

        Raises:
            LightAdaptError: the base of that name is in memory, and the artifact does not fit it.
        """
        named, refusal = _base_of(path), None
        for engine in self._engines:
            source = engine.adapted.runner.adaptation.design.blueprint.source
            if base is None and named != (source.id, source.revision):
                continue
            try:
                load(path, onto=engine.adapted, name=name)
            except LightAdaptError as error:  # other weights, or it or what is there changes the base itself
                refusal = error
            else:
                return engine
        if refusal is not None:
            raise refusal
        return None

    def _hang_if_possible(self, name: str, path: str | Path, base: Any) -> Engine | None:
        """Likewise; None, too, where it does not fit. What is wrong with it is seen when it is loaded by itself."""
        try:
            return self._hang(name, path, base)
        except LightAdaptError:
            return None

    def _engine_for(self, adapted: Adapted, name: str) -> Engine:
        adapted.rename("default", name)
        self._engines.append(Engine(adapted, self._settings, self._metrics))
        return self._engines[-1]

    def _enter(self, name: str, engine: Engine) -> Served:
        """Serve an adaptation from now on, when it has answered a record of its task's own."""
        with engine.adapted.computing(name) as runner:
            runner.require_labels()
            task, adaptation = runner.task, runner.adaptation
        options = {"max_new_tokens": 2} if isinstance(task, Generation) else None
        engine.adapted.predict(task.samples(), adapter=name, options=options, columns={})
        engine.learn(name)
        design = adaptation.design
        source = design.blueprint.source
        served = Served(name, task, str(design.method), Path(source.name).name, engine, int(time.time()))
        self._all[name] = served
        return served


def check_names(adaptations: Mapping[str, str | Path]) -> None:
    """Raise unless each adaptation has a name that can stand in an address.

    Raises:
        LightAdaptError: there are none, or a name cannot be used.
    """
    if not isinstance(adaptations, Mapping) or not adaptations:
        raise LightAdaptError(f"serve({shown(adaptations)}): give {{name: folder}}, such as {{'ner': 'my-ner'}}.")
    for name in adaptations:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise LightAdaptError(
                f"The name {shown(name)} cannot be used: take letters, digits, - and _ (name=folder on the command "
                "line)."
            )


def _base_of(path: str | Path) -> tuple[str | None, str | None]:
    """The name and the revision of the base that an artifact was trained on."""
    folder = on_hub.fetch(str(path), None) if on_hub.is_on_hub(path) else Path(path)
    base = read_manifest(folder, peft_bridge.CONFIG_NAME)["base"]
    return base["id"], base["revision"]
