"""What a training step costs with each method, against PEFT's own tuner of the same kind in the same run.

python benchmarks/steps.py [--rounds 30] [--tokens 32] [--rows 16] [--threads 1]

The model is an encoder of MiniLM's size with random weights; the two sides take turns step by step, and the table gives
the ratio of the medians: below 1 lightadapt is faster. Where PEFT has no such method (bottleneck, bitfit, parallel),
the ratio is to PEFT's LoRA on the same model.
"""

from __future__ import annotations

import argparse
import statistics
import warnings

import peft
import torch
from measuring import stepper
from transformers import BertConfig, BertForSequenceClassification

from lightadapt import peft_bridge
from lightadapt.anatomy import read_anatomy
from lightadapt.methods import LoRA, Prefix, Prompt, resolve_method

CONFIG = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
EVERY = ["query", "key", "value", "dense"]
TASK = peft.TaskType.SEQ_CLS
PAIRS: dict[str, tuple[object, peft.PeftConfig]] = {
    "lora": (LoRA(), peft.LoraConfig(task_type=TASK, r=8, target_modules=EVERY, exclude_modules=".*pooler.*")),
    "dora": (
        LoRA(dora=True),
        peft.LoraConfig(task_type=TASK, r=8, use_dora=True, target_modules=EVERY, exclude_modules=".*pooler.*"),
    ),
    "ia3": ("ia3", peft.IA3Config(task_type=TASK)),
    "layernorm": ("layernorm", peft.LNTuningConfig(task_type=TASK, target_modules=["LayerNorm"])),
    "prefix": (Prefix(length=20), peft.PrefixTuningConfig(task_type=TASK, num_virtual_tokens=20)),
    "prompt": (Prompt(length=20), peft.PromptTuningConfig(task_type=TASK, num_virtual_tokens=20)),
    "pfeiffer": ("pfeiffer", peft.LoraConfig(task_type=TASK, r=8, target_modules=EVERY)),
    "houlsby": ("houlsby", peft.LoraConfig(task_type=TASK, r=8, target_modules=EVERY)),
    "parallel": ("parallel", peft.LoraConfig(task_type=TASK, r=8, target_modules=EVERY)),
    "bitfit": ("bitfit", peft.LoraConfig(task_type=TASK, r=8, target_modules=EVERY)),
}


def build(method: object) -> BertForSequenceClassification:
    """The model with one of our methods, its head trained."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(CONFIG)
    plan = resolve_method(method).plan(read_anatomy(type(model), CONFIG), None)
    model.requires_grad_(False)
    peft_bridge.insert(model, plan.config)  # type: ignore[arg-type]
    model.classifier.requires_grad_(True)
    return model


def build_peft(config: peft.PeftConfig) -> torch.nn.Module:
    """The model as PEFT wraps it."""
    torch.manual_seed(0)
    return peft.get_peft_model(BertForSequenceClassification(CONFIG), config)  # type: ignore[no-any-return]


def make_batch(rows: int, tokens: int) -> dict[str, torch.Tensor]:
    """Random texts with labels."""
    ids = torch.randint(5, CONFIG.vocab_size, (rows, tokens))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.randint(0, 2, (rows,))}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    print("| method | ms a step | PEFT's | ms a step | ratio |\n|---|---|---|---|---|")
    for name, (method, config) in PAIRS.items():
        batch = make_batch(options.rows, options.tokens)
        sides = [stepper(model, batch) for model in (build(method), build_peft(config))]
        times = [[step() for step in sides] for _ in range(options.rounds + 3)][3:]
        ours, theirs = (1000 * statistics.median(column) for column in zip(*times, strict=True))
        kind = str(config.peft_type.value).lower()
        print(f"| {name} | {ours:.1f} | {kind} | {theirs:.1f} | {ours / theirs:.2f} |", flush=True)


if __name__ == "__main__":
    main()
