"""Generated texts with their tokens, whole or piece by piece as they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from lightadapt.adaptation.batches import sorted_batches
from lightadapt.adaptation.prediction import suitable_tokens
from lightadapt.adaptation.runner import Runner
from lightadapt.adapted import Adapted
from lightadapt.data import Records
from lightadapt.errors import LightAdaptError
from lightadapt.serving.queue import Job
from lightadapt.tasks import ModelView
from lightadapt.tasks.decoding.writing import generation_options, write_on
from lightadapt.tasks.encoding.sequences import GenerationFeature
from lightadapt.tasks.generation import Generation

UNFINISHED = "\ufffd"
"""What tokenizers give for the first bytes of a character whose others are still to come."""


@dataclass(frozen=True)
class Written:
    """A generated text.

    Attributes:
        prompt_tokens: those that the model was given.
        tokens: those that it wrote, its end token included.
        finish: `"stop"` where it came to an end or to a stop string, `"length"` where it was cut off.
    """

    text: str
    prompt_tokens: int
    tokens: int
    finish: str


def write(adapted: Adapted, jobs: Sequence[Job], options: Mapping[str, Any]) -> list[Written]:
    """What the model writes for each record of the jobs, which are all for one adaptation.

    A job that tells comes alone, with one record.

    Raises:
        LightAdaptError: a record or an option cannot be used.
    """
    with adapted.computing(jobs[0].name) as runner, _drawing_from(jobs[0].ask.seed):
        task, prompts = prompts_of(runner, jobs, options)
        owners = [job for job in jobs for _ in job.inputs]
        costs = [len(prompt) + task.max_new_tokens for prompt in prompts]
        found: dict[int, Written] = {}
        runner.model.eval()
        for places in sorted_batches(costs, suitable_tokens(runner.model.device)):
            writer = _Writer(runner, task, [owners[place] for place in places])
            found |= dict(zip(places, writer.write([prompts[place] for place in places]), strict=True))
        return [found[place] for place in range(len(prompts))]


def prompts_of(runner: Runner, jobs: Sequence[Job], options: Mapping[str, Any]) -> tuple[Generation, list[list[int]]]:
    """The tokens to go on from, for each record of the jobs, and the task with the options.

    Raises:
        LightAdaptError: a record or an option cannot be used.
    """
    task = runner.task.with_options(options)
    if not isinstance(task, Generation):
        raise LightAdaptError(f"Adapter {jobs[0].name!r} does not generate text; its task is {task.name!r}.")
    items = [item for job in jobs for item in job.inputs]
    given = Records([task.as_record(item) for item in items])
    # Records have the names of columns that the task was trained with; a bare text or a client of OpenAI knows none.
    named = not jobs[0].ask.written and all(isinstance(item, Mapping) for item in items)
    records = task.read(given, split="test", columns=None if named else {}, labelled=False)
    examples = task.parse(records, labelled=False)
    if not jobs[0].ask.written:  # as `predict` does; it takes as long as all else here
        runner.check_legible(examples)
    features = runner.encode(examples, records, targets=False, task=task)
    return task, [feature.prompt or [] for feature in features if isinstance(feature, GenerationFeature)]


def options_of(runner: Runner, task: Generation) -> dict[str, Any]:
    """What `generate` is told for a task."""
    view = runner.view_of(task)
    chosen = {**task.language_options(view), **(task.options or {})}
    return generation_options(runner.model, view, chosen, task.max_new_tokens, task.end_tokens(view))


@contextmanager
def _drawing_from(seed: int | None) -> Iterator[None]:
    """Random numbers from a seed inside a `with` block; None: as they come."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


