"""An adaptation as it was, when what was to change it has failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.tensors import restore
from lightadapt.machine.processes import number_of_processes


@contextmanager
def undone_if_it_fails(runner: Runner) -> Iterator[None]:
    """Put an adaptation back as it is now when the block ends with an error, or is interrupted.

    Where several processes train nothing is put back, since the others need not have failed.
    """
    if number_of_processes() > 1:
        yield
        return
    before = _State(runner)
    try:
        yield
    except BaseException:
        before.put_back()
        raise


class _State:
    """All that learning changes: weights, the modules of the head and how they are read, labels, and what is noted."""

    def __init__(self, runner: Runner) -> None:
        adaptation, model = runner.adaptation, runner.model
        head = adaptation.head
        things = (runner, adaptation, head, *([] if head.prototypes is None else [head.prototypes]))
        self._runner = runner
        self._fields = [(each, dict(vars(each))) for each in things]
        self._names = model.config.id2label, model.config.label2id
        self._count = vars(model).get("num_labels")
        self._forward = vars(model).get("forward")
        paths = {name.rpartition(".")[0] for name in adaptation.base.head | head.parts} - {""}
        self._modules = {path: model.get_submodule(path) for path in sorted(paths)}
        hooked = [*self._modules.values(), *head.modules]
        self._hooks = [(module, module._forward_hooks.copy()) for module in hooked]
        learns = adaptation.all_trained | adaptation.base.head
        self._learns = [(each, each.requires_grad) for each in map(model.get_parameter, sorted(learns))]
        self._tensors = {name: tensor.detach().clone() for name, tensor in adaptation.tensors().items()}

    def put_back(self) -> None:
        """Make the adaptation what it was."""
        model = self._runner.model
        for thing, fields in self._fields:
            vars(thing).clear()
            vars(thing).update(fields)
        model.config.id2label, model.config.label2id = self._names
        vars(model).update({} if self._count is None else {"num_labels": self._count})
        vars(model).pop("forward", None)
        vars(model).update({} if self._forward is None else {"forward": self._forward})
        for path, module in self._modules.items():
            model.set_submodule(path, module)
        for module, hooks in self._hooks:
            module._forward_hooks.clear()
            module._forward_hooks.update(hooks)
        for parameter, learns in self._learns:
            parameter.requires_grad_(learns)
        adaptation = self._runner.adaptation
        restore(adaptation.adapter, adaptation.trained, adaptation.modules, self._tensors, Path("before"))
