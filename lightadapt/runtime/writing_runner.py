"""A task that a language model does by its own output layer, on exported graphs: texts, and how likely they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightadapt.runtime.onnx_runner import OnnxRunner
from lightadapt.runtime.writer import DecoderWriter, EncoderDecoderWriter
from lightadapt.tasks.decoding.writing import Inferred
from lightadapt.tasks.encoding.sequences import new_tokens
from lightadapt.tasks.generation import Generation


class WritingRunner(OnnxRunner):
    """Runs a task on a model that writes, greedily."""

    def __init__(
        self, folder: Path, facts: Mapping[str, Any], *, threads: int | None = None, providers: Sequence[str] = ()
    ) -> None:
        super().__init__(folder, facts, threads=threads, providers=providers)
        kind = DecoderWriter if self._view.family == "decoder" else EncoderDecoderWriter
        self.writer: DecoderWriter | EncoderDecoderWriter = kind(self.sessions, facts["writing"])

    def infer(self, features: Sequence[Any], task: Any = None) -> list[Any]:
        task = task or self.task
        if not isinstance(task, Generation):
            return self._scores(task.arrays(features, self._view))
        losses, counts = np.zeros(len(features)), np.zeros(len(features), dtype=np.int64)
        if features[0].targets:
            totals, counts = self.writer.likelihoods(task.arrays(features, self._view))
            losses = -totals
        asked = [place for place, feature in enumerate(features) if feature.prompt is not None]
        written: dict[int, list[int]] = {}
        if asked:
            prompts = [features[place].prompt or [] for place in asked]
            written = dict(zip(asked, self._write(task, prompts), strict=True))
        return [
            Inferred(float(losses[place]), int(counts[place]), written.get(place)) for place in range(len(features))
        ]

    def _write(self, task: Generation, prompts: Sequence[list[int]]) -> list[list[int]]:
        view = self._view
        most = new_tokens(task.max_new_tokens, view) if view.family == "decoder" else task.max_new_tokens
        stops = (task.options or {}).get("stop_strings") or ()
        stops = [stops] if isinstance(stops, str) else stops

        def stopped(ids: Sequence[int]) -> bool:
            return bool(stops) and any(stop in view.tokenizer.decode(ids) for stop in stops)

        return self.writer.write(prompts, most=most, padding=view.tokenizer.pad_token_id or 0, stopped=stopped)

    def _scores(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The mean log probability of each choice of each question, as with torch."""
        totals, counts = self.writer.likelihoods(batch)
        return np.split(totals / counts.clip(1), batch["choices"].cumsum()[:-1])
