"""What a step of training costs, against PEFT with transformers' Trainer on the same data, model and adapter.

python benchmarks/train_speed.py [--records 64] [--rounds 3] [--threads 1] [--json FILE]

The work is generation: a decoder like GPT-2 with random weights, narrow but with the vocabulary of 50,257 tokens, and
prompts three times as long as their completions, which alone are learned. Both sides train LoRA of rank 8 on all
projections of the blocks, in float32, with AdamW, on batches of the same 16 records. Each run is a process of its own;
the sides take turns. The table has real tokens a second (medians), the peak of resident memory over what was resident
before the model was built (Linux only), and the loss that the run ends with.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from measuring import resident, run_apart, start_peak
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, Trainer, TrainingArguments
from transformers.utils import logging

VOCABULARY, PROMPT, COMPLETION, ROWS = 50257, 96, 32, 16
SIDES = ("peft", "lightadapt")
CHILD = "--run"


def make_model(folder: str) -> None:
    """Write the decoder, with a tokenizer of as many words, to a folder."""
    words = {f"w{number}": number for number in range(VOCABULARY - 1)} | {"<end>": VOCABULARY - 1}
    core = Tokenizer(models.WordLevel(words, unk_token="w0"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    end = {"bos_token_id": VOCABULARY - 1, "eos_token_id": VOCABULARY - 1}
    config = GPT2Config(vocab_size=VOCABULARY, n_positions=256, n_embd=256, n_layer=4, n_head=8, **end)
    for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
        setattr(config, name, 0.0)
    GPT2LMHeadModel(config).save_pretrained(folder)


def make_records(count: int) -> list[dict[str, str]]:
    """Prompts and completions of random words."""
    draw = random.Random(0)

    def text(length: int) -> str:
        return " ".join(f"w{draw.randrange(2000)}" for _ in range(length))

    return [{"prompt": text(PROMPT), "completion": text(COMPLETION - 1)} for _ in range(count)]


def train_with_lightadapt(folder: str, records: list[dict[str, str]]) -> float:
    """The loss at the end of a run of `fit`."""
    import lightadapt as la

    adapted = la.adapt(folder, "generation", "lora", device="cpu")
    options = {"disable_tqdm": True, "logging_steps": 1}
    history = adapted.fit(
        records, epochs=1, batch_tokens=ROWS * (PROMPT + COMPLETION), learning_rate=1e-3, args=options
    )
    return history.losses[-1][1]


def train_with_peft(folder: str, records: list[dict[str, str]]) -> float:
    """The loss at the end of a run of PEFT and Trainer, with labels on the completions as its users set them."""
    from peft import LoraConfig, TaskType, get_peft_model

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    targets = ["c_attn", "c_proj", "c_fc"]
    config = LoraConfig(task_type=TaskType.CAUSAL_LM, r=8, lora_alpha=16, target_modules=targets, fan_in_fan_out=True)
    model = get_peft_model(GPT2LMHeadModel.from_pretrained(folder), config)
    rows = []
    for record in records:
        ids = tokenizer(f"{record['prompt']} {record['completion']} <end>")["input_ids"]
        rows.append({"input_ids": ids, "labels": [-100] * PROMPT + ids[PROMPT:]})

    def collate(batch: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        tensors = {name: torch.tensor([row[name] for row in batch]) for name in ("input_ids", "labels")}
        return tensors | {"attention_mask": torch.ones_like(tensors["input_ids"])}

    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output,
            per_device_train_batch_size=ROWS,
            num_train_epochs=1,
            learning_rate=1e-3,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Trainer(model, arguments, train_dataset=rows, data_collator=collate)
        trainer.train()
        return float(next(entry["loss"] for entry in reversed(trainer.state.log_history) if "loss" in entry))


def run(side: str, folder: str, count: int) -> dict[str, Any]:
    """The facts of one run in this process, after a short one that is not counted."""
    train = train_with_lightadapt if side == "lightadapt" else train_with_peft
    records = make_records(count)
    train(folder, records[: 2 * ROWS])
    before = start_peak()
    start = time.perf_counter()
    loss = train(folder, records)
    seconds = time.perf_counter() - start
    tokens = count * (PROMPT + COMPLETION)
    return {"tokens_per_second": tokens / seconds, "peak": resident("VmHWM") - before, "loss": loss}


def main() -> None:
    """Run the sides in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument(CHILD, dest="child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    if options.child:
        side, folder = options.child.split(",")
        print(json.dumps(run(side, folder, options.records)))
        return
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    same = ["--records", str(options.records), "--threads", str(options.threads)]
    with tempfile.TemporaryDirectory() as folder:
        make_model(folder)
        for _ in range(options.rounds):
            for side in SIDES:
                found[side].append(run_apart(*same, CHILD, f"{side},{folder}"))
    print("| | tokens/s | peak, MiB | loss |\n|---|---|---|---|")
    medians = {
        side: {name: statistics.median(row[name] for row in rows) for name in rows[0]} for side, rows in found.items()
    }
    for side, row in medians.items():
        print(f"| {side} | {row['tokens_per_second']:,.0f} | {row['peak'] / 2**20:,.0f} | {row['loss']:.4f} |")
    ours, theirs = medians["lightadapt"], medians["peft"]
    faster = ours["tokens_per_second"] / theirs["tokens_per_second"]
    print(f"| ratio | {faster:.2f} | {ours['peak'] / theirs['peak']:.2f} | |")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
