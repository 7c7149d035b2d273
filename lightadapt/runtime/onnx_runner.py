"""A task on an ONNX model: the same encoding and decoding as with torch, with onnxruntime in between."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightadapt.adaptation.batches import (
    BATCH_TOKENS_A_THREAD,
    PIECE_BATCHES,
    of_piece,
    sorted_batches,
    whole_examples,
)
from lightadapt.adaptation.reader import Reader
from lightadapt.data import Records
from lightadapt.runtime.sessions import open_session
from lightadapt.runtime.tokenizer import RuntimeTokenizer
from lightadapt.tasks import Feature, ModelView, Task, task_of_json

FILES = ("model.onnx",)
"""Those of an export that names none."""
OUTPUT = "logits"
"""The name of the one output: what `Task.logits_of` gives."""


class OnnxRunner(Reader):
    """Runs a task on an exported model.

    Attributes:
        task: with its labels.
        tokenizer: the one beside the model.
        accepted: the names of the model's inputs.
    """

    def __init__(
        self, folder: Path, facts: Mapping[str, Any], *, threads: int | None = None, providers: Sequence[str] = ()
    ) -> None:
        """Read the model and the tokenizer of a folder.

        Args:
            facts: what the export wrote for the runtime.
            threads: of onnxruntime; None: one for each core.
            providers: of onnxruntime, the first that can compute does; none: the CPU.
        """
        self.task: Task = task_of_json(facts["task"], facts["labels"])
        self.tokenizer = RuntimeTokenizer(folder, facts["tokenizer"])
        self._view = ModelView(self.tokenizer, facts["max_length"], facts["family"], tuple(facts["outputs"]))  # type: ignore[arg-type]
        self.threads = threads or os.cpu_count() or 1
        self.sessions = {
            Path(name).stem: open_session(folder / name, threads=threads, providers=providers)
            for name in facts.get("graphs", FILES)
        }
        self.session = next(iter(self.sessions.values()))
        """What reads the records."""
        self.accepted = [each.name for each in self.session.get_inputs()]

    def view_of(self, task: Task) -> ModelView:
        return self._view

    def infer(self, features: Sequence[Feature], task: Task | None = None) -> list[Any]:
        """What the model gives for a batch of features, one each, as `Task.infer` gives it.

        Args:
            task: another form of the task than the present one.
        """
        task = task or self.task
        arrays = task.arrays([replace(feature, targets={}) for feature in features], self._view)
        (logits,) = self.session.run([OUTPUT], {name: arrays[name] for name in self.accepted})
        return task.rows(logits, features)

    def predict(
        self,
        examples: Sequence[Any],
        records: Records,
        *,
        targets: bool = False,
        task: Task | None = None,
        batch_tokens: int | None = None,
    ) -> Iterator[Any]:
        self.check_legible(examples)
        task = task or self.task
        tokens = batch_tokens or BATCH_TOKENS_A_THREAD * self.threads
        features, sizes = self.encode_for_prediction(examples, records, targets=targets, task=task)
        for chosen, places in whole_examples(sizes.owners, sizes.costs, len(examples), PIECE_BATCHES * tokens):
            mine = [of_piece(features[place], chosen.start) for place in places]
            inferred = self._run(mine, sizes.costs[places.start : places.stop], tokens, task)
            yield from task.decode(examples[chosen.start : chosen.stop], mine, inferred, self._view)

    def _run(self, features: Sequence[Feature], costs: Sequence[int], tokens: int, task: Task) -> list[Any]:
        placed: dict[int, Any] = {}
        for indices in sorted_batches(costs, tokens):
            placed |= zip(indices, self.infer([features[index] for index in indices], task), strict=True)
        return [placed[index] for index in range(len(features))]
