"""What each format of an export costs in answers, bytes and seconds, for each kind of task.

python benchmarks/exporting.py [--only ner,qa] [--formats merged,onnx,onnx-int8,openvino,lora] [--threads 1]
    [--json FILE]

The MiniLM of `lightadapt[demo]` learns each task with LoRA on sample data, in float32, for a moment; `--method dora`
shows what the format `lora` leaves out. The records of the tasks other than classification and ner are made of the
entities and intents of the same messages. A decoder and an encoder-decoder, small and made of random numbers, learn to
write the intent (generation, summarization), all of their weights. `export` itself measures, on the test records: the
table has the largest difference of two outputs, the share of equal answers, the headline metric before and after, the
size, and the seconds, those of the comparison included.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from command import command, keep, names_of, set_up
from data_sets import find_encoder
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

import lightadapt as la
from lightadapt import sample
from lightadapt.experiments.markdown import Table
from lightadapt.export import Lora, Merged, Onnx, Openvino, SentenceTransformers, Vllm
from lightadapt.export.format import Format

Record = dict[str, Any]
INTENTS = sorted({record["label"] for record in sample.records("test")})
FORMATS: dict[str, Format] = {
    "merged": Merged(),
    "onnx": Onnx(),
    "onnx-int8": Onnx(quantize="int8"),
    "openvino": Openvino(),
    "lora": Lora(),
    "vllm": Vllm(),
    "sentence-transformers": SentenceTransformers(),
}
TABLE = Table(
    "task | format | largest difference | equal answers | metric | before | after | MB | s",
    "{task} | {format} | {difference} | {equal} | {metric} | {before} | {after} | {size:.1f} | {seconds:.0f}",
)


def text_and(**more: Callable[[Record], Any]) -> Callable[[Record], Record]:
    """What makes a record with the text and these fields of a message."""
    return lambda message: {"text": message["text"], **{name: make(message) for name, make in more.items()}}


def question(message: Record) -> Record | None:
    """Which entity the message names first; none where it names none."""
    if not message["entities"]:
        return None
    first = message["entities"][0]
    answer = message["text"][first["start"] : first["end"]]
    return {
        "question": f"Which {first['label'].lower()} is it?",
        "context": message["text"],
        "answers": {"text": [answer], "answer_start": [first["start"]]},
    }


def relation(message: Record) -> Record | None:
    """Whether the first two entities are of one type; none where there is one at most."""
    if len(message["entities"]) < 2:
        return None
    head, tail = message["entities"][:2]
    spans = {"head": [head["start"], head["end"]], "tail": [tail["start"], tail["end"]]}
    return {"text": message["text"], **spans, "label": "same" if head["label"] == tail["label"] else "different"}


def choice(message: Record) -> Record:
    """The intent among four."""
    place = INTENTS.index(message["label"])
    chosen = [INTENTS[(place + step) % len(INTENTS)] for step in (0, 1, 2, 3)]
    choices = sorted(chosen)
    names = [name.replace("_", " ") for name in choices]
    return {"question": message["text"], "choices": names, "answer": choices.index(message["label"])}


def written(source: str, target: str) -> Callable[[Record], Record]:
    """What makes a record whose message is answered by its intent, under these names."""
    return lambda message: {source: message["text"], target: message["label"].replace("_", " ")}


TASKS: dict[str, Callable[[Record], Record | None]] = {
    "classification": text_and(label=lambda message: message["label"]),
    "multilabel": text_and(labels=lambda message: sorted({each["label"] for each in message["entities"]})),
    "regression": text_and(label=lambda message: len(message["text"].split())),
    "ner": text_and(entities=lambda message: message["entities"]),
    "qa": question,
    "relation": relation,
    "multiple-choice": choice,
    "generation": written("prompt", "completion"),
    "summarization": written("source", "target"),
}
"""How a record of each task is made of a message of the sample data."""
WRITERS: dict[str, tuple[str, dict[str, int], Any]] = {
    "generation": (
        "llama",
        {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4},
        AutoModelForCausalLM,
    ),
    "summarization": (
        "t5",
        {"d_model": 256, "d_kv": 64, "d_ff": 512, "num_layers": 3, "num_heads": 4, "decoder_start_token_id": 0},
        AutoModelForSeq2SeqLM,
    ),
}
"""Models that write: their type, their shape and the class that makes them."""


def records_of(task: str, split: str, count: int) -> list[Record]:
    """The first so many records of a task."""
    found = [made for message in sample.records(split) if (made := TASKS[task](message)) is not None]
    return found[:count]


def measure(adapted: la.Adapted, name: str, test: list[Record]) -> dict[str, Any]:
    """What one export has found; where it is refused, the reason."""
    task, start = adapted.task, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = adapted.export(Path(folder) / "out", FORMATS[name], check=test)
        except la.LightAdaptError as error:
            return {"task": task.name, "format": name, "refused": str(error)}
    return {
        "task": task.name,
        "format": name,
        "metric": task.headline,
        "difference": found.difference,
        "equal": found.equal,
        "before": found.before.get(task.headline),
        "after": found.after.get(task.headline),
        "size": found.size / 1e6,
        "seconds": time.perf_counter() - start,
        "notes": list(found.notes),
    }


def as_row(facts: dict[str, Any]) -> str:
    """A line of the table."""
    if "refused" in facts:
        return f"| {facts['task']} | {facts['format']} | refused | – | – | – | – | – | – |"
    shown = {
        name: "–" if facts[name] is None else form.format(facts[name])
        for name, form in (("difference", "{:.0e}"), ("equal", "{:.1%}"), ("before", "{:.4f}"), ("after", "{:.4f}"))
    }
    return TABLE.row({**facts, **shown})


def start(task: str, model: str, method: str) -> la.Adapted:
    """A fresh adaptation to a task: of the encoder, or of a model that writes, which has learned nothing before."""
    if task not in WRITERS:
        return la.adapt(model, task, method=method, dtype="float32", device="cpu")
    tokenizer = AutoTokenizer.from_pretrained(model, eos_token="[SEP]", bos_token="[CLS]")
    name, shape, auto = WRITERS[task]
    torch.manual_seed(0)
    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = AutoConfig.for_model(name, vocab_size=len(tokenizer), **shape, **special)
    chosen = (la.Generation if task == "generation" else la.Summarization)(max_new_tokens=20)
    return la.adapt(auto.from_config(config), chosen, "full", tokenizer=tokenizer, dtype="float32", device="cpu")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = command(__doc__, only=",".join(TASKS), threads=1, model=None, json=None)
    parser.add_argument("--formats", default="merged,onnx,onnx-int8,openvino,lora", help="default: %(default)s")
    parser.add_argument("--method", default="lora", help="default: %(default)s")
    parser.add_argument("--records", type=int, default=400, help="to train on; default: %(default)s")
    parser.add_argument("--test", type=int, default=200, help="to compare on; default: %(default)s")
    parser.add_argument("--epochs", type=float, default=3, help="default: %(default)s")
    options = parser.parse_args(arguments)
    tasks, formats = names_of(parser, options.only, TASKS), names_of(parser, options.formats, FORMATS)
    set_up(options.threads)
    facts: list[dict[str, Any]] = []
    print(TABLE.head)
    for task in tasks:
        adapted = start(task, options.model or find_encoder(), options.method)
        rates = {"learning_rate": 1e-3} if task in WRITERS else {}  # they start from nothing
        train = records_of(task, "train", options.records)
        adapted.fit(train, epochs=options.epochs, args={"disable_tqdm": True}, **rates)
        for name in formats:
            facts.append(measure(adapted, name, records_of(task, "test", options.test)))
            print(as_row(facts[-1]), flush=True)
    keep(options.json, {"method": options.method, "rows": facts})
    return 0


if __name__ == "__main__":
    sys.exit(main())
