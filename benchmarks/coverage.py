"""Which method works on which model type and task: every combination that transformers has, beside raw PEFT.

    python benchmarks/coverage.py                                     # everything, about half an hour on one core
    python benchmarks/coverage.py --types bert,llama --methods lora   # a part of it
    python benchmarks/coverage.py --write                             # everything, and docs/coverage.md from it

The page's section on quantized weights is written by `coverage_quantized.py`, and stays as it is.

A cell is one model type, one task and one method, tried on a tiny random model. It ends as "pass", as "refused" (an
error before a weight is loaded) or as "fail". What a pass means is in `INTRODUCTION`, the text that opens the page.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import peft
import torch
import transformers
import zoo
from peft import PeftConfig, PeftModel
from safetensors.torch import load, save
from torch import Tensor, nn
from transformers import PreTrainedModel

from lightadapt import peft_bridge
from lightadapt.adaptation import artifact as checkpoint
from lightadapt.anatomy import Anatomy, outermost, read_anatomy
from lightadapt.errors import LightAdaptError
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

TASKS = {
    "classification": ("C", "classification", peft.TaskType.SEQ_CLS),
    "tokens": ("T", "token classification", peft.TaskType.TOKEN_CLS),
    "qa": ("Q", "question answering", peft.TaskType.QUESTION_ANS),
    "causal": ("G", "generation by a decoder", peft.TaskType.CAUSAL_LM),
    "seq2seq": ("S", "generation by an encoder-decoder", peft.TaskType.SEQ_2_SEQ_LM),
}
"""The letter and the name of each task in the page, and what PEFT calls it."""
GENERATION = ("causal", "seq2seq")

STEPS, RATE, SECONDS, NEW_TOKENS, BARE_TRIALS = 3, 1e-2, 60, 4, 16
PAGE = Path(__file__).parents[1] / "docs" / "coverage.md"
QUANTIZED, BY_TYPE = "## Quantized\n", "## By model type\n"
"""Headings of the page's last sections."""

INTRODUCTION = f"""# Coverage

Every text model type in transformers' Auto classes, with every task it has a model for, with every method: tiny random
models, made by `benchmarks/zoo.py` and tried by `benchmarks/coverage.py`, which also wrote this page. Methods have
their defaults, but bottlenecks are half as wide as the model. Dropout is 0. It says that a method works on the
architecture; it says nothing of how well it learns. A cell (type, task, method) **passes** when all of this holds:

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


class CheckError(Exception):
    """A check that does not hold."""


class RefusalError(Exception):
    """A method that says it does not fit the model, before any weight is loaded."""


@dataclass(frozen=True)
class Cell:
    """How one method did on one task of one model type."""

    model_type: str
    task: str
    method: str
    column: str
    """`"lightadapt"`, `"peft"`, or the form of quantization that lightadapt was tried with."""
    status: str
    """`"pass"`, `"refused"` or `"fail"`."""
    reason: str
    seconds: float


def _as_it_is(model: PreTrainedModel) -> PreTrainedModel:
    return model


@dataclass
class Case:
    """One task of one model type: what all of its cells start from."""

    model_type: str
    task: str
    model: PreTrainedModel
    batch: dict[str, Tensor]
    anatomy: Anatomy | None = None
    unread: Exception | None = None
    """What lightadapt raised in place of the anatomy."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Checks that the bare model itself does not stand, with the reason."""
    prepare: Callable[[PreTrainedModel], PreTrainedModel] = _as_it_is
    """What is done, in place, to a copy of the model before it is used."""

    @property
    def head(self) -> frozenset[str]:
        """The parameters of the head that any output depends on."""
        return self.anatomy.head - self.anatomy.idle if self.anatomy else frozenset()

    def with_new_head(self, head: Collection[str]) -> PreTrainedModel:
        """The same model with other numbers in its head."""
        model = deepcopy(self.model)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in head:
                    parameter.normal_(std=0.05, generator=generator)
        return self.prepare(model)


# ---- the checks