class _Writer:
    """Writes on from a batch of prompts."""

    def __init__(self, runner: Runner, task: Generation, owners: Sequence[Job]) -> None:
        self.model, self.view, self.task, self.owners = runner.model, runner.view_of(task), task, owners
        self.options = options_of(runner, task)

    def write(self, prompts: Sequence[list[int]]) -> list[Written]:
        tell = self.owners[0].tell
        pieces = None if tell is None else Pieces(self.task, self.view, tell)
        options = {**self.options, "stopping_criteria": StoppingCriteriaList([_GivenUp(self.owners)])}
        if pieces is not None and options["num_beams"] == 1:  # of several beams it is known at the end which is best
            options["streamer"] = pieces
        try:
            rows = write_on(self.model, prompts, self.view, options)
        except (ValueError, TypeError, RuntimeError, ArithmeticError, IndexError) as error:
            raise as_refusal(error) from error
        written = [self._read(prompt, row) for prompt, row in zip(prompts, rows, strict=True)]
        if pieces is not None:
            pieces.finish(written[0].text)
        return written

    def _read(self, prompt: list[int], row: list[int]) -> Written:
        """What was written in a row, without what pads it; of an encoder-decoder, without the token that starts it."""
        row = row if self.view.family == "decoder" else row[1:]
        ends = set(self.options["eos_token_id"] or ())
        stop = next((place for place, token in enumerate(row) if token in ends), None)
        count = len(row) if stop is None else stop + 1
        if stop is not None and self._stopped(row[:stop]):
            count = stop  # it ended before, and is padded with the end token
        while stop is None and count and row[count - 1] == self.options["pad_token_id"]:
            count -= 1
        cut = stop is None and count >= self.options["max_new_tokens"] and not self._stopped(row[:count])
        return Written(self.task.read_back(row[:count], self.view), len(prompt), count, "length" if cut else "stop")

    def _stopped(self, row: list[int]) -> bool:
        """Whether it ended with a stop string."""
        text = self.view.tokenizer.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return any(stop in text for stop in stops_of(self.task))


class _GivenUp(StoppingCriteria):
    """Ends the rows whose request nobody waits for any more."""

    def __init__(self, owners: Sequence[Job]) -> None:
        self._owners = owners

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: Any) -> torch.BoolTensor:
        ended = torch.tensor([job.given_up.is_set() for job in self._owners], device=input_ids.device)
        return ended.repeat_interleave(len(input_ids) // len(ended))  # type: ignore[return-value]


class Pieces:
    """Tells a text piece by piece while its tokens come, as a streamer of transformers.

    Together the pieces are the text that comes without streaming: what may still be cut off is held back.
    """

    def __init__(self, task: Generation, view: ModelView, tell: Callable[[str], None]) -> None:
        self._task, self._view, self._tell = task, view, tell
        self._ids: list[int] = []
        self._told = ""
        self._begun = False

    def put(self, value: torch.Tensor) -> None:
        """Take the next tokens; the first are those of the prompt."""
        if self._begun:
            self.more(value.flatten().tolist())
        self._begun = True

    def more(self, tokens: Sequence[int]) -> None:
        """Take tokens that were written."""
        self._ids += tokens
        self._tell_up_to(self._safe(self._task.read_back(self._ids, self._view)))

    def end(self) -> None:
        """Nothing more comes; `finish` tells the rest."""

    def finish(self, text: str) -> None:
        """Tell what is left of the whole text."""
        self._tell_up_to(text)

    def _safe(self, text: str) -> str:
        """The text without an end that may become a stop string, or a character."""
        text = text.rstrip(UNFINISHED)
        held = [
            length
            for stop in stops_of(self._task)
            for length in range(1, min(len(stop), len(text)) + 1)
            if text.endswith(stop[:length])
        ]
        return text[: len(text) - max(held, default=0)].rstrip()

    def _tell_up_to(self, text: str) -> None:
        if len(text) > len(self._told) and text.startswith(self._told):
            self._tell(text[len(self._told) :])
            self._told = text


def as_refusal(error: Exception) -> LightAdaptError:
    """What a model or one of transformers' options raised, as an error of who asked."""
    return LightAdaptError(f"Generating failed ({type(error).__name__}: {str(error)[:300]}).")


def stops_of(task: Generation) -> list[str]:
    """The texts that end what is written."""
    stops = (task.options or {}).get("stop_strings") or []
    return [stops] if isinstance(stops, str) else list(stops)
