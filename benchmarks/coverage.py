"""Which method works on which model type and task: every combination that transformers has, beside raw PEFT.

    python benchmarks/coverage.py                                     # everything, about half an hour on one core
    python benchmarks/coverage.py --types bert,llama --methods lora   # a part of it
    python benchmarks/coverage.py --write                             # everything, and docs/coverage.md from it

The page's section on quantized weights is written by `coverage_quantized.py`, and stays as it is.

A cell is one model type, one task and one method, tried on a tiny random model. It ends as "pass", as "refused" (an
error before a weight is loaded) or as "fail". What a pass means is in `MEANING`, a section of the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from tempfile import TemporaryDirectory

import peft
import torch
import zoo
from cells.case import GENERATION, STEPS, TASKS, Case, CheckError, make_case, outputs, train
from cells.checks import CHECKPOINTING, check_adapter, check_same, checks_of, find_left_out, plan_of, run_check
from cells.report import by_type, count, extent, grouped, left_out
from cells.runs import Kind, Results, run_type, run_types
from command import DOCS, between, command, names_of
from peft import PeftConfig, PeftModel

from lightadapt.experiments.markdown import as_table
from lightadapt.methods import NAMES, Bottleneck, Method, resolve_method

METHODS = ("lora", "dora", "prefix", "pfeiffer", "houlsby", "parallel", "ia3", "bitfit", "layernorm", "prompt")

RAW: dict[str, Callable[..., PeftConfig]] = {
    "lora": peft.LoraConfig,
    "dora": partial(peft.LoraConfig, use_dora=True),
    "prefix": partial(peft.PrefixTuningConfig, num_virtual_tokens=4),
    "ia3": peft.IA3Config,
    "layernorm": peft.LNTuningConfig,
    "prompt": partial(peft.PromptTuningConfig, num_virtual_tokens=4),
}
"""The same methods as PEFT has them, with its own targets."""
TASK_TYPES = {
    "classification": peft.TaskType.SEQ_CLS,
    "tokens": peft.TaskType.TOKEN_CLS,
    "qa": peft.TaskType.QUESTION_ANS,
    "causal": peft.TaskType.CAUSAL_LM,
    "seq2seq": peft.TaskType.SEQ_2_SEQ_LM,
}
PAGE = "coverage.md"

INTRODUCTION = """# Coverage

Every text model type in transformers' Auto classes, with every task it has a model for, with every method: tiny random
models, made by `benchmarks/zoo.py` and tried by `benchmarks/coverage.py`, which also wrote this page. It says that a
method works on the architecture; it says nothing of how well it learns.
"""
MEANING = f"""## What a pass means

Methods have their defaults, but bottlenecks are half as wide as the model. Dropout is 0. A cell (type, task, method)
**passes** when all of this holds:

1. A padded batch with labels goes forward and backward, and {STEPS} steps of Adam keep the loss finite. Every trained
   tensor of the adapter and of the head gets a gradient other than zero, in these steps or on further batches (an
   expert waits for its tokens); where it works on a module whose own weights get none in the bare model, it need not.
2. Only the adapter, what the method unfreezes, and the head are trained; nothing else has changed after the steps.
3. Saved, and restored into a new model whose head was drawn anew, it gives the same outputs, bit for bit.
4. With gradient checkpointing the gradients are the same.
5. Language models generate the same tokens, with the same logits, with a cache as without one.
6. Classification, token classification and question answering give a text the same outputs alone as beside a longer
   one, with padding.

Checks 4 to 6 are left out where the bare model does not have the property itself; these are listed below. A cell is
**refused** when lightadapt says, before any weight is loaded, that the method does not fit the model. Everything else
is a **fail**.

