"""Question answering as the guide of transformers has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from recipes.recipe import Recipe, Row, Work, split

WINDOW, OVERLAP, LONGEST_ANSWER, BEST_ENDS = 384, 128, 30, 20


class QuestionRecipe(Recipe):
    """The answer to a question, in windows of its context."""

    auto_class = "AutoModelForQuestionAnswering"
    peft_type = "QUESTION_ANS"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.fixed_length = WINDOW if work["side"] == "guide" else None

    def tokenize(self, records: Sequence[Row]) -> list[tuple[int, Row, list[Any]]]:
        """The windows: number of the record, row, and the characters of each position that is in the context."""
        encoding = self.tokenizer(
            [record["question"].strip() for record in records],
            [record["context"] for record in records],
            truncation="only_second",
            max_length=WINDOW,
            stride=OVERLAP,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        owners, offsets = encoding.pop("overflow_to_sample_mapping"), encoding.pop("offset_mapping")
        places = [
            [span if part == 1 else None for span, part in zip(spans, encoding.sequence_ids(number), strict=True)]
            for number, spans in enumerate(offsets)
        ]
        return list(zip(owners, split(encoding), places, strict=True))

    def rows(self) -> list[Row]:
        """The training rows; a window that does not hold the answer points at its first token."""
        rows = []
        for owner, row, places in self.tokenize(self.work["train"]):
            answer = self.work["train"][owner]["answers"]
            start = answer["answer_start"][0]
            end = start + len(answer["text"][0])
            first = [at for at, span in enumerate(places) if span and span[0] <= start < span[1]]
            last = [at for at, span in enumerate(places) if span and span[0] < end <= span[1]]
            both = (first[0], last[-1]) if first and last else (0, 0)
            rows.append(row | {"start_positions": both[0], "end_positions": both[1]})
        return rows

    def predict(self, model: Any) -> list[str]:
        """The best answer of each test record over its windows, by the sum of the logits of its ends."""
        windows = self.tokenize(self.work["test"])
        logits: list[Any] = []
        for _, output in self.outputs(model, [row for _, row, _ in windows]):
            logits += zip(output.start_logits.float().cpu(), output.end_logits.float().cpu(), strict=True)
        best = [(float("-inf"), "")] * len(self.work["test"])
        for (owner, _, places), (starts, ends) in zip(windows, logits, strict=True):
            found = best_span(starts, ends, places)
            if found is not None and found[0] > best[owner][0]:
                best[owner] = (found[0], self.work["test"][owner]["context"][found[1] : found[2]])
        return [text for _, text in best]


def best_span(starts: torch.Tensor, ends: torch.Tensor, places: Sequence[Any]) -> tuple[float, int, int] | None:
    """Score and characters of the best answer of a window; None without a possible one."""
    found = []
    for first in starts.topk(min(BEST_ENDS, len(starts))).indices.tolist():
        for last in ends.topk(min(BEST_ENDS, len(ends))).indices.tolist():
            inside = last < len(places) and first <= last < first + LONGEST_ANSWER
            if inside and places[first] and places[last]:
                found.append((float(starts[first] + ends[last]), places[first][0], places[last][1]))
    return max(found, default=None)
