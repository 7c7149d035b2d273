"""The adaptations of a base of which so many are in memory: one that is asked for comes in, the idlest goes."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any

from lightadapt.adaptation.slots import Known, Slot, read_known
from lightadapt.adapted import Adapted
from lightadapt.api import load
from lightadapt.errors import LightAdaptError
from lightadapt.serving.failures import RequestError
from lightadapt.serving.logs import log
from lightadapt.serving.metrics import Metrics
from lightadapt.serving.queue import Job


class Pool:
    """Adaptations on disk, of which at most so many are in memory, and which of them make room for others.

    One that is asked for is read by a thread of its own while others are computed. It takes the place of the one that
    was used longest ago and has no request waiting, where that is of its kind; else it is built anew.
    """

    def __init__(
        self, adapted: Adapted, most: int | None, waiting: Callable[[], Collection[str]], metrics: Metrics
    ) -> None:
        """Watch over the adaptations of a base.

        Args:
            most: how many may be in memory; None: all are, and nothing here is to be done.
            waiting: tells for which of them requests wait.
        """
        self._adapted, self._most, self._waiting, self._metrics = adapted, most, waiting, metrics
        self._paths: dict[str, Path] = {}
        self._known: dict[str, Known] = {}
        self._slots: OrderedDict[str, Slot] = OrderedDict()
        """What is in memory, the one used longest ago first."""
        self._held: Counter[str] = Counter()
        self._changing = threading.RLock()
        self._coming: dict[str, Future[Any]] = {}
        self._reader = ThreadPoolExecutor(1, "lightadapt-reader")

    @property
    def loaded(self) -> list[str]:
        """The names of those in memory, the one used longest ago first."""
        return list(self._slots)

    def know(self, name: str, path: Path) -> None:
        """Load the adaptation in that folder when it is asked for."""
        self._paths[name] = path

    def adopt(self, name: str, path: Path) -> None:
        """Likewise, of one that is in memory."""
        self.know(name, path)
        self._known[name], _ = read_known(path)
        self._slots[name] = self._adapted.slot(name, self._known[name])

    def fill(self) -> None:
        """Load as many as there is room for; what is wrong with one is told when it is asked for."""
        for name in list(self._paths):
            if len(self._slots) >= (self._most or 0):
                return
            with self.holding([name]):
                pass

    def forget(self, name: str) -> None:
        """Load it no more; what is in memory of it is freed, or the next takes its place where it is the only one."""
        with self._changing:
            del self._paths[name]
            self._known.pop(name, None)
            self._coming.pop(name, None)
            if name not in self._slots:
                return
            if len(self._slots) > 1:
                self._remove(name)
            else:
                free = next(each for each in map("free-{}".format, range(1_000_000)) if each not in self._paths)
                self._adapted.rename(name, free)
                slot = self._slots.pop(name)
                slot.name = free
                self._slots[free] = slot

    def close(self) -> None:
        """Read nothing any more."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def expect(self, name: str) -> None:
        """Begin to read one that is asked for and not in memory, while others are computed."""
        path = self._paths.get(name)
        if path is None or name in self._slots or name in self._coming:
            return
        if len(self._coming) >= (self._most or 0):  # those that nobody waits for any more are no longer kept
            waiting = set(self._waiting())
            for other in [other for other in list(self._coming) if other not in waiting]:
                self._coming.pop(other, None)
            if len(self._coming) >= (self._most or 0):
                return
        try:
            self._coming[name] = self._reader.submit(copy_context().run, read_known, path, self._known.get(name))
        except RuntimeError:  # it was closed meanwhile: nothing more is computed
            return

    def parts(self, jobs: Sequence[Job]) -> Iterator[list[Job]]:
        """Jobs in parts whose adaptations fit into memory together, last those that were never read before."""
        if self._most is None:
            yield list(jobs)
            return
        names = dict.fromkeys(job.name for job in jobs)
        for chosen in self._chosen(names, self._most):
            yield [job for job in jobs if job.name in chosen]

    def _chosen(self, names: Collection[str], most: int) -> Iterator[set[str]]:
        here = [name for name in names if self._is_ready(name)]
        others = [name for name in names if name not in set(here)]
        for group in (here, others):
            for start in range(0, len(group), most):
                yield set(group[start : start + most])

    def _is_ready(self, name: str) -> bool:
        """Whether one is there, has been read, or was read before: then a moment is enough."""
        coming = self._coming.get(name)
        return name in self._slots or name in self._known or (coming is not None and coming.done())

    @contextmanager
    def holding(self, names: Collection[str]) -> Iterator[Mapping[str, Exception]]:
        """Adaptations in memory, and there to stay, inside a `with` block; with why some are not there."""
        failed: dict[str, Exception] = {}
        if self._most is None:
            yield failed
            return
        with self._changing:
            self._held.update(names)
            for name in names:
                try:
                    self._bring(name)
                except RequestError as error:
                    failed[name] = error
                except LightAdaptError as error:
                    failed[name] = RequestError(503, f"The adapter {name!r} cannot be loaded now. {error}")
                except Exception as error:  # what any library raises over a file has to reach whoever asked
                    failed[name] = error
        try:
            yield failed
        finally:
            with self._changing:
                self._held -= Counter(list(names))
                while len(self._slots) > self._most and (idle := self._idle()):  # all were held when one came
                    self._remove(idle[0])

    # ---- in and out

    def _bring(self, name: str) -> None:
        """Have one in memory, as the one used last.

        Raises:
            RequestError: 404, it was removed meanwhile.
            LightAdaptError: it cannot be loaded.
        """
        if name in self._slots:
            self._coming.pop(name, None)
            self._slots.move_to_end(name)
            return
        if name not in self._paths:
            raise RequestError(404, f"The adapter {name!r} was removed meanwhile.")
        known, tensors = self._read(name)
        self._known[name] = known
        victim = self._victim(known)
        if victim is not None and self._slots[victim].takes(known):
            how = "place taken"
            self._slots[victim].refill(name, known, tensors)
            self._slots[name] = self._slots.pop(victim)
        else:
            how = "built"
            self._build(name, known, victim)
        self._metrics.loads.labels(how).inc()
        log.info("adapter loaded", extra={"facts": {"adapter": name, "how": how}})

    def _build(self, name: str, known: Known, victim: str | None) -> None:
        """Hang one on the base; the victim, if there is one, is removed for it."""
        stays = len(self._slots) == 1  # the base cannot be without any
        if victim is not None and not stays:
            self._remove(victim)
        load(self._paths[name], onto=self._adapted, name=name)
        self._slots[name] = self._adapted.slot(name, known)
        if victim is not None and stays:
            self._remove(victim)

    def _read(self, name: str) -> tuple[Known, Any]:
        coming = self._coming.pop(name, None)
        if coming is None:
            return read_known(self._paths[name], self._known.get(name))
        known, tensors = coming.result()
        return known, tensors

    def _victim(self, known: Known) -> str | None:
        """The one that makes room; None while there is room.

        Of the half that was used longest ago, one that takes the artifact's tensors is preferred. Those with requests
        that wait go only where all others are held.
        """
        assert self._most is not None
        free = [name for name in self._slots if name not in self._paths]
        if free or len(self._slots) < self._most:
            return next((name for name in free if self._slots[name].takes(known)), next(iter(free), None))
        waiting, idle = set(self._waiting()), self._idle()
        calm = [name for name in idle if name not in waiting] or idle
        older = calm[: -(-len(calm) // 2)]
        return next((name for name in older if self._slots[name].takes(known)), next(iter(older), None))

    def _idle(self) -> list[str]:
        """Those that nothing is being computed with, the one used longest ago first."""
        return [name for name in self._slots if not self._held[name]]

    def _remove(self, name: str) -> None:
        self._adapted.remove(name)
        del self._slots[name]
        log.info("adapter unloaded", extra={"facts": {"adapter": name}})
