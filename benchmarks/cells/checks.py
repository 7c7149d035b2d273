"""The checks of a cell; some of them a bare model may fail by itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from safetensors.torch import load, save
from torch import Tensor, nn
from transformers import PreTrainedModel

from cells.case import GENERATION, STEPS, Case, CheckError, RefusalError, gradients, outputs, shaken, train
from cells.runs import SECONDS, describe, time_limit
from lightadapt import peft_bridge
from lightadapt.adaptation import tensors
from lightadapt.anatomy import outermost
from lightadapt.errors import LightAdaptError
from lightadapt.methods.method import Plan
from lightadapt.peft_bridge import ADAPTER, Adapter

NEW_TOKENS, BARE_TRIALS = 4, 16


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


# ---- an adapter of lightadapt


def plan_of(case: Case, plan: Callable[[Any], Plan]) -> Plan:
    """What is to be inserted into the case's model; a refusal when lightadapt says that this does not fit."""
    if case.anatomy is None:
        assert case.unread is not None
        raise case.unread
    try:
        return plan(case.anatomy)
    except LightAdaptError as error:
        raise RefusalError(str(error)) from error


def check_adapter(
    case: Case,
    plan: Plan,
    *,
    steps: int = STEPS,
    state: Callable[[nn.Module], Mapping[str, Tensor]] = lambda model: dict(model.named_parameters()),
    learned: Callable[[nn.Module, list[float]], None] = lambda model, losses: None,
    ready: Callable[[nn.Module], object] = lambda model: None,
) -> None:
    """Run what a plan inserts through all checks; raise at the first that does not hold.

    Args:
        case: what the model is made from.
        plan: what is inserted.
        steps: of training.
        state: what must not change in training, but for what is trained.
        learned: a further check after training, given the losses.
        ready: what is done to the model before the checks that a bare model may fail.
    """
    assert case.anatomy is not None
    own = (case.anatomy.head | plan.unfrozen) - case.anatomy.idle
    model = case.prepare(deepcopy(case.model))
    modules = outermost(model, own)
    frozen = [parameter for name, parameter in model.named_parameters() if name not in own]
    trained = insert(model, plan.config, own, seed=0)
    check_trained(model, frozen, trained)
    before = {name: tensor.detach().clone() for name, tensor in state(model).items() if name not in trained}
    losses = train(model, case, trained, steps)
    learned(model, losses)
    check_unchanged(before, {name: tensor for name, tensor in state(model).items() if name not in trained})

    saved = {
        name: t.detach().contiguous()
        for name, t in tensors.trained_tensors(Adapter(model, ADAPTER), own, modules).items()
    }
    again = case.with_new_head(case.anatomy.head)
    insert(again, plan.config, own, seed=1)
    tensors.restore(Adapter(again, ADAPTER), own, modules, load(save(saved)), Path("artifact"))
    check_same(outputs(model, case.batch), outputs(again, case.batch))
    ready(model)
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
    names = peft_bridge.Adapter(model, peft_bridge.ADAPTER).parameters | own
    model.requires_grad_(False)
    trained = {name: parameter for name, parameter in model.named_parameters() if name in names}
    for parameter in trained.values():
        parameter.requires_grad_(True)
    return trained


def check_trained(model: nn.Module, frozen: Iterable[nn.Parameter], trained: Mapping[str, nn.Parameter]) -> None:
    """Raise when a frozen tensor is trained, or a new one is not; tensors are told by identity, not by name."""
    known = set(map(id, frozen))
    wrong = [name for name, parameter in trained.items() if id(parameter) in known]
    lost = [name for name, p in model.named_parameters() if not p.requires_grad and id(p) not in known]
    if wrong:
        raise CheckError(f"{len(wrong)} tensors of the backbone are taken for the adapter's, first {wrong[0]}")
    if lost:
        raise CheckError(f"{len(lost)} inserted tensors are not trained, first {lost[0]}")
    if not trained:
        raise CheckError("nothing is trained")


def check_unchanged(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    """Raise when training has changed, removed or added a tensor that is not trained."""
    if before.keys() != after.keys():
        raise CheckError(f"training changed which tensors are saved, first {min(before.keys() ^ after.keys())}")
    changed = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
    if changed:
        raise CheckError(f"training changed {len(changed)} frozen tensors, first {changed[0]}")


def check_same(expected: Tensor, found: Tensor) -> None:
    """Raise unless a restored model gives the same outputs, bit for bit."""
    if not torch.equal(expected, found):
        difference = float((expected - found).abs().max())
        raise CheckError(f"a restored model gives other outputs (difference {difference:.1e})")
