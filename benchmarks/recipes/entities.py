"""Token classification as the guide of PEFT has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from recipes.recipe import IGNORED, Recipe, Row, split


class TokenRecipe(Recipe):
    """Entities; the first sub-word of a word carries its tag."""

    auto_class = "AutoModelForTokenClassification"
    peft_type = "TOKEN_CLS"

    def tokenize(self, records: Sequence[Row]) -> tuple[list[Row], list[list[int | None]]]:
        """The rows, and the word that begins at each of their positions."""
        encoding = self.tokenizer(
            [record["tokens"] for record in records], is_split_into_words=True, truncation=True, max_length=512
        )
        words = [encoding.word_ids(number) for number in range(len(records))]
        first = [
            [word if place == 0 or word != mine[place - 1] else None for place, word in enumerate(mine)]
            for mine in words
        ]
        return split(encoding), first

    def rows(self) -> list[Row]:
        """The training rows."""
        place = {tag: number for number, tag in enumerate(self.labels)}
        rows, words = self.tokenize(self.work["train"])
        for record, row, mine in zip(self.work["train"], rows, words, strict=True):
            row["labels"] = [IGNORED if word is None else place[record["tags"][word]] for word in mine]
        return rows

    def collate(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """A batch for training."""
        batch = self.pad(rows)
        width = batch["input_ids"].shape[1]
        labels = [row["labels"] + [IGNORED] * (width - len(row["labels"])) for row in rows]
        return batch | {"labels": torch.tensor(labels)}

    def predict(self, model: Any) -> list[list[str]]:
        """The tags of each test record; words that were cut off have none."""
        rows, words = self.tokenize(self.work["test"])
        found = []
        for record, mine, choices in zip(self.work["test"], words, self.choices(model, rows), strict=True):
            tags = ["O"] * len(record["tokens"])
            for word, choice in zip(mine, choices, strict=False):
                if word is not None:
                    tags[word] = self.labels[choice]
            found.append(tags)
        return found
