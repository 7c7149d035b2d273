"""The thread that computes for one base: it takes what waits, and each request gets its own predictions or error.

It has two kinds of work, texts that are written token by token and all else, and gives each the same time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from lightadapt.adapted import Adapted
from lightadapt.serving.decoding import Decoding
from lightadapt.serving.logs import about, log
from lightadapt.serving.metrics import Metrics
from lightadapt.serving.pool import Pool
from lightadapt.serving.queue import Job, Queue
from lightadapt.serving.settings import Settings
from lightadapt.serving.writing import write


class Engine:
    """Computes for the adaptations of one base, one batch after the other."""

    def __init__(self, adapted: Adapted, settings: Settings, metrics: Metrics) -> None:
        self.adapted = adapted
        adapted.dedicate()
        self.queue = Queue(settings)
        self.pool = Pool(adapted, settings.max_loaded, self.queue.names, metrics)
        self._settings = settings
        self._metrics = metrics
        self._decoding = Decoding(adapted, settings, metrics)
        self._lead = 0.0
        """Seconds that the decodes had more than all else since both had something to do."""
        self._thread = threading.Thread(target=self._run, name="lightadapt-engine", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether it computes, or waits for something to compute."""
        return self._thread.is_alive()

    def learn(self, name: str) -> None:
        """Find out how an adapter that has come to stay is best computed."""
        if self._settings.max_loaded is None:  # texts that go on for seconds would hold what makes room for others
            self._decoding.learn(name)

    def forget(self, name: str) -> None:
        """Take no more requests for an adapter that is about to go."""
        self._decoding.forget(name)

    def start(self) -> None:
        """Begin to compute."""
        self._thread.start()

    def stop(self, patience: float | None = None) -> None:
        """Compute what waits, for so many seconds at most, and end."""
        self.queue.close()
        if self._thread.is_alive():
            self._thread.join(patience)
        self.pool.close()

    def put(self, job: Job) -> None:
        """Let a request wait, and its adaptation come if it is not in memory.

        Raises:
            RequestError: 429 when there is no room for it, 503 when the server stops.
        """
        job.stepped = self._decoding.serves(job)
        self.queue.put(job)
        self.pool.expect(job.name)

    def _run(self) -> None:
        try:
            self._compute_all()
        except BaseException:  # `/health` tells of it
            log.critical("engine ended", exc_info=True)

    def _compute_all(self) -> None:
        """Compute what comes until the queue is closed and empty."""
        while not self.queue.is_over or self._decoding:
            self._take_stepped()
            turn = self._lead >= 0 or not self._decoding
            waiting = self.queue.take(wait=not self._decoding) if turn else []
            start = time.monotonic()
            if waiting:
                jobs = [job for job in waiting if job.answer.set_running_or_notify_cancel()]
                for part in self.pool.parts(jobs):
                    self._compute_held(part)
                self._lead = self._lead - (time.monotonic() - start) if self._decoding else 0.0
            elif self._decoding:
                self._step()
                self._lead = 0.0 if turn else self._lead + time.monotonic() - start

    def _take_stepped(self) -> None:
        """Take requests for texts out of the queue, as long as there is room to write them."""
        while self._decoding.takes_more and (job := self.queue.take_stepped()) is not None:
            if job.answer.set_running_or_notify_cancel():
                with about(job.request_id):
                    self._decoding.add(job)

    def _step(self) -> None:
        try:
            with _about(self._decoding.jobs):
                self._decoding.step()
        except Exception as error:  # whoever waits has to hear of it, and the others be computed
            self._decoding.fail(error)

    def _compute_held(self, jobs: Sequence[Job]) -> None:
        """Answer jobs whose adaptations fit into memory together."""
        with _about(jobs), self.pool.holding({job.name for job in jobs}) as failed:
            for job in jobs:
                if job.name in failed:
                    job.answer.set_exception(failed[job.name])
            there = [job for job in jobs if job.name not in failed]
            if there:
                self._compute(there)

    def _compute(self, jobs: Sequence[Job]) -> None:
        started, together = time.monotonic(), sum(len(job.inputs) for job in jobs)
        for job in jobs:
            job.started, job.together = started, together
        outcomes = self._outcomes(jobs)
        self._metrics.note_batch(jobs, self._settings.batch_records)
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, Exception):
                job.answer.set_exception(outcome)
            else:
                job.answer.set_result(outcome)

    def _outcomes(self, jobs: Sequence[Job]) -> list[list[Any] | Exception]:
        """The predictions for each job, or what is wrong with it.

        What goes wrong for several at once is found by halving, so that it is told to one request alone. Records are
        refused before anything of them is inferred, so what is wrong with one request costs the others little.
        """
        try:
            with _about(jobs):
                found = self._found(jobs)
        except Exception as error:  # what any model, tokenizer or device raises has to reach whoever asked
            if len(jobs) > 1:
                middle = len(jobs) // 2
                return self._outcomes(jobs[:middle]) + self._outcomes(jobs[middle:])
            jobs[0].ended = time.monotonic()
            return [error]
        ended, parts = time.monotonic(), iter(found)
        for job in jobs:
            job.ended = ended
        return [[next(parts) for _ in job.inputs] for job in jobs]

    def _found(self, jobs: Sequence[Job]) -> list[Any]:
        """The predictions for the inputs of all jobs, which ask in the same way."""
        ask, inputs = jobs[0].ask, [item for job in jobs for item in job.inputs]
        if ask.generates:
            written = write(self.adapted, jobs, ask.options or {})
            self._metrics.tokens.labels(jobs[0].name).inc(sum(each.tokens for each in written))
            return list(written) if ask.written else [each.text for each in written]
        names = [job.name for job in jobs for _ in job.inputs]
        same = len(set(names)) == 1
        return self.adapted.predict(
            inputs,
            adapter=names[0] if same else names,
            scores=ask.scores,
            options=ask.options,
            threshold=ask.threshold,
            unknown=ask.unknown,
        )


def _about(jobs: Sequence[Job]) -> AbstractContextManager[None]:
    """A block whose lines in the log have the ids of the requests of jobs."""
    return about(*dict.fromkeys(job.request_id for job in jobs))
