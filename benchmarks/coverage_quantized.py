"""Which method works on quantized weights: the cells of `coverage.py` for some fifty architectures, in 4 and 8 bits.

    python benchmarks/coverage_quantized.py                                    # all of them, about half an hour
    python benchmarks/coverage_quantized.py --types bert --quantize 8bit       # a part of it
    python benchmarks/coverage_quantized.py --write                            # and that section of docs/coverage.md

What a pass means is in `INTRODUCTION`, the text that opens the section of the page.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from bitsandbytes.functional import has_avx512bf16
from bitsandbytes.nn import Linear8bitLt
from coverage import (
    BY_TYPE,
    METHODS,
    PAGE,
    QUANTIZED,
    SECONDS,
    TASKS,
    Case,
    Cell,
    CheckError,
    RefusalError,
    Results,
    as_table,
    be_quiet,
    check_same,
    check_trained,
    checks_of,
    describe,
    find_left_out,
    gradients,
    grouped,
    insert,
    left_out,
    make_case,
    make_method,
    outputs,
    quantized_section,
    run,
    run_cell,
    run_check,
    tell,
    time_limit,
    train,
    versions,
)
from safetensors.torch import load, save
from torch import Tensor, nn
from transformers import PreTrainedModel
from zoo import tasks_of

from lightadapt.adaptation import artifact as checkpoint
from lightadapt.anatomy import outermost
from lightadapt.base.quantization import FORMATS, Quantization, quantized_linears, resolve_quantization
from lightadapt.base.quantized_modules import is_quantized, quantize_modules
from lightadapt.base.quantized_trial import check_quantization
from lightadapt.errors import LightAdaptError

KINDS = {
    "encoders": "bert roberta xlm-roberta camembert distilbert albert electra deberta deberta-v2 modernbert mpnet "
    "longformer big_bird funnel xlnet rembert roformer mobilebert ernie esm",
    "encoder-decoders": "t5 mt5 bart mbart pegasus marian",
    "decoders": "gpt2 gpt_neo gpt_neox gptj opt bloom llama mistral qwen2 qwen3 gemma2 gemma3_text phi3 phi falcon "
    "olmo2 mamba smollm3 granite cohere nemotron stablelm starcoder2",
    "mixtures of experts": "mixtral qwen3_moe gpt_oss",
}
TYPES = " ".join(KINDS.values()).split()

LEARNING_STEPS = 10
CPU = torch.device("cpu")

INTRODUCTION = f"""{QUANTIZED}
The same for a choice of architectures whose linear projections in the blocks are frozen in 4 bits (NF4 with double
quantization) or 8 bits (LLM.int8), on a CPU; `benchmarks/coverage_quantized.py` tries them and writes this section. The
other weights are in float32. A cell **passes** when all of this holds, by the checks that the top of the page lists:

1. Check 1 with {LEARNING_STEPS} steps, and the loss of the batch before the last step is lower than before the first.
2. Check 2; packed weights and their scales are among what must not change.
3. An evaluation leaves the gradients as they were, bit for bit. (Where the processor has AVX512-BF16, bitsandbytes
   would pack 4-bit weights anew for it, and end the training in silence; lightadapt keeps it from that.)
4. Check 3, where the new model is quantized by itself.
5. Checks 4 to 6, where the quantized model without an adapter stands them; where not is listed below. In evaluation
   LLM.int8 also rounds the inputs of its products, so that a difference in the last bit of a sum may become a step of
   that rounding; checks 5 and 6 are made without it, as bitsandbytes computes in training on a CPU.