def train(model: nn.Module, case: Case, trained: Mapping[str, nn.Parameter], steps: int = STEPS) -> list[float]:
    """Take the steps; the loss before each. Raise when it is not finite, or a tensor never has a gradient."""
    optimizer = torch.optim.Adam(trained.values(), lr=RATE)
    dead, losses = set(trained), []
    model.train()
    for _ in range(steps):
        loss, alive = _step_back(model, case.batch, trained)
        losses.append(loss)
        dead -= alive
        optimizer.step()
    for seed in range(2, 32):
        if dead:  # an expert to which no token of the batch went
            dead -= _step_back(model, zoo.make_batch(case.model_type, case.task, rows=8, seed=seed), trained)[1]
            optimizer.step()
    if dead:
        reached = _reached(case)
        dead = {name for name in dead if any(each.startswith(f"{_host(name)}.") for each in reached)}
    if dead:
        first = next(name for name in trained if name in dead)
        raise CheckError(f"no gradient in {len(dead)} of {len(trained)} trained tensors, first {first}")
    return losses


def _reached(case: Case) -> set[str]:
    """The parameters of the bare model that get a gradient from any of the batches."""
    model = deepcopy(case.model).train()
    every = dict(model.named_parameters())
    _, found = _step_back(model, case.batch, every)
    for seed in range(2, 32):
        found |= _step_back(model, zoo.make_batch(case.model_type, case.task, rows=8, seed=seed), every)[1]
    return found


def _host(name: str) -> str:
    """The module that a tensor of an adapter works on."""
    return re.split(r"\.(?:lora_|ia3_|ln_tuning|lightadapt_)", name)[0].replace(".base_layer", "")


def _step_back(
    model: nn.Module, batch: Mapping[str, Tensor], trained: Mapping[str, nn.Parameter]
) -> tuple[float, set[str]]:
    """Go forward and backward; the loss, and the names of what got a gradient."""
    model.zero_grad()
    loss = model(**batch).loss
    if loss is None or not loss.isfinite():
        raise CheckError(f"the loss is {loss if loss is None else loss.item()}")
    loss.backward()
    alive = {name for name, parameter in trained.items() if parameter.grad is not None and parameter.grad.any()}
    return loss.item(), alive


