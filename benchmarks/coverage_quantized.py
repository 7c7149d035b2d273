"""Which method works on quantized weights: the cells of `coverage.py` for some fifty architectures, in 4 and 8 bits.

    python benchmarks/coverage_quantized.py                                    # all of them, about half an hour
    python benchmarks/coverage_quantized.py --types bert --quantize 8bit       # a part of it
    python benchmarks/coverage_quantized.py --write                            # and that section of docs/coverage.md

What a pass means is in `INTRODUCTION`, the text that opens the section of the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch
from bitsandbytes.functional import has_avx512bf16
from bitsandbytes.nn import Linear8bitLt
from cells.case import TASKS, Case, CheckError, RefusalError, gradients, make_case, outputs, require_sound
from cells.checks import check_adapter, find_left_out, plan_of
from cells.report import count, extent, grouped, left_out
from cells.runs import Kind, Results, run_type, run_types
from command import command, names_of, renew
from coverage import METHODS, PAGE, make_method
from torch import nn
from transformers import PreTrainedModel

from lightadapt.anatomy import Anatomy
from lightadapt.base.quantization import FORMATS, Quantization, quantized_linears, resolve_quantization
from lightadapt.base.quantized_modules import is_quantized, quantize_modules
from lightadapt.base.quantized_trial import check_quantization
from lightadapt.errors import LightAdaptError
from lightadapt.experiments.markdown import as_table
from lightadapt.methods.method import Plan

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

INTRODUCTION = f"""## Quantized

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


def make_quantized_case(model_type: str, task: str, quantization: Quantization) -> Case:
    """The case with its model quantized whenever it is used; raises where the bare model then does not train."""
    case = make_case(model_type, task)
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
    require_sound(bare, case.batch)
    return case


def quantized_left_out(case: Case) -> dict[str, str]:
    """The checks that the quantized model itself does not stand, with the reason."""
    if case.anatomy is None:
        return {}
    return find_left_out(replace(case, prepare=lambda model: without_rounding(case.prepare(model))))


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
    plan = plan_of(case, partial(quantized_plan, method=method, quantization=quantization))
    learned, state = partial(check_learned, case), nn.Module.state_dict
    check_adapter(case, plan, steps=LEARNING_STEPS, state=state, learned=learned, ready=without_rounding)


def quantized_plan(anatomy: Anatomy, method: str, quantization: Quantization) -> Plan:
    """What the method inserts, tried on such weights."""
    chosen = make_method(method)
    plan = chosen.plan(anatomy, None)
    check_quantization(anatomy, chosen, plan, quantization, CPU)
    return plan


def check_learned(case: Case, model: nn.Module, losses: Sequence[float]) -> None:
    """Raise unless the loss has fallen, and an evaluation leaves the gradients as they were."""
    if losses[-1] >= losses[0]:
        raise CheckError(f"the loss rises from {losses[0]:.4f} to {losses[-1]:.4f} in {LEARNING_STEPS} steps")
    expected = gradients(model, case.batch)
    outputs(model, case.batch)
    found = gradients(model, case.batch)
    other = [name for name, gradient in expected.items() if not torch.equal(gradient, found[name])]
    if other:
        raise CheckError(f"{len(other)} gradients are others after an evaluation, first {other[0]}")


# ---- the section


def summary(results: Results, formats: Sequence[str]) -> str:
    """One row for each method."""
    head = [f"{name}: {what}" for name in formats for what in ("cells", "pass", "refused", "fail")]
    rows = [
        (f"`{method}`", *(number for name in formats for number in count(results.of(method, name))))
        for method in results.methods
    ]
    return as_table(["method", *head], rows)


def by_kind(results: Results) -> dict[str, list[str]]:
    """The types of the run, in the groups of `KINDS`."""
    known = {model_type: kind for kind, names in KINDS.items() for model_type in names.split()}
    found: dict[str, list[str]] = {}
    for model_type in results.types:
        found.setdefault(known.get(model_type, "others"), []).append(model_type)
    return found


def as_section(results: Results, formats: Sequence[str]) -> str:
    """The section of the page."""
    cpu = f"a CPU {'with' if has_avx512bf16() else 'without'} AVX512-BF16"
    parts = [INTRODUCTION, f"{extent(results, 'bitsandbytes')}; {cpu}.\n", summary(results, formats)]
    for status, heading in (("refused", "Refusals"), ("fail", "Failures")):
        for name in formats:
            found = [cell for cell in results.cells if (cell.column, cell.status) == (name, status)]
            parts += [f"\n### {heading}, {name}\n", *grouped(found)]
    parts += [
        "\n### Checks left out of the quantized cells\n",
        "The quantized model without an adapter does not have the property itself.\n",
        *left_out(results),
        "\n### Model types\n",
        *(f"- {kind}: {', '.join(found)}" for kind, found in by_kind(results).items()),
    ]
    return "\n".join(parts)


def main() -> None:
    """Run, print the table, and write the section when asked to."""
    parser = command(__doc__, methods=",".join(METHODS), jobs=1, json=None)
    parser.add_argument("--quantize", default=",".join(FORMATS), help="default: %(default)s")
    parser.add_argument("--types", default=",".join(TYPES), help="such as bert,llama; default: the list in here")
    parser.add_argument("--tasks", default=",".join(TASKS), help="default: %(default)s")
    parser.add_argument("--write", action="store_true", help="write the section of docs/coverage.md")
    options = parser.parse_args()
    methods, formats = names_of(parser, options.methods, METHODS), names_of(parser, options.quantize, FORMATS)
    kinds = [kind_of(name, methods) for name in formats]
    one = partial(run_type, tasks=names_of(parser, options.tasks, TASKS), kinds=kinds)
    results = run_types(one, options.types.split(","), jobs=options.jobs, file=options.json)
    print(summary(results, formats))
    print(f"{len(results.cells)} cells in {results.seconds:.0f} s")
    if options.write:
        renew(PAGE, "quantized", as_section(results, formats))


def kind_of(name: str, methods: Sequence[str]) -> Kind:
    """The cells of these methods on weights in this format."""
    quantization = resolve_quantization(name)
    assert quantization is not None
    return Kind(
        make=partial(make_quantized_case, quantization=quantization),
        left_out=quantized_left_out,
        checks={name: partial(check_quantized, quantization=quantization)},
        columns=[(method, name) for method in methods],
        note=f" ({name})",
    )


if __name__ == "__main__":
    main()
