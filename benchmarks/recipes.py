"""What the guides of PEFT, transformers and AdapterHub do, as one run whose facts are written down.

python benchmarks/recipes.py WORK.json FACTS.json

benchmarks/train_speed.py writes the work, calls this in a process of its own and reads the facts. Nothing here needs
lightadapt, so it also runs with the interpreter of an environment that has AdapterHub's `adapters` and the older
transformers of that library.

- `guide`: https://huggingface.co/docs/peft/v0.7.0/task_guides/token-classification-lora as it is: 16 records a batch,
  each batch padded to its longest, LoRA of rank 16 (alpha 16, dropout 0.1) on query and value, all biases trained, rate
  1e-3, weight decay 0.01, Trainer's defaults else; no evaluation and no checkpoint inside the time that is counted.
  Classification prepares its data as transformers' text classification guide does. Question answering does so as that
  of transformers: windows of 384 tokens, all padded to that length, with the overlap of 128 of its example script.
- `tuned`: the same with records of like length together, padded to the longest of the batch, and in bf16 where the
  processor computes it.
- `adapterhub`: the model and LoRA of `adapters` (same rank, alpha, dropout and projections; no biases, which it does
  not have), the data as for `guide`, padded to the longest of the batch.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers
from measuring import Pauses, peak_since, quiet, start_peak
from transformers import AutoTokenizer, Trainer, TrainerCallback, TrainingArguments

ROWS = 16
"""Records a batch."""
TEST_ROWS = 32
IGNORED = -100
WINDOW, OVERLAP, LONGEST_ANSWER, BEST_ENDS = 384, 128, 30, 20

Work = dict[str, Any]
"""What to do: side, task, model, train, test, labels, epochs, seed, threads, points, device, bf16, fit."""


class Watch(TrainerCallback):
    """The seconds of training, and what is predicted at the start and at so many points; predicting takes none."""

    def __init__(self, points: int) -> None:
        self.points = points
        self.predict: Callable[[], list[Any]] | None = None
        self.pauses = Pauses()
        self.curve: list[tuple[float, int, list[Any]]] = []
        self.epochs: list[float] = []
        """The seconds of each epoch."""
        self.seconds = self.cpu = 0.0
        """Seconds of training, and those of the CPU among them."""
        self.begun = 0.0
        """When training began, by `time.perf_counter`."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.begun = time.perf_counter()
        self.pauses.start()
        self.look(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Predict where a point is due."""
        step, last = state.global_step, state.max_steps
        if self.points and step < last and step * self.points // last > (step - 1) * self.points // last:
            self.look(step)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the seconds of the epoch."""
        self.epochs.append(self.pauses.read()[0] - sum(self.epochs))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the clock and predict for the last time."""
        self.seconds, self.cpu = self.pauses.read()
        self.look(state.global_step)

    def facts(self, start: float) -> dict[str, Any]:
        """What was measured of a run that was begun at `start` (by `time.perf_counter`)."""
        set_up = self.begun - start
        times = {"set_up": set_up, "seconds": self.seconds, "cpu": self.cpu, "whole": set_up + self.seconds}
        return {**times, "epochs": self.epochs, "curve": self.curve}

    def look(self, step: int) -> None:
        """Predict the test records now."""
        if self.predict is not None and self.points:
            seconds, _ = self.pauses.read()
            with self.pauses:
                self.curve.append((seconds, step, self.predict()))


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
    def rows(self) -> list[dict[str, Any]]:
        """The training rows."""

    @abstractmethod
    def predict(self, model: Any) -> list[Any]:
        """A prediction for each test record."""

    def model_options(self) -> dict[str, Any]:
        """What the model's head needs to know."""
        names = dict(enumerate(self.labels))
        return {"num_labels": len(names), "id2label": names, "label2id": {name: key for key, name in names.items()}}

    def pad(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The rows without their targets as tensors."""
        columns = [{key: row[key] for key in self.tokenizer.model_input_names if key in row} for row in rows]
        how = {"padding": "max_length", "max_length": self.fixed_length} if self.fixed_length else {"padding": True}
        return dict(self.tokenizer.pad(columns, return_tensors="pt", **how))

    def collate(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """A batch for training."""
        others = [key for key in rows[0] if key not in self.tokenizer.model_input_names]
        return self.pad(rows) | {key: torch.tensor([row[key] for row in rows]) for key in others}

    @torch.no_grad()
    def outputs(self, model: Any, rows: Sequence[dict[str, Any]]) -> list[Any]:
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


class TokenRecipe(Recipe):
    """Entities; the first sub-word of a word carries its tag."""

    auto_class = "AutoModelForTokenClassification"
    peft_type = "TOKEN_CLS"

    def tokenize(self, records: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[list[int | None]]]:
        """The rows, and the word that begins at each of their positions."""
        encoding = self.tokenizer(
            [record["tokens"] for record in records], is_split_into_words=True, truncation=True, max_length=512
        )
        rows = [{key: encoding[key][number] for key in encoding} for number in range(len(records))]
        words = [encoding.word_ids(number) for number in range(len(records))]
        first = [
            [word if place == 0 or word != mine[place - 1] else None for place, word in enumerate(mine)]
            for mine in words
        ]
        return rows, first

    def rows(self) -> list[dict[str, Any]]:
        """The training rows."""
        place = {tag: number for number, tag in enumerate(self.labels)}
        rows, words = self.tokenize(self.work["train"])
        for record, row, mine in zip(self.work["train"], rows, words, strict=True):
            row["labels"] = [IGNORED if word is None else place[record["tags"][word]] for word in mine]
        return rows

    def collate(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """A batch for training."""
        batch = self.pad(rows)
        width = batch["input_ids"].shape[1]
        labels = [row["labels"] + [IGNORED] * (width - len(row["labels"])) for row in rows]
        return batch | {"labels": torch.tensor(labels)}

    def predict(self, model: Any) -> list[list[str]]:
        """The tags of each test record; words that were cut off have none."""
        rows, words = self.tokenize(self.work["test"])
        best: list[list[int]] = []
        for _, output in self.outputs(model, rows):
            best += output.logits.argmax(-1).tolist()
        found = []
        for record, mine, choices in zip(self.work["test"], words, best, strict=True):
            tags = ["O"] * len(record["tokens"])
            for word, choice in zip(mine, choices, strict=False):
                if word is not None:
                    tags[word] = self.labels[choice]
            found.append(tags)
        return found


class TextRecipe(Recipe):
    """One label a text."""

    auto_class = "AutoModelForSequenceClassification"
    peft_type = "SEQ_CLS"

    def tokenize(self, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows without labels."""
        encoding = self.tokenizer([record["text"] for record in records], truncation=True, max_length=512)
        return [{key: encoding[key][number] for key in encoding} for number in range(len(records))]

    def rows(self) -> list[dict[str, Any]]:
        """The training rows."""
        place = {label: number for number, label in enumerate(self.labels)}
        train = self.work["train"]
        return [
            row | {"labels": place[record["label"]]} for record, row in zip(train, self.tokenize(train), strict=True)
        ]

    def predict(self, model: Any) -> list[str]:
        """The label of each test record."""
        best: list[int] = []
        for _, output in self.outputs(model, self.tokenize(self.work["test"])):
            best += output.logits.argmax(-1).tolist()
        return [self.labels[choice] for choice in best]


class QuestionRecipe(Recipe):
    """The answer to a question, in windows of its context."""

    auto_class = "AutoModelForQuestionAnswering"
    peft_type = "QUESTION_ANS"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.fixed_length = WINDOW if work["side"] == "guide" else None

    def model_options(self) -> dict[str, Any]:
        """What the model's head needs to know: nothing."""
        return {}

    def tokenize(self, records: Sequence[dict[str, Any]]) -> list[tuple[int, dict[str, Any], list[Any]]]:
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
        windows = []
        for number, owner in enumerate(owners):
            parts = encoding.sequence_ids(number)
            places = [span if part == 1 else None for span, part in zip(offsets[number], parts, strict=True)]
            windows.append((owner, {key: encoding[key][number] for key in encoding}, places))
        return windows

    def rows(self) -> list[dict[str, Any]]:
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


class CompletionRecipe(Recipe):
    """The completion of a prompt by a decoder, in float32 with LoRA of rank 8 on all projections of the blocks."""

    auto_class = "AutoModelForCausalLM"
    peft_type = "CAUSAL_LM"
    lora: ClassVar[dict[str, Any]] = {
        "r": 8,
        "lora_alpha": 16,
        "target_modules": ["c_attn", "c_proj", "c_fc"],
        "fan_in_fan_out": True,
    }
    adamw: ClassVar[dict[str, Any]] = {"learning_rate": 1e-3}

    def model_options(self) -> dict[str, Any]:
        """What the model's head needs to know: nothing."""
        return {}

    def rows(self) -> list[dict[str, Any]]:
        """The training rows; the completion alone is learned."""
        rows = []
        for record in self.work["train"]:
            prompt = len(self.tokenizer(record["prompt"])["input_ids"])
            ids = self.tokenizer(f"{record['prompt']} {record['completion']} {self.tokenizer.eos_token}")["input_ids"]
            labels = [IGNORED] * prompt + ids[prompt:]
            rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels})
        return rows

    def predict(self, model: Any) -> list[Any]:
        """Nothing: what is compared is the loss."""
        return []