def outputs(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """The logits in evaluation; of question answering (batch, tokens, 2)."""
    model.eval()
    with torch.no_grad():
        result = model(**batch)
    if "start_logits" in result:
        return torch.stack([result["start_logits"], result["end_logits"]], -1)
    logits: Tensor = result["logits"]
    return logits


def gradients(model: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradients of everything that is trained, zero where there is none."""
    model.train()
    model.zero_grad()
    model(**batch).loss.backward()
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in trained.items()}


def check_checkpointing(model: Any, batch: Mapping[str, Tensor], strictness: float) -> None:
    """Raise unless the gradients are the same when the blocks are computed again in the backward pass."""
    expected = gradients(model, batch)
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    model.gradient_checkpointing_enable()
    found = gradients(model, batch)
    model.gradient_checkpointing_disable()
    rounding = max(1e-5 * largest, 1e-7)  # that of probabilities near 1 is all that is left of a loss near 0
    for name, gradient in expected.items():
        if not torch.allclose(found[name], gradient, rtol=1e-3 / strictness, atol=rounding / strictness):
            difference = float((found[name] - gradient).abs().max())
            raise CheckError(f"another gradient of {name}, by {difference:.1e} of {largest:.1e}")


def check_cache(model: Any, batch: Mapping[str, Tensor], strictness: float) -> None:
    """Raise unless greedy generation gives the same tokens and logits with a cache as without."""
    prompt = batch["input_ids"][:1]
    model.eval()
    with_cache, without = (
        model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            min_new_tokens=NEW_TOKENS,
            max_new_tokens=NEW_TOKENS,
            use_cache=use_cache,
            return_dict_in_generate=True,
            output_logits=True,
        )
        for use_cache in (True, False)
    )
    if with_cache.sequences.shape != without.sequences.shape or (with_cache.sequences != without.sequences).any():
        raise CheckError("generation gives other tokens than without")
    if not _near(torch.stack(with_cache.logits), torch.stack(without.logits), 1e-3 / strictness):
        raise CheckError("generation gives other logits than without")


def check_padding(model: nn.Module, batch: Mapping[str, Tensor], strictness: float) -> None:
    """Raise unless the second text, which is padded in the batch, gives the same outputs alone."""
    rows, tokens = batch["input_ids"].shape
    length = int(batch["attention_mask"][1].sum())
    alone = {
        name: value[1:2, :length] if value.shape[:2] == (rows, tokens) else value[1:2] for name, value in batch.items()
    }
    found, expected = outputs(model, batch)[1:2], outputs(model, alone)
    if expected.dim() == 3:
        found, expected = found[:, :length], expected[:, :length]
    if not _near(found, expected, 1e-4 / strictness):
        raise CheckError(f"it changes the outputs by {float((found - expected).abs().max()):.1e}")


def _near(first: Tensor, second: Tensor, tolerance: float) -> bool:
    return bool((first - second).abs().max() <= tolerance * max(1.0, float(second.abs().max())))


CHECKPOINTING = "gradient checkpointing"
CHECKS: dict[str, Callable[[Any, Mapping[str, Tensor], float], None]] = {
    "padding": check_padding,
    "cache": check_cache,
    CHECKPOINTING: check_checkpointing,
}
"""Checks that a bare model may fail by itself."""


def checks_of(case: Case) -> Iterator[str]:
    """The names of those that mean something for the case."""
    yield "cache" if case.task in GENERATION else "padding"
    if case.model.supports_gradient_checkpointing:
        yield CHECKPOINTING


def run_check(name: str, model: nn.Module, batch: Mapping[str, Tensor], strictness: float = 1) -> None:
    """Raise when the check does not hold, with its name in front of whatever was raised."""
    try:
        CHECKS[name](model, batch, strictness)
    except Exception as error:  # an architecture may raise anything
        raise CheckError(f"{name}: {describe(error)}") from error


# ---- the cells


def shaken(model: PreTrainedModel, seed: int, deviation: float) -> PreTrainedModel:
    """The model with noise on all weights, in place: nothing is to hold, or to fail, by a start at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += deviation * torch.randn(parameter.shape, generator=generator)
    return model


def make_case(model_type: str, task: str) -> Case:
    """The model with its batch and its anatomy; raises where the bare model does not train, or is not deterministic."""
    case = Case(model_type, task, shaken(zoo.make_model(model_type, task), 100, 0.02), zoo.make_batch(model_type, task))
    try:
        case.anatomy = read_anatomy(type(case.model), case.model.config)
    except LightAdaptError as error:
        case.unread = RefusalError(str(error))
    except Exception as error:  # a fault of lightadapt, which its cells are to show
        case.unread = error
    if not all(gradient.isfinite().all() for gradient in gradients(deepcopy(case.model), case.batch).values()):
        raise CheckError("its gradients are not finite")
    if not torch.equal(outputs(case.model, case.batch), outputs(case.model, case.batch)):
        raise CheckError("it gives other outputs when it is called again")
    return case


def find_left_out(case: Case) -> dict[str, str]:
    """The checks that the bare model itself does not stand, with the reason.

    It is tried with several weights and a tenth of the tolerance: a model that selects the k largest of some scores
    stands some checks with one set of weights and not with another.
    """
    found = {}
    for name in checks_of(case):
        try:
            with time_limit(SECONDS):
                for seed in range(BARE_TRIALS):
                    bare = case.prepare(shaken(deepcopy(case.model), seed, 0.05))
                    run_check(name, bare, case.batch, strictness=10)
        except Exception as error:  # an architecture may raise anything
            found[name] = describe(error)
    return found


def make_method(name: str) -> Method:
    """The method with its defaults; a bottleneck is half as wide as the stream.

    By default it would have four units in models as narrow as these, and all four may be dead by chance.
    """
    method = resolve_method(name)
    return replace(method, reduction=2) if isinstance(method, Bottleneck) else method


def check_lightadapt(case: Case, method: str) -> None:
    """Run a method of lightadapt through all checks; raise at the first that does not hold."""
    if case.anatomy is None:
        assert case.unread is not None
        raise case.unread
    try:
        plan = make_method(method).plan(case.anatomy, None)
    except LightAdaptError as error:
        raise RefusalError(str(error)) from error
    own = (case.anatomy.head | plan.unfrozen) - case.anatomy.idle
    model = deepcopy(case.model)
    modules = outermost(model, own)
    frozen = {name: parameter for name, parameter in model.named_parameters() if name not in own}
    before = {name: parameter.detach().clone() for name, parameter in frozen.items()}
    trained = insert(model, plan.config, own, seed=0)
    check_trained(model, frozen, trained)
    train(model, case, trained)
    changed = [name for name, parameter in frozen.items() if not torch.equal(parameter, before[name])]
    if changed:
        raise CheckError(f"training changed {len(changed)} frozen tensors, first {changed[0]}")

    saved = {name: t.detach().contiguous() for name, t in checkpoint.trained_tensors(model, own, modules).items()}
    again = case.with_new_head(case.anatomy.head)
    insert(again, plan.config, own, seed=1)
    checkpoint.restore(again, own, modules, load(save(saved)), Path("artifact"))
    check_same(outputs(model, case.batch), outputs(again, case.batch))
    for name in checks_of(case):
        if name not in case.left_out:
            run_check(name, model, case.batch)


def insert(
    model: PreTrainedModel, config: PeftConfig | None, own: Collection[str], *, seed: int
) -> dict[str, nn.Parameter]:
    """Insert an adapter and leave it and `own` alone trainable; all that is trained, by name."""
    torch.manual_seed(seed)
    if config is not None:
        peft_bridge.insert(model, config)
    names = peft_bridge.adapter_parameters(model) | own
    model.requires_grad_(False)
    trained = {name: parameter for name, parameter in model.named_parameters() if name in names}
    for parameter in trained.values():
        parameter.requires_grad_(True)
    return trained


def check_trained(
    model: PreTrainedModel, frozen: Mapping[str, nn.Parameter], trained: Mapping[str, nn.Parameter]
) -> None:
    """Raise when a frozen tensor is trained, or a new one is not; tensors are told by identity, not by name."""
    known = {id(parameter) for parameter in frozen.values()}
    wrong = [name for name, parameter in trained.items() if id(parameter) in known]
    lost = [name for name, p in model.named_parameters() if not p.requires_grad and id(p) not in known]
    if wrong:
        raise CheckError(f"{len(wrong)} tensors of the backbone are taken for the adapter's, first {wrong[0]}")
    if lost:
        raise CheckError(f"{len(lost)} inserted tensors are not trained, first {lost[0]}")
    if not trained:
        raise CheckError("nothing is trained")


def check_same(expected: Tensor, found: Tensor) -> None:
    """Raise unless a restored model gives the same outputs, bit for bit."""
    if not torch.equal(expected, found):
        difference = float((expected - found).abs().max())
        raise CheckError(f"a restored model gives other outputs (difference {difference:.1e})")


def check_peft(case: Case, method: str) -> None:
    """Run a method of raw PEFT through the checks that apply to it; raise at the first that does not hold."""
    head = frozenset() if case.task in GENERATION else case.head
    torch.manual_seed(0)
    model = peft.get_peft_model(deepcopy(case.model), RAW[method](task_type=TASKS[case.task][2]))
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


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise `CheckError` inside the block when it takes longer."""

    def stop(*_: Any) -> None:
        raise CheckError("timeout")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def describe(error: Exception) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return (text if isinstance(error, (CheckError, RefusalError)) else f"{type(error).__name__}: {text}")[:300]


COLUMNS: dict[str, Callable[[Case, str], None]] = {"lightadapt": check_lightadapt, "peft": check_peft}


def run_cell(case: Case, method: str, column: str, check: Callable[[Case, str], None]) -> Cell:
    """How the method does on the case."""
    status, reason, start = "pass", "", time.perf_counter()
    try:
        with time_limit(SECONDS):
            check(case, method)
    except RefusalError as error:
        status, reason = "refused", describe(error)
    except Exception as error:  # what an architecture or PEFT raises is the result
        status, reason = "fail", describe(error)
    seconds = round(time.perf_counter() - start, 3)
    return Cell(case.model_type, case.task, method, column, status, reason, seconds)


def run_type(
    model_type: str, tasks: Collection[str], methods: Iterable[str], with_peft: bool
) -> tuple[list[Cell], list[tuple[str, str, str, str]]]:
    """All cells of a model type, and the checks that were left out: (type, task, check, reason)."""
    torch.set_num_threads(1)
    be_quiet()
    cells: list[Cell] = []
    left_out = []
    columns = [(method, "lightadapt") for method in methods]
    columns += [(method, "peft") for method in methods if with_peft and method in RAW]
    for task in zoo.tasks_of(model_type):
        if task not in tasks:
            continue
        try:
            with time_limit(SECONDS):
                case = make_case(model_type, task)
            case.left_out = find_left_out(case)
        except Exception as error:  # an architecture may raise anything
            reason = f"the bare model: {describe(error)}"
            found = [Cell(model_type, task, method, column, "fail", reason, 0.0) for method, column in columns]
        else:
            found = [run_cell(case, method, column, COLUMNS[column]) for method, column in columns]
            left_out += [(model_type, task, name, reason) for name, reason in case.left_out.items()]
        cells += found
    tell(cells)
    return cells, left_out


def tell(cells: Iterable[Cell]) -> None:
    """Print what did not pass."""
    for cell in cells:
        if cell.status != "pass":
            print(cell.status, cell.column, cell.model_type, cell.task, cell.method, cell.reason, flush=True)


def be_quiet() -> None:
    """Silence what libraries say of each of some thousand tiny models."""
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)


# ---- the report


@dataclass
class Results:
    """All cells of a run, and what was left out of it."""

    cells: list[Cell] = field(default_factory=list)
    left_out: list[tuple[str, str, str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def of(self, method: str, column: str = "lightadapt") -> list[Cell]:
        """The cells of a method."""
        return [cell for cell in self.cells if (cell.method, cell.column) == (method, column)]

    @property
    def methods(self) -> list[str]:
        """The methods in the order in which they ran."""
        return list(dict.fromkeys(cell.method for cell in self.cells))

    @property
    def types(self) -> list[str]:
        """The model types in the order in which they ran."""
        return list(dict.fromkeys(cell.model_type for cell in self.cells))

    def save(self, file: Path) -> None:
        """Write all of it as JSON."""
        content = {"versions": versions(), "seconds": round(self.seconds), "left_out": self.left_out}
        content["cells"] = [asdict(cell) for cell in self.cells]
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def versions(*others: str) -> dict[str, str]:
    """The versions that the results hold for."""
    return {name: version(name) for name in ("lightadapt", "transformers", "peft", "torch", *others)}


def as_table(rows: Iterable[Iterable[object]]) -> list[str]:
    """A Markdown table whose first row is the header."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return [lines[0], f"|{'---|' * (lines[0].count(' | ') + 1)}", *lines[1:]]


def summary(results: Results) -> list[str]:
    """One row for each method."""
    rows: list[Iterable[object]] = [
        ("method", "cells", "pass", "refused", "fail", "raw PEFT: pass", "raw PEFT: pass, check 4 apart")
    ]
    for method in results.methods:
        count = Counter(cell.status for cell in results.of(method))
        total = count.total() or 1
        raw = results.of(method, "peft")
        strict = sum(cell.status == "pass" for cell in raw)
        apart = strict + sum(cell.reason.startswith(CHECKPOINTING) for cell in raw)
        beside = [f"{number / len(raw):.1%}" if raw else "–" for number in (strict, apart)]
        passed = f"{count['pass']} ({count['pass'] / total:.1%})"
        refused = f"{count['refused']} ({count['refused'] / total:.1%})"
        rows.append((f"`{method}`", count.total(), passed, refused, count["fail"], *beside))
    return as_table(rows)


def grouped(cells: Iterable[Cell], most: int | None = None) -> list[str]:
    """The cells by reason, the most frequent first, with an example of the reason, the methods and the types."""
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[_kind(cell.reason)].append(cell)
    ordered = sorted(groups.values(), key=len, reverse=True)
    lines = []
    for group in ordered[:most]:
        methods = ", ".join(f"`{method}`" for method in dict.fromkeys(cell.method for cell in group))
        places = "" if most else f"  \n  {_places(group)}"
        lines.append(f"- {len(group)} × {methods}: {_as_text(group[0].reason)}{places}")
    if ordered[most:] if most else ():
        lines.append(f"- {sum(map(len, ordered[most:]))} for {len(ordered[most:])} other reasons")
    return lines or ["None."]


def _kind(reason: str) -> str:
    """A reason without what differs from model to model: paths of modules, names of classes, numbers, quotations."""
    return re.sub(r"'[^']*'|\b\w*(\.\w+)+\b|\b\w+For[A-Z]\w+|\b[A-Z]\w+Model\b|\b[\d.]+(e-?\d+)?\b", "…", reason)


def _as_text(reason: str) -> str:
    """A reason in which Markdown finds nothing to format."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", reason)


def _places(cells: Iterable[Cell]) -> str:
    """The types and letters of the tasks of these cells."""
    letters: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        if TASKS[cell.task][0] not in letters[cell.model_type]:
            letters[cell.model_type].append(TASKS[cell.task][0])
    return ", ".join(f"{model_type} {''.join(found)}" for model_type, found in letters.items())


def by_type(results: Results) -> list[str]:
    """One row for each type: the tasks it has, and those in which a method passes."""
    every, passed = defaultdict(str), defaultdict(str)
    for cell in results.cells:
        if cell.column == "lightadapt":
            every[cell.model_type, cell.method] += TASKS[cell.task][0]
            passed[cell.model_type, cell.method] += TASKS[cell.task][0] if cell.status == "pass" else ""
    first = results.methods[0]
    rows: list[Iterable[object]] = [("type", "tasks", *(f"`{method}`" for method in results.methods))]
    for model_type in results.types:
        rows.append(
            (
                model_type,
                every[model_type, first],
                *(passed[model_type, method] or "–" for method in results.methods),
            )
        )
    return as_table(rows)


def left_out(results: Results) -> list[str]:
    """For each check the types that it was left out for."""
    places: dict[str, dict[str, str]] = defaultdict(lambda: defaultdict(str))
    for model_type, task, name, _ in results.left_out:
        places[name][model_type] += TASKS[task][0]
    return [
        f"- {name}, {len(types)} types: " + ", ".join(f"{model_type} {tasks}" for model_type, tasks in types.items())
        for name, types in places.items()
    ]


def quantized_section() -> str:
    """The section of the page, as it stands, that `coverage_quantized.py` writes."""
    page = PAGE.read_text(encoding="utf-8")
    return page[page.find(QUANTIZED) : page.find(BY_TYPE)] if QUANTIZED in page else ""


def as_page(results: Results) -> str:
    """The page of the documentation."""
    letters = ", ".join(f"{letter} {name}" for letter, name, _ in TASKS.values())
    said = ", ".join(f"{name} {number}" for name, number in versions().items())
    cases = len({(cell.model_type, cell.task) for cell in results.cells})
    own = [cell for cell in results.cells if cell.column == "lightadapt"]
    head = f"{len(results.types)} model types, {cases} combinations of type and task; {said}."
    parts = [
        INTRODUCTION,
        "## By method\n",
        f"{head}\n",
        *summary(results),
        f"\nThe letters below stand for tasks: {letters}.\n",
        "## Refusals\n",
        *grouped(cell for cell in own if cell.status == "refused"),
        "\n## Failures\n",
        *grouped(cell for cell in own if cell.status == "fail"),
        "\n## Why raw PEFT fails\n",
        *grouped((cell for cell in results.cells if (cell.column, cell.status) == ("peft", "fail")), most=12),
        "\n## Checks left out\n",
        "The bare model does not have the property itself.\n",
        *(left_out(results) or ["None."]),
        f"\n{quantized_section()}{BY_TYPE}",
        "The letters of the tasks in which the method passes.\n",
        *by_type(results),
    ]
    return "\n".join(parts) + "\n"


# ---- the command


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--types", type=_names, default=zoo.model_types(), help="such as bert,llama; default: all")
    parser.add_argument("--tasks", type=_names, default=list(TASKS), help=f"of {', '.join(TASKS)}")
    parser.add_argument("--methods", type=_names, default=list(METHODS), help=f"of {', '.join(NAMES)}")
    parser.add_argument("--no-peft", action="store_true", help="leave raw PEFT out")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--json", type=Path, help="also write the cells to this file, type by type")
    parser.add_argument("--write", action="store_true", help="write docs/coverage.md")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    return text.split(",")


def run(one: Callable[[str], tuple[list[Cell], list[tuple[str, str, str, str]]]], arguments: Any) -> Results:
    """The results of all types that were asked for, each from `one`."""
    results, start = Results(), time.perf_counter()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        each = map if arguments.jobs == 1 else pool.map
        for cells, skipped in each(one, arguments.types):
            results.cells += cells
            results.left_out += skipped
            results.seconds = time.perf_counter() - start
            if arguments.json:
                results.save(arguments.json)
    return results


def main() -> None:
    """Run, print the table, and write the page when asked to."""
    arguments = parse_arguments()
    one = partial(run_type, tasks=arguments.tasks, methods=arguments.methods, with_peft=not arguments.no_peft)
    results = run(one, arguments)
    each = sum(cell.seconds for cell in results.cells) / max(len(results.cells), 1)
    print("\n".join(summary(results)))
    print(f"{len(results.cells)} cells in {results.seconds:.0f} s, {each:.2f} s a cell")
    if arguments.write:
        PAGE.write_text(as_page(results), encoding="utf-8")


if __name__ == "__main__":
    main()
