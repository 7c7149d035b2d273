"""What an adapted model holds: one adaptation or several, on one base."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedModel

from lightadapt.adaptation.adding import add, hang
from lightadapt.adaptation.artifact import Artifact
from lightadapt.adaptation.history import History
from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.several import Several
from lightadapt.adaptation.slots import Known, Slot
from lightadapt.anatomy import Layers
from lightadapt.data import Data
from lightadapt.methods import Method, Plan
from lightadapt.peft_bridge import Stacks
from lightadapt.suggestions.calls import explained
from lightadapt.suggestions.foreign_names import ADAPT
from lightadapt.tasks import Label, Task

if TYPE_CHECKING:
    from typing_extensions import Self


class Sharing:
    """One adaptation or several on one base, and which of them is meant."""

    def __init__(self, runner: Runner) -> None:
        self._several = Several(runner)

    @property
    def runner(self) -> Runner:
        """What runs the task in use in this thread: it encodes, infers and decodes, without the checks of `predict`."""
        return self._several.in_use

    @property
    def model(self) -> PreTrainedModel:
        """A transformers model of the task's own class, for `pipeline`, `Trainer` or a forward of your own."""
        return self.runner.model

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the base."""
        return self.runner.tokenizer

    @property
    def task(self) -> Task:
        """The task, with its labels once they are known."""
        return self.runner.task

    @property
    def method(self) -> Method:
        """The method."""
        return self.runner.adaptation.design.method

    @property
    def history(self) -> History | None:
        """The record of the last `fit`; None before."""
        return self.runner.last_run.history

    @property
    def labels(self) -> list[Label] | None:
        """The names of the classes; None until they are known."""
        return self.runner.labels

    # ---- several adaptations of one base

    @property
    def names(self) -> list[str]:
        """The adaptations that share the base; the first is called `default`."""
        return self._several.names

    @explained(ADAPT)
    def add(
        self,
        name: str,
        *,
        method: Any = "lora",
        task: str | Task | None = None,
        labels: Sequence[Label] | Mapping[str, str | Sequence[str]] | Data | None = None,
        layers: Layers = None,
    ) -> None:
        """Give the base another adaptation, with a method, a task and a head of its own; `use(name)` switches to it.

        All adaptations share the frozen weights.

        Args:
            name: the name of the new adaptation.
            method: as in `adapt`.
            task: as in `adapt`; None: the task in use, with its labels unless others are given.
            labels: as in `adapt`.
            layers: as in `adapt`.

        Raises:
            LightAdaptError: the name is taken, or a method trains the base itself, which then cannot be shared.
        """
        add(self._several, name, method=method, task=task, labels=labels, layers=layers)

    def hang(self, artifact: Artifact, name: str) -> Self:
        """Attach a saved adaptation to the base, under a name; see `lightadapt.load(…, onto=…)`.

        Raises:
            ArtifactError: it was trained on other weights, or does not fit this base.
            LightAdaptError: the name is taken, or its method trains the base itself.
        """
        hang(self._several, artifact, name)
        return self

    def slot(self, name: str, known: Known) -> Slot:
        """The place of an adaptation that was loaded from an artifact, for others of its kind.

        Raises:
            LightAdaptError: there is none of that name.
        """
        return Slot(self._several, name, known)

    def check_shareable(self, method: Method, plan: Plan) -> None:
        """Raise where an adaptation with a method cannot hang on this base beside those that are there.

        Raises:
            LightAdaptError: why.
        """
        self._several.check_shareable(method, plan)

    def check_name(self, name: str) -> None:
        """Raise for a name that no further adaptation can have.

        Raises:
            LightAdaptError: it is taken, or cannot be used.
        """
        self._several.check_new_name(name, f"name={name!r}")

    def use(self, name: str) -> Self:
        """Switch to the adaptation of that name: model, task, labels and history are its own from now on.

        The thread that made this object chooses for all threads that have not chosen for themselves.

        Raises:
            LightAdaptError: there is none.
        """
        self._several.use(name)
        return self

    def remove(self, name: str) -> None:
        """Take an adaptation off the base, and free what it holds.

        If it was in use, the first of the others takes its place.

        Raises:
            LightAdaptError: there is none of that name, or no other.
        """
        self._several.remove(name)

    def rename(self, old: str, new: str) -> None:
        """Give an adaptation another name.

        Raises:
            LightAdaptError: there is none of the old name, or the new one is taken or cannot be used.
        """
        self._several.rename(old, new)

    @contextmanager
    def disable(self) -> Iterator[Self]:
        """The base model without the adapter, under the same head, inside a `with` block."""
        with self._several.disabled():
            yield self

    @contextmanager
    def held(self) -> Iterator[None]:
        """Other threads wait with whatever they would do on the base, inside a `with` block."""
        with self._several.backbone.lock:
            yield

    def dedicate(self) -> None:
        """Let calls leave the model as the last of them needed it: it is for `predict` and the like alone from now on.

        A forward pass of one's own, `adapted.model(…)`, may then compute with another adaptation than the one in use.
        """
        self._several.switches_back = False

    def stacks(self, names: Collection[str]) -> Stacks | None:
        """What is known of the layers for adapters of these names in the model, which compute together."""
        return self._several.stacks(names)

    @contextmanager
    def computing(self, name: str) -> Iterator[Runner]:
        """The runner of an adaptation, for a forward pass of your own, inside a `with` block.

        Inside it the shared modules compute with that adaptation, and other threads wait.

        Raises:
            LightAdaptError: there is none of that name.
        """
        with self._several.computing(self._several.named(name)) as runner:
            yield runner
