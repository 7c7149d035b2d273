"""Two task models on one backbone: the second takes over the modules of the first."""

from __future__ import annotations

from torch import nn

from lightadapt.base.weights import Base


def share_backbone(base: Base, first: Base) -> None:
    """Replace the frozen modules of `base.model` by those of the first model, with whatever is inserted there.

    What is trained with the task stays with its model: the head, and a pooler that was not in the checkpoint.
    """
    own, other = _backbone_paths(base, first)
    apart = {name.removeprefix(own) for name in base.head} | {name.removeprefix(other) for name in first.head}
    frozen = {name.removeprefix(own) for name in base.blueprint.anatomy.parameters if name.startswith(own)} - apart
    frozen &= {name.removeprefix(other) for name in first.blueprint.anatomy.parameters if name.startswith(other)}
    _share(base.model.get_submodule(own[:-1]), first.model.get_submodule(other[:-1]), "", frozen)


def _backbone_paths(base: Base, first: Base) -> tuple[str, str]:
    """What stands before the names of the backbone in either model, such as `bert.` or nothing."""
    one, two = (each.blueprint.anatomy.blocks[0].path.split(".") for each in (base, first))
    while one and two and one[-1] == two[-1]:
        one, two = one[:-1], two[:-1]
    return "".join(f"{part}." for part in one), "".join(f"{part}." for part in two)


def _share(module: nn.Module, other: nn.Module, path: str, frozen: set[str]) -> None:
    for name in module._parameters:
        if f"{path}{name}" in frozen and name in other._parameters:
            module._parameters[name] = other._parameters[name]
    for name, child in list(module.named_children()):
        if name not in other._modules:
            continue
        twin = other.get_submodule(name)
        inside = {f"{path}{name}.{each}" for each, _ in child.named_parameters()}
        if inside <= frozen:
            module._modules[name] = twin
        else:
            _share(child, twin, f"{path}{name}.", frozen)
