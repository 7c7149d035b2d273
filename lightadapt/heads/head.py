"""The head of one adaptation: which outputs it has, what is known of them, and how more are added."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from lightadapt.anatomy import outermost
from lightadapt.errors import LightAdaptError
from lightadapt.heads.outputs import (
    OutputScale,
    has_named_outputs,
    output_layer,
    output_names,
    renew_head,
    start_outputs_at,
)
from lightadapt.heads.pooling import Pooling
from lightadapt.heads.prototypes import Prototypes


class HeadState(Enum):
    """Where a head is in its life."""

    NAMELESS = "its outputs are not named yet, and it has learned nothing"
    FOUND = "it came trained with the checkpoint, which does not name its outputs"
    ADOPTED = "it came trained with the checkpoint, whose names hold until data says otherwise"
    FRESH = "its outputs are named, and it has learned nothing"
    LEARNED = "its outputs are named, and it has learned something"


class Head:
    """The parameters of a model that its task brings along, and their state.

    Attributes:
        names: of the parameters, as in the model without adapters.
        state: what is known and learned.
        prototypes: how its rows are read where they are prototypes; else None.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        names: frozenset[str],
        parts: frozenset[str],
        *,
        named: bool,
        trained: bool,
        seed: int,
    ) -> None:
        """Look after the head of a model.

        Args:
            names: all parameters that are trained with the task.
            parts: those of them that lie outside the backbone.
            named: whether the task knows the names of its outputs.
            trained: whether the head came trained with the checkpoint.
            seed: of what is freshly initialised.
        """
        self.model = model
        self.names = names
        self.parts = parts
        self.seed = seed
        self.state = _first_state(named=named, trained=trained)
        self.prototypes: Prototypes | None = None
        self._start = self._sums()

    @property
    def is_untouched(self) -> bool:
        """Whether it has learned nothing and nobody has changed it, as a training loop of one's own does."""
        return self.is_fresh and self._start == self._sums()

    def _sums(self) -> list[float]:
        """The sums of its parameters, which tell whether they have changed."""
        with torch.no_grad():
            return [float(each.float().abs().sum()) for module in self.modules for each in module.parameters()]

    @property
    def is_fresh(self) -> bool:
        """Whether it has learned nothing yet."""
        return self.state in (HeadState.NAMELESS, HeadState.FRESH)

    @property
    def is_settled(self) -> bool:
        """Whether its outputs stay as they are, whatever data comes."""
        return self.state in (HeadState.FRESH, HeadState.LEARNED)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs, in order."""
        return output_names(self.model.config)

    @property
    def has_names_to_adopt(self) -> bool:
        """Whether the checkpoint names the outputs of a head that came trained with it."""
        return self.state is HeadState.FOUND and has_named_outputs(self.model.config)

    @property
    def modules(self) -> list[nn.Module]:
        """The outermost modules."""
        return [self.model.get_submodule(path) for path in outermost(self.model, self.parts)]

    def adopt(self) -> None:
        """Note that the names which the checkpoint has are those of the task, for now."""
        self.state = HeadState.ADOPTED

    def settle(self, outputs: Sequence[str]) -> None:
        """Take these outputs for good.

        Other ones than before start anew, unless none of those before is lost: then their rows keep their values, and
        the others stand beside them. Outputs that had no names yet keep all modules that have the right size. A head
        without names for its outputs stays as it is.

        Raises:
            LightAdaptError: outputs are to be added to a head that has no rows for them.
        """
        before = () if self.state in (HeadState.NAMELESS, HeadState.FOUND) else self.outputs
        if outputs and set(outputs) != set(before):
            if before and set(before) <= set(outputs):
                self._add_outputs(outputs)
            elif renew_head(self.model, self.parts, outputs, seed=self.seed, keep=not before):
                self.state = HeadState.FRESH
        self.state = HeadState.FRESH if self.is_fresh else HeadState.LEARNED
        self._start = self._sums()

    def _add_outputs(self, outputs: Sequence[str]) -> None:
        """Put outputs beside those that there are, whose rows keep their values under their names."""
        before = self.outputs
        old = output_layer(self.modules, len(before))
        if old is None:
            raise LightAdaptError(
                f"The head of {type(self.model).__name__} has no linear layer with a row for each of its "
                f"{len(before)} outputs, so none can be added. Adapt the model again with all labels."
            )
        renew_head(self.model, self.parts, outputs, seed=self.seed, keep=True)
        new = output_layer(self.modules, len(outputs))
        assert new is not None
        rows = [list(outputs).index(name) for name in before]
        with torch.no_grad():
            new.weight[rows] = old.weight.to(new.weight)
            if new.bias is not None:
                new.bias[rows] = old.bias.to(new.bias)

    @property
    def _output_layer(self) -> nn.Linear | None:
        """The layer that gives its outputs; None where there is none."""
        return output_layer(self.modules, len(self.outputs))

    @property
    def input_width(self) -> int:
        """How many numbers an output is computed from; the width of a hidden state where there is no such layer."""
        layer = self._output_layer
        return layer.in_features if layer is not None else int(self.model.config.get_text_config().hidden_size)

    @property
    def reads_hidden_states(self) -> bool:
        """Whether what it computes its outputs from is as wide as a hidden state, so that rows can be prototypes."""
        return self._layer_of_prototypes is not None

    @property
    def _layer_of_prototypes(self) -> str | None:
        """The path of the output layer where its rows are as wide as a hidden state."""
        layer = self._output_layer
        if layer is None or layer.in_features != self.model.config.get_text_config().hidden_size:
            return None
        return next(str(path) for path, module in self.model.named_modules() if module is layer)

    def read_as_prototypes(self, pooling: Pooling) -> frozenset[str]:
        """Read the rows of the output layer as prototypes from now on; the parameters that have a say then.

        Raises:
            LightAdaptError: there is no such layer.
        """
        path = self._layer_of_prototypes
        if path is None:
            raise LightAdaptError(
                f"The head of {type(self.model).__name__} has no output layer on hidden states, so its rows cannot be "
                "prototypes."
            )
        self.prototypes = Prototypes(self.model, path, pooling)
        return frozenset({f"{path}.weight"})

    def read_as_discriminants(self) -> frozenset[str]:
        """Read the output layer as it is, on the texts' vectors, from now on; the parameters that have a say then.

        A layer without biases goes on to be read by cosines.
        """
        assert self.prototypes is not None
        self.prototypes.linear = self.prototypes.has_biases
        weight = f"{self.prototypes.layer}.weight"
        return frozenset({weight, f"{self.prototypes.layer}.bias"} if self.prototypes.linear else {weight})

    def start(self, values: np.ndarray | None) -> None:
        """Let a head that has learned nothing give these values `(K,)` at first; from here on it learns."""
        if self.is_fresh and values is not None:
            start_outputs_at(self.modules, values)
        self.mark_learned()

    def start_rows_at(self, rows: np.ndarray) -> None:
        """Let prototypes `(K, width)` start there; from here on they learn."""
        assert self.prototypes is not None
        with torch.no_grad():
            self.prototypes.rows.copy_(torch.as_tensor(rows))
        self.mark_learned()

    def mark_learned(self) -> None:
        """Note that it has learned something, here or in an artifact."""
        self.state = HeadState.LEARNED

    def mark_untouched(self) -> None:
        """Note that a head which has learned nothing is to be as it is now, as one from an artifact is."""
        self._start = self._sums()

    def scale(self, mean: float, spread: float) -> None:
        """Let the outputs be `mean + spread * z`; see `OutputScale`."""
        OutputScale(self.modules, mean, spread)


def _first_state(*, named: bool, trained: bool) -> HeadState:
    if named:
        return HeadState.LEARNED if trained else HeadState.FRESH
    return HeadState.FOUND if trained else HeadState.NAMELESS