RECIPES: dict[str, type[Recipe]] = {
    "ner": TokenRecipe,
    "classification": TextRecipe,
    "qa": QuestionRecipe,
    "generation": CompletionRecipe,
}


def count_tokens(work: Work) -> int:
    """Real tokens of an epoch, special ones included."""
    return sum(len(row["input_ids"]) for row in RECIPES[work["task"]](work).rows())


class Counted:
    """A collate function that counts the tokens and those of them that are real."""

    def __init__(self, collate: Callable[[Sequence[dict[str, Any]]], dict[str, torch.Tensor]]) -> None:
        self.collate = collate
        self.all = self.real = 0

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch, counted."""
        batch = self.collate(rows)
        self.all += batch["attention_mask"].numel()
        self.real += int(batch["attention_mask"].sum())
        return batch


def build(recipe: Recipe, work: Work) -> tuple[Any, type[Trainer]]:
    """The model with its LoRA, and the trainer for it."""
    load = getattr(transformers, recipe.auto_class).from_pretrained
    model = load(work["model"], **recipe.model_options())
    if work["side"] == "adapterhub":
        import adapters

        adapters.init(model)
        lora = recipe.lora
        config = adapters.LoRAConfig(
            r=lora["r"], alpha=lora["lora_alpha"], dropout=lora["lora_dropout"], attn_matrices=["q", "v"]
        )
        model.add_adapter("task", config=config)
        model.train_adapter("task")
        return model, adapters.AdapterTrainer
    import peft

    return peft.get_peft_model(model, peft.LoraConfig(task_type=recipe.peft_type, **recipe.lora)), Trainer


def train(work: Work) -> dict[str, Any]:
    """The facts of one run."""
    before = start_peak()
    start = time.perf_counter()
    transformers.set_seed(work["seed"])
    recipe = RECIPES[work["task"]](work)
    collate, watch = Counted(recipe.collate), Watch(work["points"])
    model, trainer_class = build(recipe, work)
    watch.predict = lambda: recipe.predict(model)
    with tempfile.TemporaryDirectory() as output:
        trainer = trainer_class(
            model=model,
            args=TrainingArguments(output, **arguments(recipe, work)),
            train_dataset=recipe.rows(),
            data_collator=collate,
            callbacks=[watch],
        )
        trainer.train()
    losses = [(entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    return {
        **watch.facts(start),
        "tokens": collate.real,
        "padding": 1 - collate.real / collate.all,
        "peak": peak_since(before),
        "steps": trainer.state.global_step,
        "trained": sum(each.numel() for each in model.parameters() if each.requires_grad),
        "losses": losses,
        "versions": {module.__name__: module.__version__ for module in (torch, transformers)},
    }


def arguments(recipe: Recipe, work: Work) -> dict[str, Any]:
    """Trainer's arguments: the guide's, and for `tuned` what one would switch on."""
    given = {
        "per_device_train_batch_size": ROWS,
        "num_train_epochs": work["epochs"],
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": work["device"] == "cpu",
        "seed": work["seed"],
        **recipe.adamw,
    }
    if work["task"] == "generation":
        given["logging_steps"] = 1
    if work["side"] == "tuned":
        given |= {"train_sampling_strategy": "group_by_length", "bf16": work["bf16"]}
    return given


def main(train_work: Callable[[Work], dict[str, Any]]) -> None:
    """Do the work of the file that was named, after a short run that is not counted, and write the facts."""
    source, target = map(Path, sys.argv[1:3])
    work = json.loads(source.read_text())
    quiet()
    torch.set_num_threads(work["threads"])
    train_work({**work, "train": work["train"][: 2 * ROWS], "test": work["test"][:4], "points": 0, "epochs": 1})
    target.write_text(json.dumps(train_work(work)))


if __name__ == "__main__":
    main(train)
