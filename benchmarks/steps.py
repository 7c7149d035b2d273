"""What a training step costs with each method, against PEFT's own tuner of the same kind in the same run.

python benchmarks/steps.py [--rounds 30] [--tokens 32] [--rows 16] [--threads 1]

The model is an encoder of MiniLM's size with random weights; the two sides take turns step by step, and the table gives
the ratio of the medians: below 1 lightadapt is faster. Where PEFT has no such method (bottleneck, bitfit, parallel),
the ratio is to PEFT's LoRA on the same model.
"""

from __future__ import annotations

import statistics

import peft
import torch
from command import command, set_up
from measuring import stepper, take_turns
from transformers import BertConfig, BertForSequenceClassification

from lightadapt import peft_bridge
from lightadapt.anatomy import read_anatomy
from lightadapt.experiments.markdown import Table
from lightadapt.methods import LoRA, Prefix, Prompt, resolve_method

CONFIG = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
SAME = {"task_type": peft.TaskType.SEQ_CLS}
ON_ALL = {**SAME, "r": 8, "target_modules": ["query", "key", "value", "dense"]}
BLOCKS_ALONE = {**ON_ALL, "exclude_modules": ".*pooler.*"}
PAIRS: dict[str, tuple[object, peft.PeftConfig]] = {
    "lora": (LoRA(), peft.LoraConfig(**BLOCKS_ALONE)),
    "dora": (LoRA(dora=True), peft.LoraConfig(use_dora=True, **BLOCKS_ALONE)),
    "ia3": ("ia3", peft.IA3Config(**SAME)),
    "layernorm": ("layernorm", peft.LNTuningConfig(target_modules=["LayerNorm"], **SAME)),
    "prefix": (Prefix(length=20), peft.PrefixTuningConfig(num_virtual_tokens=20, **SAME)),
    "prompt": (Prompt(length=20), peft.PromptTuningConfig(num_virtual_tokens=20, **SAME)),
    **{name: (name, peft.LoraConfig(**ON_ALL)) for name in ("pfeiffer", "houlsby", "parallel", "bitfit")},
}
TABLE = Table(
    "method | ms a step | PEFT's | its ms a step | ratio",
    "{method} | {ours:.1f} | {kind} | {theirs:.1f} | {ratio:.2f}",
)


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
    parser = command(__doc__, rounds=30, tokens=32, threads=1)
    parser.add_argument("--rows", type=int, default=16)
    options = parser.parse_args()
    set_up(options.threads)
    print(TABLE.head)
    for name, (method, config) in PAIRS.items():
        batch = make_batch(options.rows, options.tokens)
        sides = {"ours": stepper(build(method), batch), "theirs": stepper(build_peft(config), batch)}
        found = take_turns(sides, options.rounds + 3)
        times = {side: 1000 * statistics.median(seconds[3:]) for side, seconds in found.items()}
        kind = str(config.peft_type.value).lower()
        print(TABLE.row({"method": name, "kind": kind, **times, "ratio": times["ours"] / times["theirs"]}), flush=True)


if __name__ == "__main__":
    main()