A cell is **refused** when lightadapt says so before any weight is loaded: for a reason above, or because the method
does not work on such weights, which it tries on a single small layer. Experts that are one tensor each are not
quantized; of a mixture of experts, the projections of its attention are.
"""

# ---- the cells


def quantized(model: PreTrainedModel, paths: Iterable[str], quantization: Quantization) -> PreTrainedModel:
    """The model with these projections quantized, in place, as lightadapt does with a model that is given to it."""
    quantize_modules(model, paths, quantization, torch.float32)
    return model


def make_quantized_case(case: Case, quantization: Quantization) -> Case:
    """The case with its model quantized whenever it is used; raises where the bare model then does not train."""
    if case.anatomy is None:
        return case
    try:
        paths = quantized_linears(case.anatomy, quantization)
    except LightAdaptError as error:
        return replace(case, anatomy=None, unread=RefusalError(str(error)))
    case = replace(case, prepare=partial(quantized, paths=paths, quantization=quantization))
    bare = case.prepare(deepcopy(case.model))
    packed = [path for path, module in bare.named_modules() if is_quantized(module)]
    if set(packed) != set(paths):
        raise CheckError(f"{len(packed)} modules are quantized where {len(paths)} should be")
    if not all(gradient.isfinite().all() for gradient in gradients(bare, case.batch).values()):
        raise CheckError("its gradients are not finite")
    if not torch.equal(outputs(bare, case.batch), outputs(bare, case.batch)):
        raise CheckError("it gives other outputs when it is called again")
    case.left_out = find_left_out(replace(case, prepare=lambda model: without_rounding(case.prepare(model))))
    return case


def without_rounding(model: PreTrainedModel) -> PreTrainedModel:
    """The model, in place, without the rounding of inputs that LLM.int8 does in evaluation only, on a CPU."""
    for module in model.modules():
        if isinstance(module, Linear8bitLt):
            module.register_forward_pre_hook(_compute_as_in_training)
    return model


def _compute_as_in_training(module: nn.Module, args: object) -> None:
    module.training = True


def check_quantized(case: Case, method: str, quantization: Quantization) -> None:
    """Run a method through all checks on quantized weights; raise at the first that does not hold."""
    if case.anatomy is None:
        assert case.unread is not None
        raise case.unread
    try:
        chosen = make_method(method)
        plan = chosen.plan(case.anatomy, None)
        check_quantization(case.anatomy, chosen, plan, quantization, CPU)
    except LightAdaptError as error:
        raise RefusalError(str(error)) from error
    own = (case.anatomy.head | plan.unfrozen) - case.anatomy.idle
    model = case.prepare(deepcopy(case.model))
    modules = outermost(model, own)
    frozen = {name: parameter for name, parameter in model.named_parameters() if name not in own}
    trained = insert(model, plan.config, own, seed=0)
    check_trained(model, frozen, trained)
    before = frozen_tensors(model, trained)
    losses = train(model, case, trained, LEARNING_STEPS)
    if losses[-1] >= losses[0]:
        raise CheckError(f"the loss rises from {losses[0]:.4f} to {losses[-1]:.4f} in {LEARNING_STEPS} steps")
    check_gradients_after_evaluation(model, case)
    check_unchanged(before, frozen_tensors(model, trained))

    saved = {name: t.detach().contiguous() for name, t in checkpoint.trained_tensors(model, own, modules).items()}
    again = case.with_new_head(case.anatomy.head)
    insert(again, plan.config, own, seed=1)
    checkpoint.restore(again, own, modules, load(save(saved)), Path("artifact"))
    check_same(outputs(model, case.batch), outputs(again, case.batch))
    without_rounding(model)
    for name in checks_of(case):
        if name not in case.left_out:
            run_check(name, model, case.batch)


def frozen_tensors(model: nn.Module, trained: Iterable[str]) -> dict[str, Tensor]:
    """A copy of everything that the model saves and does not train: packed weights, their scales, buffers."""
    names = set(trained)
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if name not in names}


def check_unchanged(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    """Raise when training has changed, removed or added a tensor that is not trained."""
    if before.keys() != after.keys():
        raise CheckError(f"training changed which tensors are saved, first {min(before.keys() ^ after.keys())}")
    changed = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
    if changed:
        raise CheckError(f"training changed {len(changed)} frozen tensors, first {changed[0]}")


def check_gradients_after_evaluation(model: nn.Module, case: Case) -> None:
    """Raise unless an evaluation leaves the gradients as they were."""
    expected = gradients(model, case.batch)
    outputs(model, case.batch)
    found = gradients(model, case.batch)
    other = [name for name, gradient in expected.items() if not torch.equal(gradient, found[name])]
    if other:
        raise CheckError(f"{len(other)} gradients are others after an evaluation, first {other[0]}")


def run_type(
    model_type: str, tasks: Iterable[str], methods: Iterable[str], formats: Iterable[str]
) -> tuple[list[Cell], list[tuple[str, str, str, str]]]:
    """All cells of a model type, and the checks that were left out: (type, task, check, reason)."""
    torch.set_num_threads(1)
    be_quiet()
    cells: list[Cell] = []
    skipped = []
    for task in tasks_of(model_type):
        for name in formats if task in tasks else ():
            quantization = resolve_quantization(name)
            assert quantization is not None
            try:
                with time_limit(SECONDS):
                    case = make_quantized_case(make_case(model_type, task), quantization)
            except Exception as error:  # an architecture may raise anything
                reason = f"the bare model: {describe(error)}"
                cells += [Cell(model_type, task, method, name, "fail", reason, 0.0) for method in methods]
                continue
            check = partial(check_quantized, quantization=quantization)
            cells += [run_cell(case, method, name, check) for method in methods]
            skipped += [(model_type, task, f"{check} ({name})", reason) for check, reason in case.left_out.items()]
    tell(cells)
    return cells, skipped


# ---- the report


def summary(results: Results, formats: Iterable[str]) -> list[str]:
    """One row for each method."""
    formats = list(formats)
    header = [f"{name}: {what}" for name in formats for what in ("cells", "pass", "refused", "fail")]
    rows: list[Iterable[object]] = [("method", *header)]
    for method in results.methods:
        counts = [Counter(cell.status for cell in results.of(method, name)) for name in formats]
        numbers = [
            number
            for count in counts
            for number in (
                count.total(),
                f"{count['pass']} ({count['pass'] / (count.total() or 1):.1%})",
                count["refused"],
                count["fail"],
            )
        ]
        rows.append((f"`{method}`", *numbers))
    return as_table(rows)


def by_kind(results: Results) -> dict[str, list[str]]:
    """The types of the run, in the groups of `KINDS`."""
    known = {model_type: kind for kind, names in KINDS.items() for model_type in names.split()}
    found: dict[str, list[str]] = {}
    for model_type in results.types:
        found.setdefault(known.get(model_type, "others"), []).append(model_type)
    return found


def as_section(results: Results, formats: Iterable[str]) -> str:
    """The section of the page."""
    said = ", ".join(f"{name} {number}" for name, number in versions("bitsandbytes").items())
    cases = len({(cell.model_type, cell.task) for cell in results.cells})
    cpu = f"a CPU {'with' if has_avx512bf16() else 'without'} AVX512-BF16"
    parts = [
        INTRODUCTION,
        f"{len(results.types)} model types, {cases} combinations of type and task; {said}; {cpu}.\n",
        *summary(results, formats),
    ]
    for status, heading in (("refused", "Refusals"), ("fail", "Failures")):
        for name in formats:
            found = [cell for cell in results.cells if (cell.column, cell.status) == (name, status)]
            parts += [f"\n### {heading}, {name}\n", *grouped(found)]
    parts += [
        "\n### Checks left out of the quantized cells\n",
        "The quantized model without an adapter does not have the property itself.\n",
        *(left_out(results) or ["None."]),
        "\n### Model types\n",
        *(f"- {kind}: {', '.join(found)}" for kind, found in by_kind(results).items()),
    ]
    return "\n".join(parts) + "\n\n"


def write_section(text: str) -> None:
    """Put the section into the page, in the place of what stood there."""
    page = PAGE.read_text(encoding="utf-8")
    old = quantized_section()
    PAGE.write_text(page.replace(old, text) if old else page.replace(BY_TYPE, text + BY_TYPE), encoding="utf-8")


# ---- the command


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quantize", type=_names, default=list(FORMATS), help=f"of {', '.join(FORMATS)}")
    parser.add_argument("--types", type=_names, default=TYPES, help="such as bert,llama; default: the list in here")
    parser.add_argument("--tasks", type=_names, default=list(TASKS), help=f"of {', '.join(TASKS)}")
    parser.add_argument("--methods", type=_names, default=list(METHODS), help=f"of {', '.join(METHODS)}")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--json", type=Path, help="also write the cells to this file, type by type")
    parser.add_argument("--write", action="store_true", help="write the section of docs/coverage.md")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    return text.split(",")


def main() -> None:
    """Run, print the table, and write the section when asked to."""
    arguments = parse_arguments()
    one = partial(run_type, tasks=arguments.tasks, methods=arguments.methods, formats=arguments.quantize)
    results = run(one, arguments)
    print("\n".join(summary(results, arguments.quantize)))
    print(f"{len(results.cells)} cells in {results.seconds:.0f} s")
    if arguments.write:
        write_section(as_section(results, arguments.quantize))


if __name__ == "__main__":
    main()
