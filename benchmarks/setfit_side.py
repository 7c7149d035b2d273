"""SetFit's side of few_labels.py, for an environment of its own: records come in as JSON, the accuracy goes out."""

from __future__ import annotations

import json
import sys
import time
from tempfile import TemporaryDirectory
from typing import Any

MANY_CLASSES = 20
"""From so many on, its defaults form pairs for hours."""


def main() -> None:
    """Train on the records of the standard input, and print the accuracy and the seconds of training."""
    import torch
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    asked: dict[str, Any] = json.load(sys.stdin)
    torch.set_num_threads(asked["threads"])
    labels = sorted({record["label"] for record in asked["train"]})
    numbers = {label: number for number, label in enumerate(labels)}
    train, test = (
        Dataset.from_list([{"text": each["text"], "label": numbers[each["label"]]} for each in asked[part]])
        for part in ("train", "test")
    )
    model = SetFitModel.from_pretrained(asked["model"])
    few = {"num_iterations": 5} if len(labels) >= MANY_CLASSES else {}
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            seed=asked["seed"], output_dir=folder, save_strategy="no", report_to="none", show_progress_bar=False, **few
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=train)
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
    given = model.predict(test["text"], show_progress_bar=False)
    right = sum(int(one) == other for one, other in zip(given, test["label"], strict=True))
    print(json.dumps({"accuracy": right / len(test), "seconds": round(seconds, 1)}))


if __name__ == "__main__":
    main()
