"""What the guides for all tasks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from transformers import AutoTokenizer

ROWS = 16
"""Records a batch."""
TEST_ROWS = 32
IGNORED = -100

Work = dict[str, Any]
"""What to do: side, task, model, train, test, labels, epochs, seed, points, device, bf16, fit."""
Row = dict[str, Any]


def warm_up(work: Work) -> Work:
    """A short run of the same kind."""
    return {**work, "train": work["train"][: 2 * ROWS], "test": work["test"][:4], "points": 0, "epochs": 1}


def split(encoding: Any) -> list[Row]:
    """The rows of what a tokenizer gives."""
    return [dict(zip(encoding, values, strict=True)) for values in zip(*encoding.values(), strict=True)]


class Recipe(ABC):
    """How a task's records become rows for Trainer, and the model's outputs predictions."""

    auto_class: ClassVar[str]
    peft_type: ClassVar[str]
    lora: ClassVar[dict[str, Any]] = {
        "r": 16,
        "lora_alpha": 16,
        "lora_dropout": 0.1,
        "target_modules": ["query", "value"],
        "bias": "all",
    }
    adamw: ClassVar[dict[str, Any]] = {"learning_rate": 1e-3, "weight_decay": 0.01}

    def __init__(self, work: Work) -> None:
        self.work = work
        self.labels: list[str] = work["labels"]
        self.tokenizer = AutoTokenizer.from_pretrained(work["model"])
        self.fixed_length: int | None = None
        """Length that every row is padded to; None: the longest of the batch."""

    @abstractmethod
    def rows(self) -> list[Row]:
        """The training rows."""

    @abstractmethod
    def predict(self, model: Any) -> list[Any]:
        """A prediction for each test record."""

    def model_options(self) -> dict[str, Any]:
        """What the model's head needs to know: of labels, where there are some."""
        if not self.labels:
            return {}
        names = dict(enumerate(self.labels))
        return {"num_labels": len(names), "id2label": names, "label2id": {name: key for key, name in names.items()}}

    def pad(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """The rows without their targets as tensors."""
        columns = [{key: row[key] for key in self.tokenizer.model_input_names if key in row} for row in rows]
        how = {"padding": "max_length", "max_length": self.fixed_length} if self.fixed_length else {"padding": True}
        return dict(self.tokenizer.pad(columns, return_tensors="pt", **how))

    def collate(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """A batch for training."""
        others = [key for key in rows[0] if key not in self.tokenizer.model_input_names]
        return self.pad(rows) | {key: torch.tensor([row[key] for row in rows]) for key in others}

    @torch.no_grad()
    def outputs(self, model: Any, rows: Sequence[Row]) -> list[Any]:
        """What the model says to each batch of rows, with the rows."""
        training = model.training
        model.eval()
        found = []
        for start in range(0, len(rows), TEST_ROWS):
            chosen = rows[start : start + TEST_ROWS]
            batch = {key: value.to(model.device) for key, value in self.pad(chosen).items()}
            found.append((chosen, model(**batch)))
        model.train(training)
        return found

    def choices(self, model: Any, rows: Sequence[Row]) -> list[Any]:
        """The numbers of the labels that the model takes for each row."""
        return [choice for _, output in self.outputs(model, rows) for choice in output.logits.argmax(-1).tolist()]
