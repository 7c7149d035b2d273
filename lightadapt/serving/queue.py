"""Dynamic batching: requests that wait are taken together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from lightadapt.serving.failures import RequestError
from lightadapt.serving.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Ask:
    """How records are to be answered; those of requests that ask the same way can be computed together."""

    scores: bool = False
    options: Mapping[str, Any] | None = None
    threshold: float | None = None
    unknown: bool = False
    generates: bool = False
    """Whether texts are to be generated, whose tokens are counted."""
    written: bool = False
    """Whether the texts that are generated are wanted with their tokens, as OpenAI's clients count them."""
    seed: int | None = None
    """What texts are drawn from, so that the same request gets the same; None: each time others."""


@dataclass(eq=False)
class Job:
    """A request in the queue.

    Attributes:
        name: the adaptation that answers.
        tell: takes pieces of a text while it is generated; None: all is wanted at the end.
        answer: the predictions; cancelled when nobody waits for them any more.
        given_up: set at the same time, for what is being generated already.
        request_id: of the request, for what is logged while it is computed.
        stepped: whether its texts are written with those of others token by token, and not by one call.
    """

    name: str
    inputs: Sequence[Any]
    ask: Ask = field(default_factory=Ask)
    tell: Callable[[str], None] | None = None
    answer: Future[list[Any]] = field(default_factory=Future)
    given_up: threading.Event = field(default_factory=threading.Event)
    request_id: str = ""
    stepped: bool = False
    arrived: float = field(default_factory=time.monotonic)
    started: float = 0.0
    ended: float = 0.0
    together: int = 0
    """The records that were computed together with those of this request, itself included."""

    def __post_init__(self) -> None:
        self.characters = sum(map(characters_of, self.inputs))
        self.key = self._key()

    def _key(self) -> Hashable:
        """Equal for jobs that one call of `predict` can answer as if each came alone.

        Records of other fields are kept apart: what is a slip in the name of a field depends on the fields around it.
        """
        if self.is_alone:
            return id(self)
        mappings = [item for item in self.inputs if isinstance(item, dict)]
        fields = frozenset(key for item in mappings for key in item) if len(mappings) == len(self.inputs) else None
        ask = self.ask
        alone = self.name if ask.generates or ask.unknown else None
        return (alone, ask.scores, ask.unknown, repr(ask.options), ask.threshold, fields)

    @property
    def is_alone(self) -> bool:
        """Whether no other request can be computed with it: its text is told in pieces, or drawn from its own seed."""
        return self.tell is not None or self.ask.seed is not None

    def give_up(self) -> None:
        """Nobody waits for the answer any more: what has not begun is dropped, what is being generated stops."""
        self.given_up.set()
        self.answer.cancel()


def characters_of(value: Any) -> int:
    """How long the texts in an input are, a stand-in for tokens that costs next to nothing.

    >>> characters_of({"question": "Who?", "context": ["Ada", "Bea"]})
    10
    """
    found, rest = 0, [value]
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            found += len(value)
        elif isinstance(value, dict):
            rest += value.values()
        elif isinstance(value, list):
            rest += value
    return found


class Queue:
    """The requests that wait for one base, first come, first served; safe to use from many threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._jobs: list[Job] = []
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        """The records that wait."""
        with self._changed:
            self._drop()
            return self._records()

    def names(self) -> set[str]:
        """The adaptations for which requests wait."""
        with self._changed:
            return {job.name for job in self._jobs}

    def put(self, job: Job) -> None:
        """Let a request wait.

        Raises:
            RequestError: 429 when there is no room for it, 503 when the server stops.
        """
        with self._changed:
            if self._closed:
                raise RequestError(503, "The server is stopping. Ask another one, or later.", {"Retry-After": "5"})
            self._drop()
            waiting = self._records()
            if waiting + len(job.inputs) > self._settings.queue_records:
                raise RequestError(
                    429,
                    f"{waiting:,} records are waiting, and {self._settings.queue_records:,} is the most. Ask again in "
                    "a second.",
                    {"Retry-After": "1"},
                )
            self._jobs.append(job)
            self._changed.notify()

    def take(self, *, wait: bool = True) -> list[Job]:
        """The next requests to be computed by one call, the oldest first; none when there are no such.

        What comes while nothing is computed is taken at once. Of what came meanwhile, it waits for more until there are
        enough, or the oldest has waited long enough.

        Args:
            wait: whether there is nothing else to do. Then it waits for requests of any kind or the end.
        """
        idle = False
        with self._changed:
            while True:
                self._drop()
                jobs = [job for job in self._jobs if not job.stepped]
                if not jobs:
                    if self._closed or self._jobs or not wait:
                        return []
                    idle = True
                    self._changed.wait()
                    continue
                chosen, full = self._fitting(jobs)
                left = jobs[0].arrived + self._settings.max_wait_ms / 1_000 - time.monotonic()
                if idle or full or left <= 0 or self._closed or not wait:
                    taken = {id(job) for job in chosen}
                    self._jobs = [job for job in self._jobs if id(job) not in taken]
                    return chosen
                self._changed.wait(left)

    def take_stepped(self) -> Job | None:
        """The oldest request whose texts are written token by token; None when none waits."""
        with self._changed:
            self._drop()
            job = next((job for job in self._jobs if job.stepped), None)
            if job is not None:
                self._jobs.remove(job)
            return job

    @property
    def is_over(self) -> bool:
        """Whether it is closed and empty."""
        with self._changed:
            self._drop()
            return self._closed and not self._jobs

    def close(self) -> None:
        """Take no more requests; those that wait are still computed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _records(self) -> int:
        return sum(len(job.inputs) for job in self._jobs)

    def _drop(self) -> None:
        """Forget what nobody waits for any more."""
        self._jobs = [job for job in self._jobs if not job.answer.cancelled()]

    def _fitting(self, jobs: Sequence[Job]) -> tuple[list[Job], bool]:
        """The oldest request and those like it, as many as fit; and whether there is no point in waiting for more."""
        first = jobs[0]
        chosen, records, characters = [first], len(first.inputs), first.characters
        most, longest = self._settings.batch_records, self._settings.batch_characters
        for job in jobs[1:]:
            if job.key != first.key:
                continue
            if records + len(job.inputs) > most or characters + job.characters > longest:
                return chosen, True
            chosen.append(job)
            records, characters = records + len(job.inputs), characters + job.characters
        return chosen, records >= most or characters >= longest or first.is_alone
