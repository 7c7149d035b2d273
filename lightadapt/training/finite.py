"""A loss, gradient or weight that is infinite or NaN ends a run; the model gets its last finite weights back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lightadapt.base.fingerprint import is_finite
from lightadapt.errors import LightAdaptError
from lightadapt.machine.processes import gather, is_sharded

KEPT_BYTES = 1 << 26
"""Trained tensors of up to so many bytes are copied whenever they are found to be finite."""
NOTED = 1_000
"""Losses that are kept on a GPU until they are looked at."""
NAMED = 5
"""Records of a batch that an error names."""


class NotFiniteError(LightAdaptError):
    """A loss, a gradient or a weight is infinite or no number."""


def are_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether all values are; it waits for a GPU once."""
    parts: list[Any] = [tensor.detach() for tensor in tensors]
    parts = [part.to_local() if hasattr(part, "to_local") else part for part in parts]
    if not parts:
        return True
    if torch.stack([part.sum(dtype=torch.float32) for part in parts]).sum().isfinite():
        return True
    return all(map(is_finite, parts))  # many large ones have no finite sum


class FiniteWatch:
    """Sees that a run stays within numbers, and keeps what it had when it last did.

    On a CPU each loss is looked at before the step is taken. On a GPU that would wait for it at every step: the losses
    are noted, and looked at where the run waits anyway (for a log, an evaluation or a checkpoint, and at the end).

    Attributes:
        at_once: whether each loss is looked at when it comes.
        kept_step: the step of the weights that were copied; None: there is no copy.
    """

    def __init__(self, model: PreTrainedModel, place: Callable[[int], str], args: TrainingArguments) -> None:
        """Copy the weights as they are; `place` names the record of a training sequence."""
        self.model = model
        self.place = place
        self.rate = args.learning_rate
        self.at_once = args.device.type == "cpu" and args.world_size == 1
        self.scaled = args.fp16  # then a gradient is infinite now and then, and its step is left out
        self._noted: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        self._batch: list[torch.Tensor] = []
        self._step = 0
        self._copies: dict[str, torch.Tensor] = {}
        self.kept_step: int | None = None
        self.keep(0)

    @property
    def trained(self) -> Mapping[str, torch.Tensor]:
        """What learns; looked up anew, since a model that is taken apart gets other tensors."""
        return {name: value for name, value in self.model.named_parameters() if value.requires_grad}

    # ---- watching

    def note(self, step: int, rows: torch.Tensor, loss: torch.Tensor) -> None:
        """Take note of the loss of a batch of these training sequences.

        Raises:
            NotFiniteError: this loss, or on a GPU an earlier one, is infinite or no number.
        """
        self._batch = [*self._batch, rows] if step == self._step else [rows]
        self._step = step
        self._noted.append((step, rows, loss.detach()))
        if self.at_once or len(self._noted) >= NOTED:
            self.look()

    def look(self) -> None:
        """Look at the losses that were noted.

        Raises:
            NotFiniteError: one is infinite or no number, with its records.
        """
        noted, self._noted = self._noted, []
        values = torch.stack([loss for *_, loss in noted]).tolist() if noted else []
        for (step, rows, _), value in zip(noted, values, strict=True):
            if value - value != 0:
                raise NotFiniteError(f"The training loss is {value} at step {step} {self.advice}{self._name([rows])}")

    def look_at_gradient(self, norm: torch.Tensor | float) -> None:
        """Look at the norm of a step's gradient, before the step is taken.

        Raises:
            NotFiniteError: it is infinite or no number.
        """
        if self.at_once and not self.scaled and float(norm) - float(norm) != 0:
            raise NotFiniteError(
                f"The gradient is {float(norm)} at step {self._step} {self.advice}{self._name(self._batch)}"
            )

    def check(self, step: int) -> None:
        """Look at losses and weights, and copy the weights.

        Raises:
            NotFiniteError: one is infinite or no number.
        """
        self.look()
        if not all(gather([are_finite(self.trained.values())])):
            name = next((name for name, value in self.trained.items() if not are_finite([value])), "one of them")
            raise NotFiniteError(
                f"The trained weights are not finite at step {step} {self.advice} First found in {name}."
            )
        self.keep(step)

    @property
    def advice(self) -> str:
        """The learning rate, and what to do about it."""
        return f"(learning rate {self.rate:g}). Try a learning rate ten times smaller."

    def _name(self, batches: list[torch.Tensor]) -> str:
        """The sentence that names the records of batches."""
        places = list(dict.fromkeys(self.place(row) for rows in batches for row in rows.tolist()))
        more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
        return f" The batch was {', '.join(places[:NAMED])}{more}; look at these, too."

    # ---- keeping

    def keep(self, step: int) -> None:
        """Copy the trained tensors, unless they are large or in parts."""
        trained = self.trained
        large = sum(value.numel() * value.element_size() for value in trained.values()) > KEPT_BYTES
        if large or is_sharded(self.model):
            return
        self._copies = {name: value.detach().clone() for name, value in trained.items()}
        self.kept_step = step

    @property
    def is_spoilt(self) -> bool:
        """Whether a trained tensor is not finite."""
        return not are_finite(self.trained.values())

    def put_back(self) -> None:
        """Write the copies into the model."""
        trained = self.trained
        with torch.no_grad():
            for name, copy in self._copies.items():
                trained[name].copy_(copy)


class LookAtLogs(TrainerCallback):
    """Looks at losses and weights whenever a loss is logged."""

    def __init__(self, watch: FiniteWatch) -> None:
        self.watch = watch

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if "loss" not in (logs or {}):
            return
        self.watch.look()
        loss = (logs or {})["loss"]
        if loss - loss != 0:  # of another process
            raise NotFiniteError(f"The training loss is {loss} at step {state.global_step} {self.watch.advice}")
        self.watch.check(state.global_step)
