"""The running batch of decodes of one base: texts join it and leave it between two tokens."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from lightadapt.adaptation.prediction import suitable_tokens
from lightadapt.adapted import Adapted
from lightadapt.errors import LightAdaptError, NoAdaptationError
from lightadapt.serving.choosing import choose
from lightadapt.serving.drafts import Draft, can_be_stepped, drafts_of
from lightadapt.serving.metrics import Metrics
from lightadapt.serving.queue import Job
from lightadapt.serving.rows import Part, Rows
from lightadapt.serving.settings import Settings
from lightadapt.serving.stepping import Stepper, stepper_of
from lightadapt.serving.together import computing, in_order, passes
from lightadapt.serving.writing import as_refusal

Found = TypeVar("Found")


class Decoding:
    """Writes texts for many requests at once, a token of each at a time.

    Nothing is held between two steps but the keys and values of what was written. So a text joins when there is room
    for all that it can come to, leaves when it has ended or nobody waits for it any more, and other threads get the
    base in between.
    """

    def __init__(self, adapted: Adapted, settings: Settings, metrics: Metrics) -> None:
        self._adapted, self._settings, self._metrics = adapted, settings, metrics
        self._steppers: dict[str, Stepper] = {}
        self._waiting: deque[Draft] = deque()
        self._drafts: list[Draft] = []
        """Those that are being written, in the order of the rows."""
        self._rows = Rows()

    def __bool__(self) -> bool:
        """Whether there is something to write."""
        return bool(self._drafts or self._waiting)

    @property
    def jobs(self) -> list[Job]:
        """Those whose texts are being written, or are to be."""
        return [draft.drafts.job for draft in (*self._drafts, *self._waiting)]

    @property
    def takes_more(self) -> bool:
        """Whether all that it took has found room."""
        return not self._waiting

    # ---- which adapters and requests

    def learn(self, name: str) -> None:
        """Try whether the decoder of an adapter can be run step by step."""
        host = next((stepper.runner.model for stepper in self._steppers.values()), None)
        with self._adapted.computing(name) as runner:
            stepper = stepper_of(runner, host)
        if stepper is not None:
            self._steppers[name] = stepper

    def forget(self, name: str) -> None:
        """Take no more texts for an adapter."""
        stepper = self._steppers.pop(name, None)
        if stepper is not None:
            stepper.gone = True

    def serves(self, job: Job) -> bool:
        """Whether the texts of a request can be written here."""
        stepper = self._steppers.get(job.name)
        return stepper is not None and can_be_stepped(stepper, job)

    def add(self, job: Job) -> None:
        """Write the texts of a request as soon as there is room; what is wrong with it is its answer."""
        job.started = time.monotonic()
        stepper = self._steppers.get(job.name)
        try:
            if stepper is None:
                raise NoAdaptationError(f"The adapter {job.name!r} was removed meanwhile.")
            self._waiting += drafts_of(self._adapted, stepper, job, self._note)
        except Exception as error:  # what a tokenizer or a template raises has to reach whoever asked
            job.ended = time.monotonic()
            job.answer.set_exception(error)

    def _note(self, job: Job, tokens: int) -> None:
        self._metrics.tokens.labels(job.name).inc(tokens)
        self._metrics.note_jobs([job])

    # ---- a step

    def step(self) -> None:
        """Let texts leave and join, and write a token of each."""
        self._leave()
        joining = self._joining()
        if joining:
            try:
                self._join(joining)
            except Exception as error:  # they are neither among those that wait nor among those that are written
                for draft in joining:
                    draft.drafts.fail(error)
                raise
        if self._drafts:
            self._metrics.decodes.observe(len(self._drafts))
            self._go_on()

    def fail(self, error: Exception) -> None:
        """Answer all with an error."""
        for draft in (*self._drafts, *self._waiting):
            draft.drafts.fail(error)
        self._waiting.clear()
        self._drafts, self._rows = [], Rows()

    def _leave(self) -> None:
        """Let go of what nobody waits for any more."""
        for draft in (*self._drafts, *self._waiting):
            if draft.drafts.job.given_up.is_set():
                draft.drafts.fail(LightAdaptError("Nobody waits for this text any more."))
        self._waiting = deque(draft for draft in self._waiting if not draft.drafts.is_over)
        self._keep([place for place, draft in enumerate(self._drafts) if not draft.drafts.is_over])

    def _keep(self, places: Sequence[int]) -> None:
        """Let go of all rows but these."""
        if len(places) < len(self._drafts):
            self._drafts = [self._drafts[place] for place in places]
            self._rows.lay_out([self._rows.part(places)], range(len(places)))

    def _joining(self) -> list[Draft]:
        """The texts that wait for which there is room, in the order in which they came.

        What may be read at once is limited, so that a step does not take long for those that are being written.
        """
        found: list[Draft] = []
        longest = max((draft.longest for draft in self._drafts), default=0)
        prompt, most = 0, self._settings.decode_tokens
        while self._waiting:
            draft = self._waiting[0]
            longest, prompt = max(longest, draft.longest), max(prompt, draft.prompt)
            rows = len(self._drafts) + len(found) + 1
            if rows > 1 and rows * longest > most:
                break
            if found and (len(found) + 1) * prompt > suitable_tokens(draft.stepper.device):
                break
            found.append(self._waiting.popleft())
        return sorted(found, key=in_order)

    def _join(self, joining: Sequence[Draft]) -> None:
        """Read the prompts of texts, and write the first token of each."""
        together = len(self._drafts) + len(joining)
        for draft in joining:
            draft.drafts.job.together = max(draft.drafts.job.together, together)
        parts: list[Part] = []
        logits: list[torch.Tensor] = []
        read: list[Draft] = []
        for which in passes(joining):
            for drafts, outcome in self._halving(joining[which], self._read):
                if isinstance(outcome, Exception):
                    drafts[0].drafts.fail(outcome)
                    continue
                scores, part = outcome
                logits += scores
                parts.append(part)
                read += drafts
        if not read:
            return
        going = set(self._write(read, logits))
        rest, kept, begin = [], list(self._drafts), 0
        for part in parts:
            places = [place for place in part.places if begin + place in going]
            rest.append(Part(part.layers, places, [part.lengths[place] for place in places]))
            kept += [read[begin + place] for place in places]
            begin += len(part.places)
        self._drafts = sorted(kept, key=in_order)
        places_of = {id(draft): place for place, draft in enumerate(self._drafts)}
        order = [places_of[id(draft)] for draft in kept]
        before = [self._rows.part(range(len(self._rows.lengths)))] if self._rows.lengths else []
        self._rows.lay_out([*before, *rest], order)

    def _read(self, drafts: Sequence[Draft]) -> tuple[torch.Tensor, Part]:
        with computing(self._adapted, drafts, max(draft.prompt for draft in drafts)) as model:
            return drafts[0].stepper.read(model, [draft.ids for draft in drafts])

    def _go_on(self) -> None:
        """Write the next token of each text."""
        self._rows.make_room()
        logits: list[torch.Tensor] = []
        failed: set[int] = set()
        for which in passes(self._drafts):
            begin = which.start
            for drafts, outcome in self._halving(self._drafts[which], self._next):
                if isinstance(outcome, Exception):
                    drafts[0].drafts.fail(outcome)
                    failed.add(begin)
                else:
                    logits += outcome
                begin += len(drafts)
        self._rows.advance()
        places = [place for place in range(len(self._drafts)) if place not in failed]
        going = self._write([self._drafts[place] for place in places], logits) if places else []
        self._keep([places[place] for place in going])

    def _next(self, drafts: Sequence[Draft]) -> torch.Tensor:
        begin = next(place for place, draft in enumerate(self._drafts) if draft is drafts[0])
        which = slice(begin, begin + len(drafts))
        with computing(self._adapted, drafts, 1) as model:
            return drafts[0].stepper.go_on(model, self._rows, which, [draft.ids[-1] for draft in drafts])

    def _write(self, drafts: Sequence[Draft], logits: Sequence[torch.Tensor]) -> list[int]:
        """Write the next token of each of these texts; which of them go on."""
        going = []
        chosen = choose([(draft.chooser, draft.ids) for draft in drafts], logits)
        for place, (draft, token) in enumerate(zip(drafts, chosen, strict=True)):
            try:
                if isinstance(token, Exception):
                    raise as_refusal(token) from token
                if not draft.write(token):
                    going.append(place)
            except Exception as error:  # of one text alone
                draft.drafts.fail(error)
        return going

    def _halving(
        self, drafts: Sequence[Draft], compute: Callable[[Sequence[Draft]], Found]
    ) -> list[tuple[Sequence[Draft], Found | Exception]]:
        """What is computed for all together; where that fails, for each half, so that one alone gets the error.

        What a step that failed has written is written again by the next one, so that it can be tried again.
        """
        try:
            return [(drafts, compute(drafts))]
        except Exception as error:  # what any model or device raises has to reach whoever asked
            if len(drafts) == 1:
                return [(drafts, error)]
        middle = len(drafts) // 2
        return self._halving(drafts[:middle], compute) + self._halving(drafts[middle:], compute)
