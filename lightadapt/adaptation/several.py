"""The adaptations that hang on one backbone: their names, which of them is in use, and which computes."""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from torch import nn

from lightadapt import peft_bridge
from lightadapt.adaptation.artifact import Artifact, tokenizer_digest
from lightadapt.adaptation.assembly import build
from lightadapt.adaptation.mixed import Mixer
from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.saved import load_saved_tokenizer
from lightadapt.anatomy import family_of
from lightadapt.base.backbone import Backbone
from lightadapt.base.design import Design
from lightadapt.base.source import check_tokenizer
from lightadapt.errors import LightAdaptError, NoAdaptationError, nearest
from lightadapt.methods import Method, Plan
from lightadapt.tasks import Task


class Several:
    """Adaptations by name.

    What computes is a state of the shared modules. Whoever computes holds the backbone's lock, inside `computing`.

    Attributes:
        backbone: what they share.
        switches_back: whether the one in use is made the one that computes again after each call. Where they are only
            asked for predictions, each call can leave it as it is, and the next for the same one has no switch.
    """

    def __init__(self, first: Runner) -> None:
        """Begin with one, which is in use."""
        self.backbone = Backbone(first.adaptation.base)
        self._all = {first.adaptation.name: first}
        self._in_use = self._computing = first
        self._of_thread = threading.local()
        """What a thread that chose for itself means; not the owner, whose choice holds for the others."""
        self._owner = threading.current_thread()
        self._tokenizers: dict[str, Any] = {}
        """Those that artifacts brought, by their files: one with a large vocabulary takes more than an adapter."""
        self.mixer = Mixer()
        """What computes several of them in one pass."""
        self._stacks: peft_bridge.Stacks | None = None
        self._disabled = 0
        """How many `disabled` blocks are open."""
        self.switches_back = True
        self._depth = 0
        """How many `computing` blocks are open."""
        first.adaptation.prepare_training()

    # ---- which there are

    @property
    def names(self) -> list[str]:
        """In the order in which they came."""
        return list(self._all)

    @property
    def first(self) -> Runner:
        """The oldest one."""
        return next(iter(self._all.values()))

    @property
    def in_use(self) -> Runner:
        """The one that is meant in this thread."""
        chosen: Runner | None = getattr(self._of_thread, "chosen", lambda: None)()
        return chosen if chosen is not None and self._is_there(chosen) else self._in_use

    def _is_there(self, runner: Runner) -> bool:
        return self._all.get(runner.adaptation.name) is runner

    def named(self, name: str) -> Runner:
        """The one of that name.

        Raises:
            NoAdaptationError: there is none.
        """
        if not isinstance(name, str) or name not in self._all:
            known = f"There are: {', '.join(self._all)}."
            raise NoAdaptationError(f"There is no adaptation {name!r}. {nearest(str(name), self._all)}{known}")
        return self._all[name]

    def check_enabled(self, what: str) -> None:
        """Raise for a call that makes no sense while adapters are switched off.

        Another thread than the one that switched them off waits until they are on again.
        """
        with self.backbone.lock:
            if not self._disabled:
                return
            raise LightAdaptError(f"{what}(…) inside `with adapted.disable()`: leave the block first.")

    def check_holds(self, runner: Runner) -> None:
        """Raise where an adaptation was removed.

        Raises:
            NoAdaptationError: it was.
        """
        if not self._is_there(runner):
            raise NoAdaptationError(f"The adaptation {runner.adaptation.name!r} was removed meanwhile.")

    def check_new_name(self, name: str, what: str) -> None:
        """Raise for a name that no further adaptation can have.

        Raises:
            LightAdaptError: it is taken, or cannot be part of the names of parameters.
        """
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name) or name in self._all:
            raise LightAdaptError(
                f"{what}: give a new name of letters, digits, - and _. Taken: {', '.join(self._all)}."
            )
        if any(name in dir(container) for container in (nn.ModuleDict(), nn.ParameterDict())):
            raise LightAdaptError(f"{what}: torch uses this name itself. Choose another.")

    # ---- more and fewer

    def hang(self, name: str, design: Design, task: Task, tokenizer: Any, artifact: Artifact | None = None) -> None:
        """Build another one on the backbone; what is in use stays so.

        Raises:
            LightAdaptError: the name is taken, or the base cannot be shared with it.
        """
        with self.backbone.lock:
            self.check_enabled("add" if artifact is None else "load")
            self.check_new_name(name, f"add({name!r})" if artifact is None else f"load(…, name={name!r})")
            self.check_shareable(design.method, design.plan)
            self._make_way(name)
            try:
                self._all[name] = build(design, task, tokenizer, name=name, backbone=self.backbone, artifact=artifact)
            finally:
                self._stacks = None
                self._computing.adaptation.activate()

    def check_shareable(self, method: Method, plan: Plan) -> None:
        """Raise when a method, or what is there, needs the base for itself.

        Raises:
            LightAdaptError: which, and why.
        """
        first = self.first.adaptation.design
        for each, does in ((first.method, first.plan), (method, plan)):
            if does.unfrozen or each.rewrites_base:
                raise LightAdaptError(f"Method {each.name!r} changes the base itself, so the base cannot be shared.")
        if plan.config is not None and peft_bridge.draws_for_the_whole_model(plan.config):
            raise LightAdaptError(
                f"Method {method} draws random numbers for the model as a whole, so the base cannot be shared."
            )
        self.backbone.check_shareable()

    def tokenizer_of(self, artifact: Artifact, task: Task) -> Any:
        """The tokenizer of an artifact as the task needs it, read once for artifacts that have the same.

        Raises:
            LightAdaptError: there is none, or it cannot serve the model or the task.
        """
        source, key = self.backbone.source, tokenizer_digest(artifact)
        if key not in self._tokenizers:
            self._tokenizers[key] = load_saved_tokenizer(artifact, source, task)
            return self._tokenizers[key]
        check_tokenizer(self._tokenizers[key], source, task)
        return task.fit_tokenizer(self._tokenizers[key], family_of(source.config))

    def remove(self, name: str) -> None:
        """Take one off the backbone; was it in use, the first of the others is from then on.

        Raises:
            LightAdaptError: there is none of that name, or it is the only one.
        """
        with self.backbone.lock:
            self.check_enabled("remove")
            runner = self.named(name)
            if len(self._all) == 1:
                raise LightAdaptError(
                    f"remove({name!r}): it is the only adaptation of this base. Drop the whole object."
                )
            del self._all[name]
            self._stacks = None
            if runner is self._in_use:
                self._switch(self.first)
            elif runner is self._computing:
                self._compute_with(self._in_use)
            runner.adaptation.adapter.remove()
            self.backbone.leave(runner.adaptation.base)

    def rename(self, old: str, new: str) -> None:
        """Give one another name.

        Raises:
            LightAdaptError: there is none of the old name, or the new one is taken or cannot be used.
        """
        with self.backbone.lock:
            self.check_enabled("rename")
            runner = self.named(old)
            if new == old:
                return
            self.check_new_name(new, f"rename({old!r}, {new!r})")
            self._make_way(new)
            runner.adaptation.rename(new)
            self._all = {new if name == old else name: each for name, each in self._all.items()}

    def put_in_place(self, before: Runner, runner: Runner) -> None:
        """Let an adaptation, in the layers of another one, be the one that is there from now on."""
        with self.backbone.lock:
            self._all = {
                each.adaptation.name: each
                for each in (runner if other is before else other for other in self._all.values())
            }
            self._in_use = runner if self._in_use is before else self._in_use
            self._computing = runner if self._computing is before else self._computing
            if self._stacks is not None:
                self._stacks.refresh(runner.adaptation.adapter.name)

    def _make_way(self, name: str) -> None:
        """See to it that no adapter in the model has this name, as that of one that took another's place may."""
        self._stacks = None
        taken = {each.adaptation.adapter.name for each in self._all.values()} | self._all.keys()
        for runner in self._all.values():
            if runner.adaptation.adapter.name == name != runner.adaptation.name:
                free = next(each for each in map(f"{name}-{{}}".format, count(1)) if each not in taken)
                runner.adaptation.rename_adapter(free)

    def stacks(self, names: Collection[str]) -> peft_bridge.Stacks | None:
        """What the layers hold for adapters of these names, to compute them together; None: each pass has to look.

        It is looked up once where they are only asked for predictions, until one of them comes, goes or changes.

        Args:
            names: of the adapters in the model.
        """
        if self.switches_back:
            return None
        if self._stacks is None or not set(names) <= set(self._stacks.names):
            self._stacks = peft_bridge.Stacks(each.adaptation.adapter.name for each in self._all.values())
        return self._stacks

    # ---- which is in use, and which computes

    def use(self, name: str) -> None:
        """Mean the one of that name from now on: in this thread, and if it is the owner in all that have not chosen.

        Raises:
            NoAdaptationError: there is none.
        """
        self.check_enabled("use")
        runner = self.named(name)
        owner = self._owner if self._owner.is_alive() else threading.main_thread()
        if threading.current_thread() is not owner:
            self._of_thread.chosen = weakref.ref(runner)
            return
        with self.backbone.lock:
            self._switch(runner)

    def _switch(self, runner: Runner) -> None:
        self._in_use.adaptation.prepare_training(enabled=False)
        self._in_use = self._computing = runner
        runner.adaptation.activate()
        runner.adaptation.prepare_training()
        runner.model.eval()

    @contextmanager
    def computing(self, runner: Runner, *, learning: bool = False) -> Iterator[Runner]:
        """The shared modules as one adaptation needs them, for this thread alone, inside a `with` block.

        Args:
            learning: whether what it trains is to get gradients.
        """
        with self.backbone.lock:
            self.check_holds(runner)
            before, learns = self._computing, learning and runner is not self._in_use
            if not self._disabled and runner is not before:
                self._compute_with(runner)
            self._depth += 1
            if learning:
                self._stacks = None
            if learns:
                self._in_use.adaptation.prepare_training(enabled=False)
                runner.adaptation.prepare_training()
            try:
                yield runner
            finally:
                if learns:
                    runner.adaptation.prepare_training(enabled=False)
                    self._in_use.adaptation.prepare_training()
                self._depth -= 1
                if self._computing is not before and (self.switches_back or self._depth):
                    self._compute_with(before)

    def _compute_with(self, runner: Runner) -> None:
        runner.adaptation.activate()
        self._computing = runner

    @property
    def is_disabled(self) -> bool:
        """Whether the base is to compute without adapters."""
        return self._disabled > 0

    @contextmanager
    def mixing(self) -> Iterator[None]:
        """The shared modules for this thread alone, inside a `with` block that may leave any adapters computing."""
        with self.backbone.lock:
            try:
                yield
            finally:
                self._computing.adaptation.activate(enabled=not self._disabled)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """The base without the adapter that is in use, under the same head, inside a `with` block."""
        with self.computing(self.in_use) as runner:
            self._disabled += 1
            runner.adaptation.activate(enabled=False)
            runner.adaptation.prepare_training(enabled=False)
            try:
                yield
            finally:
                self._disabled -= 1
                runner.adaptation.activate(enabled=not self._disabled)
                if runner is self._in_use:
                    runner.adaptation.prepare_training(enabled=not self._disabled)
