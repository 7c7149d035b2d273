"""One task of one model type, and what is asked of a model: its outputs, its gradients, and to learn."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import torch
import zoo
from torch import Tensor, nn
from transformers import PreTrainedModel

from lightadapt.anatomy import Anatomy, read_anatomy
from lightadapt.errors import LightAdaptError

TASKS = {
    "classification": ("C", "classification"),
    "tokens": ("T", "token classification"),
    "qa": ("Q", "question answering"),
    "causal": ("G", "generation by a decoder"),
    "seq2seq": ("S", "generation by an encoder-decoder"),
}
"""The letter and the name of each task in the page."""
GENERATION = ("causal", "seq2seq")
STEPS, RATE = 3, 1e-2


class CheckError(Exception):
    """A check that does not hold."""


class RefusalError(Exception):
    """A method that says it does not fit the model, before any weight is loaded."""


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
    require_sound(deepcopy(case.model), case.batch)
    return case


def require_sound(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> None:
    """Raise unless a bare model trains, and gives the same outputs whenever it is called."""
    if not all(gradient.isfinite().all() for gradient in gradients(model, batch).values()):
        raise CheckError("its gradients are not finite")
    if not torch.equal(outputs(model, batch), outputs(model, batch)):
        raise CheckError("it gives other outputs when it is called again")


# ---- what a model is asked


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
