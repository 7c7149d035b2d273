"""One run of a side that is not lightadapt."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from measuring import peak_since, start_peak
from transformers import Trainer, TrainingArguments

from recipes.completions import CompletionRecipe
from recipes.entities import TokenRecipe
from recipes.questions import QuestionRecipe
from recipes.recipe import ROWS, Recipe, Row, Work, warm_up
from recipes.texts import TextRecipe
from recipes.watch import Watch

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

    def __init__(self, collate: Callable[[Sequence[Row]], dict[str, torch.Tensor]]) -> None:
        self.collate = collate
        self.all = self.real = 0

    def __call__(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
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


def run(work: Work) -> dict[str, Any]:
    """The facts of one run, after a short one that is not counted."""
    train(warm_up(work))
    return train(work)


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
