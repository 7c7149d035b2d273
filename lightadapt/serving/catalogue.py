"""Which adaptations are served, and the engine that computes each: those of one base share its weights and engine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightadapt.adapted import Adapted
from lightadapt.api import load
from lightadapt.errors import LightAdaptError, listed, nearest, shown
from lightadapt.serving.engine import Engine
from lightadapt.serving.failures import RequestError
from lightadapt.serving.metrics import Metrics
from lightadapt.serving.served import Described, Served, describe, describe_base, serve_as
from lightadapt.serving.settings import Settings
from lightadapt.tasks.generation import Generation


class Catalogue:
    """The adaptations by name."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._all: dict[str, Served] = {}
        self._engines: list[Engine] = []
        self._shared: dict[tuple[int, str, str], bool] = {}
        """Whether a method on certain layers shares the base of an engine."""

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

    @property
    def loaded(self) -> Mapping[str, int]:
        """How many adaptations of each base are in memory, by what `/v1/models` calls the base."""
        there = {id(engine): set(engine.adapted.names) for engine in self._engines}
        found: Counter[str] = Counter()
        for served in self:
            found[served.base] += served.name in there[id(served.engine)]
        return found

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

    def __iter__(self) -> Iterator[Served]:
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
            if self._settings.max_loaded is None:
                engine = self._hang_if_possible(name, path, how.get("base"))
                self._enter(name, engine or self._engine_for(load(path, **how), name))
            else:
                self._enter_unloaded(name, path, **how)
        for engine in self._engines:
            engine.pool.fill()
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
        if self._settings.max_loaded is not None:
            return self._add_to_pool(name, path)
        engine = self._hang(name, path)
        if engine is None:
            raise _other_base(path)
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
        if sum(other.engine is served.engine for other in self) == 1:
            raise RequestError(
                409, f"{shown(name)} is the only adapter of its base, which cannot be removed. Stop the server."
            )
        del self._all[name]
        if self._settings.max_loaded is None:
            served.engine.forget(name)
            served.engine.adapted.remove(name)
        else:
            served.engine.pool.forget(name)

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
        trained_on = describe_base(path)
        refusal: LightAdaptError | None = None
        for engine in self._engines:
            source = engine.adapted.runner.adaptation.design.blueprint.source
            if base is None and trained_on != (source.id, source.revision):
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

    def _enter_unloaded(self, name: str, path: str | Path, **how: Any) -> None:
        """Serve an adaptation that is loaded when it is asked for; the first of its base is loaded at once.

        Raises:
            LightAdaptError: what its manifest says cannot be served.
        """
        described = describe(path)
        engine = self._sharing(described, how.get("base"))
        if engine is None:
            engine = self._engine_for(load(path, **how), name)
            self._enter(name, engine)
            engine.pool.adopt(name, described.folder)
            return
        engine.adapted.check_name(name)
        engine.pool.know(name, described.folder)
        self._all[name] = serve_as(name, described.task, described.method, engine)

    def _sharing(self, described: Described, base: Any) -> Engine | None:
        """The engine whose base an artifact shares, by what its manifest says; None where there is none."""
        for engine in self._engines:
            design = engine.adapted.runner.adaptation.design
            source = design.blueprint.source
            if base is not None or described.base == (source.id, source.revision):
                key = (id(engine), repr(described.method), str(described.layers))
                if key not in self._shared:
                    self._shared[key] = _can_share(engine, described)
                if self._shared[key]:
                    return engine
        return None

    def _add_to_pool(self, name: str, path: Path) -> Served:
        """Serve another one, which has to come into memory once and answer a record of its task's own."""
        engine = self._sharing(describe(path), None)
        if engine is None:
            raise _other_base(path)
        engine.adapted.check_name(name)
        engine.pool.know(name, path)
        try:
            with engine.pool.holding([name]) as failed:
                if failed:
                    raise failed[name].__cause__ or failed[name]
                return self._enter(name, engine)
        except Exception:
            engine.pool.forget(name)
            raise

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
        self._all[name] = serve_as(name, task, adaptation.design.method, engine)
        return self._all[name]


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


def _can_share(engine: Engine, described: Described) -> bool:
    """Whether an artifact's method can hang on a base beside those that are there."""
    anatomy = engine.adapted.runner.adaptation.design.blueprint.anatomy
    try:
        engine.adapted.check_shareable(described.method, described.method.plan(anatomy, described.layers))
    except LightAdaptError:  # it or what is there changes the base itself
        return False
    return True


def _other_base(path: Path) -> RequestError:
    return RequestError(
        409, f"{path} was trained on another base than those in memory. Start a server with it from the start."
    )
