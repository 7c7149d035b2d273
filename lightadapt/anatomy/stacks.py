"""Where the blocks of a model are: in its lists of modules that hold linear projections."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from lightadapt.anatomy.module_tree import ModuleTree, is_linear

ATTENTION_CLASS = re.compile(r"Attention|Attn")
"""In the names of classes of attentions."""


@dataclass(frozen=True)
class Item:
    """The modules that make one block, and the list they are in."""

    stack: str
    paths: tuple[str, ...]

    def child_of(self, path: str) -> str:
        """The child of the block that a module or parameter lies in."""
        around = next(each for each in self.paths if path.startswith(f"{each}."))
        return ".".join(path.split(".")[: around.count(".") + 2])


def find_items(tree: ModuleTree) -> Iterator[Item]:
    """The items of the outermost lists of modules that hold linears; a list inside such a list is opened too."""
    stacks: list[str] = []
    for path, module in tree.modules.items():
        if not isinstance(module, nn.ModuleList) or any(path.startswith(f"{stack}.") for stack in stacks):
            continue
        if any(map(is_linear, module.modules())) and not all(map(is_linear, module)):
            stacks.append(path)
    done: set[str] = set()
    for stack in stacks:
        if stack in done:
            continue
        beside = _beside(tree, stack, stacks)
        done |= beside
        for path in _open(tree.modules, stack):
            number = path.removeprefix(f"{stack}.")
            yield Item(stack, (path, *(f"{other}.{number}" for other in sorted(beside - {stack}))))


def _beside(tree: ModuleTree, stack: str, stacks: Sequence[str]) -> set[str]:
    """The lists that together make the blocks of a stack: XLM keeps attentions and feed-forwards apart."""
    parent, length = stack.rpartition(".")[0], len(list(tree.modules[stack].children()))
    siblings = {
        path
        for path, module in tree.modules.items()
        if isinstance(module, nn.ModuleList) and path.rpartition(".")[0] == parent and len(module) == length
    }
    with_linears = siblings & set(stacks)
    with_attention = {path for path in with_linears if _holds_attention(tree, path)}
    return siblings if len(with_linears) > 1 == len(with_attention) else {stack}


def _holds_attention(tree: ModuleTree, path: str) -> bool:
    return any(ATTENTION_CLASS.search(type(module).__name__) for module in tree.modules[path].modules())


def _open(modules: Mapping[str, nn.Module], stack: str) -> Iterator[str]:
    for number, item in modules[stack].named_children():
        if isinstance(item, nn.ModuleList):
            yield from _open(modules, f"{stack}.{number}")
        else:
            yield f"{stack}.{number}"