**Raw PEFT** stands beside it: `get_peft_model` with the task's type and PEFT's own targets, `save_pretrained`,
`PeftModel.from_pretrained` on a model whose head was drawn anew. Checks 1, 3 and 4 are the same; a head of
classification, token classification or question answering must be trained, and outputs for tokens must be as many as
the tokens. The output layer of a language model comes with its checkpoint, so PEFT is not asked to train it.
"""


# ---- the cells


def make_method(name: str) -> Method:
    """The method with its defaults; a bottleneck is half as wide as the stream.

    By default it would have four units in models as narrow as these, and all four may be dead by chance.
    """
    method = resolve_method(name)
    return replace(method, reduction=2) if isinstance(method, Bottleneck) else method


def check_lightadapt(case: Case, method: str) -> None:
    """Run a method of lightadapt through all checks; raise at the first that does not hold."""
    check_adapter(case, plan_of(case, lambda anatomy: make_method(method).plan(anatomy, None)))


def check_peft(case: Case, method: str) -> None:
    """Run a method of raw PEFT through the checks that apply to it; raise at the first that does not hold."""
    head = frozenset() if case.task in GENERATION else case.head
    torch.manual_seed(0)
    model = peft.get_peft_model(deepcopy(case.model), RAW[method](task_type=TASK_TYPES[case.task]))
    trained = {_plain(name): parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    idle = case.anatomy.idle if case.anatomy else ()
    trained = {name: parameter for name, parameter in trained.items() if name not in idle}
    untrained = sorted(head - trained.keys())
    if untrained:
        raise CheckError(f"{len(untrained)} tensors of the head are not trained, first {untrained[0]}")
    train(model, case, trained)
    found = outputs(model, case.batch)
    if case.task in ("tokens", "qa") and found.shape[1] != case.batch["input_ids"].shape[1]:
        raise CheckError(
            f"outputs for {found.shape[1]} positions where the text has {case.batch['input_ids'].shape[1]}"
        )
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder, save_embedding_layers=False)  # it would ask the hub whether there are new ones
        again = PeftModel.from_pretrained(case.with_new_head(head), folder)
    check_same(found, outputs(again, case.batch))
    if CHECKPOINTING in set(checks_of(case)) - case.left_out.keys():
        run_check(CHECKPOINTING, model, case.batch)


def _plain(name: str) -> str:
    """The name of a parameter as the model without PEFT has it."""
    return re.sub(r"^base_model\.(model\.)?|\.modules_to_save\.default", "", name)


# ---- the page


def summary(results: Results) -> str:
    """One row for each method."""
    rows = []
    for method in results.methods:
        raw = results.of(method, "peft")
        strict = sum(cell.status == "pass" for cell in raw)
        apart = strict + sum(cell.reason.startswith(CHECKPOINTING) for cell in raw)
        beside = [f"{number / len(raw):.1%}" if raw else "–" for number in (strict, apart)]
        rows.append((f"`{method}`", *count(results.of(method)), *beside))
    head = ["method", "cells", "pass", "refused", "fail", "raw PEFT: pass", "raw PEFT: pass, check 4 apart"]
    return as_table(head, rows)


def as_page(results: Results) -> str:
    """The page of the documentation."""
    letters = ", ".join(f"{letter} {name}" for letter, name in TASKS.values())
    own = [cell for cell in results.cells if cell.column == "lightadapt"]
    parts = [
        INTRODUCTION,
        "## By method\n",
        f"{extent(results)}.\n",
        summary(results),
        "",
        MEANING,
        f"The letters below stand for tasks: {letters}.\n",
        "## Refusals\n",
        *grouped(cell for cell in own if cell.status == "refused"),
        "\n## Failures\n",
        *grouped(cell for cell in own if cell.status == "fail"),
        "\n## Why raw PEFT fails\n",
        *grouped((cell for cell in results.cells if (cell.column, cell.status) == ("peft", "fail")), most=12),
        "\n## Checks left out\n",
        "The bare model does not have the property itself.\n",
        *left_out(results),
        f"\n<!-- quantized -->\n\n{between(PAGE, 'quantized')}\n\n<!-- end of quantized -->\n",
        "## By model type\n",
        "The letters of the tasks in which the method passes.\n",
        by_type(results),
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Run, print the table, and write the page when asked to."""
    parser = command(__doc__, methods=",".join(METHODS), jobs=1, json=None)
    parser.add_argument("--types", default=",".join(zoo.model_types()), help="such as bert,llama; default: all")
    parser.add_argument("--tasks", default=",".join(TASKS), help="default: %(default)s")
    parser.add_argument("--no-peft", action="store_true", help="leave raw PEFT out")
    parser.add_argument("--write", action="store_true", help="write docs/coverage.md")
    options = parser.parse_args()
    methods = names_of(parser, options.methods, NAMES)
    columns = [(method, "lightadapt") for method in methods]
    columns += [(method, "peft") for method in methods if method in RAW and not options.no_peft]
    checks = {"lightadapt": check_lightadapt, "peft": check_peft}
    kind = Kind(make=make_case, left_out=find_left_out, checks=checks, columns=columns)
    one = partial(run_type, tasks=names_of(parser, options.tasks, TASKS), kinds=[kind])
    results = run_types(one, options.types.split(","), jobs=options.jobs, file=options.json)
    each = sum(cell.seconds for cell in results.cells) / max(len(results.cells), 1)
    print(summary(results))
    print(f"{len(results.cells)} cells in {results.seconds:.0f} s, {each:.2f} s a cell")
    if options.write:
        (DOCS / PAGE).write_text(as_page(results), encoding="utf-8")


if __name__ == "__main__":
    main()
