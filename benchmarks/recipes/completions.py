"""Completions of prompts by a decoder, with PEFT and Trainer."""

from __future__ import annotations

from typing import Any, ClassVar

from recipes.recipe import IGNORED, Recipe, Row


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

    def rows(self) -> list[Row]:
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
