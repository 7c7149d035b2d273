"""Text classification as the guide of transformers has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recipes.recipe import Recipe, Row, split


class TextRecipe(Recipe):
    """One label a text."""

    auto_class = "AutoModelForSequenceClassification"
    peft_type = "SEQ_CLS"

    def tokenize(self, records: Sequence[Row]) -> list[Row]:
        """The rows without labels."""
        return split(self.tokenizer([record["text"] for record in records], truncation=True, max_length=512))

    def rows(self) -> list[Row]:
        """The training rows."""
        place = {label: number for number, label in enumerate(self.labels)}
        train = self.work["train"]
        return [
            row | {"labels": place[record["label"]]} for record, row in zip(train, self.tokenize(train), strict=True)
        ]

    def predict(self, model: Any) -> list[str]:
        """The label of each test record."""
        return [self.labels[choice] for choice in self.choices(model, self.tokenize(self.work["test"]))]
