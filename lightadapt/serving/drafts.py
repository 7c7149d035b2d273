"""A text that is being written token by token, and the request that it belongs to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lightadapt.adapted import Adapted
from lightadapt.serving.choosing import Chooser, are_heeded
from lightadapt.serving.queue import Job
from lightadapt.serving.stepping import Stepper
from lightadapt.serving.writing import Pieces, Written, as_refusal, options_of, prompts_of, stops_of
from lightadapt.tasks.generation import Generation


class Drafts:
    """The texts of one request.

    Attributes:
        job: the request.
        written: those that are ready, in the order of its records; None for the others.
    """

    def __init__(self, job: Job, count: int, done: Callable[[Job, int], object]) -> None:
        """Count on so many texts.

        Args:
            done: is told when the request is to be answered, with the number of tokens that were written for it.
        """
        self.job = job
        self.written: list[Written | None] = [None] * count
        self._done = done

    @property
    def is_over(self) -> bool:
        """Whether it is answered, or nobody waits for the answer any more."""
        return self.job.answer.done() or self.job.given_up.is_set()

    def put(self, place: int, written: Written) -> None:
        """Take one of the texts; the last one answers the request."""
        self.written[place] = written
        ready = [each for each in self.written if each is not None]
        if len(ready) < len(self.written) or self.job.answer.done():
            return
        self._end(sum(each.tokens for each in ready))
        self.job.answer.set_result(ready if self.job.ask.written else [each.text for each in ready])

    def fail(self, error: Exception) -> None:
        """Answer the request with what is wrong with it."""
        if not self.job.answer.done():
            self._end(0)
            self.job.answer.set_exception(error)

    def _end(self, tokens: int) -> None:
        self.job.ended = time.monotonic()
        self._done(self.job, tokens)


class Draft:
    """A text that is being written.

    Attributes:
        stepper: what runs the model for it.
        ids: its tokens, those of the prompt first.
        prompt: how many of them are the prompt.
        most: how many tokens may follow that.
        chooser: chooses the next one.
    """

    def __init__(
        self, drafts: Drafts, place: int, prompt: list[int], stepper: Stepper, task: Generation, options: dict[str, Any]
    ) -> None:
        job = drafts.job
        self.drafts, self.stepper, self.name = drafts, stepper, job.name
        self.ids, self.prompt = list(prompt), len(prompt)
        self.most = int(options["max_new_tokens"])
        seed = None if job.ask.seed is None else job.ask.seed + place
        self.chooser = Chooser(options, self.prompt, stepper.device, seed)
        self._place, self._task, self._view = place, task, stepper.runner.view_of(task)
        self._ends = frozenset(options["eos_token_id"] or ())
        self._stops = stops_of(task)
        self._pieces = None if job.tell is None else Pieces(task, self._view, job.tell)

    @property
    def longest(self) -> int:
        """The tokens that it can come to, its prompt among them."""
        return self.prompt + self.most

    def write(self, token: int) -> bool:
        """Add a token; whether the text has come to its end, and is put where it is waited for."""
        self.ids.append(token)
        ended = token in self._ends or self._is_stopped()
        if not ended and len(self.ids) < self.longest:
            if self._pieces is not None:
                self._pieces.more([token])
            return False
        own = self.ids[self.prompt :]
        text = self._task.read_back(own, self._view)
        if self._pieces is not None:
            self._pieces.finish(text)
        self.drafts.put(self._place, Written(text, self.prompt, len(own), "stop" if ended else "length"))
        return True

    def _is_stopped(self) -> bool:
        """Whether the last token completes a stop string, which is looked for in as many tokens as can hold it."""
        if not self._stops:
            return False
        count = 8 + 4 * max(map(len, self._stops))  # a character has up to four bytes, and a byte can be a token
        last = self.ids[max(self.prompt, len(self.ids) - count) :]
        text = self._view.tokenizer.decode(last, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return any(stop in text for stop in self._stops)


def can_be_stepped(stepper: Stepper, job: Job) -> bool:
    """Whether the texts of a request can be written token by token, by the options of all who have a say."""
    ask, task = job.ask, stepper.runner.task
    if ask.scores or ask.unknown or ask.threshold is not None or not isinstance(task, Generation):
        return False
    return are_heeded({**stepper.options, **(task.options or {}), **(ask.options or {})})


def drafts_of(adapted: Adapted, stepper: Stepper, job: Job, done: Callable[[Job, int], object]) -> list[Draft]:
    """The texts that a request asks for.

    Raises:
        LightAdaptError: a record or an option cannot be used.
    """
    runner = stepper.runner
    with adapted.held():  # tokenizers have a state, and others use them, too
        task, prompts = prompts_of(runner, [job], job.ask.options or {})
        options = {**stepper.options, **options_of(runner, task)}
    drafts = Drafts(job, len(prompts), done)
    try:
        return [Draft(drafts, place, prompt, stepper, task, options) for place, prompt in enumerate(prompts)]
    except (ValueError, TypeError) as error:
        raise as_refusal(error) from error
