"""The feed-forward parts of a block, with the gates and the experts of a mixture."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from lightadapt.anatomy.module_tree import ModuleTree, common_parent, is_linear
from lightadapt.anatomy.parts import FeedForward
from lightadapt.anatomy.stacks import Item


def describe_feed_forwards(
    tree: ModuleTree, item: Item, linears: Sequence[str], attentions: tuple[str, ...], width: int | None
) -> tuple[FeedForward, ...]:
    """The parts of a block outside its attentions: children that read and write the stream; the rest is one."""
    experts = [
        name
        for name in tree.within(item.paths)
        if _is_expert(tree, name, width) and not name.startswith(attentions or ("\0",))
    ]
    experts.sort(key=list(tree.parameters).index)
    children: dict[str, list[str]] = {}
    for path in linears:
        children.setdefault(item.child_of(path), []).append(path)
    whole = {
        child: paths
        for child, paths in children.items()
        if tree.linears[paths[0]][0] == tree.linears[paths[-1]][1] == width and len(paths) > 1
    }
    rest = [path for child, paths in children.items() if child not in whole for path in paths]
    if rest and common_parent(rest) in item.paths:  # one feed-forward over several children, as in BERT
        whole, rest = {}, list(linears)
    beside = [name for name in experts if item.child_of(name) not in whole]
    parts = [_feed_forward(tree, item, rest, beside, width)] if rest or beside else []
    for child, paths in whole.items():
        parts.append(_feed_forward(tree, item, paths, [n for n in experts if item.child_of(n) == child], width))
    return tuple(parts)


def _feed_forward(
    tree: ModuleTree, item: Item, linears: Sequence[str], experts: Sequence[str], width: int | None
) -> FeedForward:
    counts = {1, *(tree.parameters[name][0] for name in experts)}
    counts |= {_list_around(tree, path, item) for path in linears} - {0}
    gates = [path for path in linears if tree.linears[path][1] in counts and tree.linears[path][1] != width]
    linears = [path for path in linears if path not in gates]
    down = [path for path in linears if width in (None, tree.linears[path][1])][-1:]
    if len(linears) == 1 and tree.linears[linears[0]][0] == width:
        down = []  # a projection alone reads the stream; what writes is no linear
    before = linears[: linears.index(down[0])] if down else linears
    up = [path for path in before if tree.linears[path][0] == width]
    other = [path for path in linears if path not in up and path not in down]
    parent = common_parent([*linears, *gates, *experts])
    while parent and isinstance(tree.modules[parent], (nn.ModuleList, nn.ModuleDict, nn.Sequential)):
        parent = parent.rpartition(".")[0]
    around = [path for path in item.paths if f"{parent}.".startswith(f"{path}.")]
    mixture = bool(experts) or (
        bool(gates) and max((_list_around(tree, path, item) for path in linears), default=0) > 1
    )
    if around and (mixture or not down):  # what reads and what writes may lie further apart than what was seen
        parent = _shallowest(tree, parent, around[0])
    return FeedForward(
        path=parent if around and (parent not in item.paths or len(item.paths) > 1) else None,
        up=tuple(up),
        down=tuple(down),
        other=tuple(other),
        gates=tuple(gates),
        experts=tuple(experts),
        mixture=mixture,
    )


def _shallowest(tree: ModuleTree, path: str, block: str) -> str:
    """The outermost module around `path` inside a block that runs as a whole, which lists do not."""
    parts = path.split(".")
    for depth in range(block.count(".") + 2, len(parts)):
        around = ".".join(parts[:depth])
        if not isinstance(tree.modules[around], (nn.ModuleList, nn.ModuleDict, nn.Sequential)):
            return around
    return path


def _is_expert(tree: ModuleTree, name: str, width: int | None) -> bool:
    shape = tree.parameters[name]
    owner = tree.modules[name.rpartition(".")[0]]
    return (
        len(shape) == 3
        and min(shape) > 1
        and width in (None, *shape[1:])
        and name not in tree.idle
        and not isinstance(owner, (nn.Conv1d, nn.Conv2d))
        and not tree.convolves(name.rpartition(".")[0])
        and "conv" not in name.rpartition(".")[0].rpartition(".")[2].lower()
    )


def _list_around(tree: ModuleTree, path: str, item: Item) -> int:
    """The length of the list of experts that a projection lies in; 0 when it is in none below its block."""
    while (path := path.rpartition(".")[0]) and path not in item.paths:
        module = tree.modules[path]
        if isinstance(module, (nn.ModuleList, nn.ModuleDict)):
            return sum(any(map(is_linear, child.modules())) for child in module.children())
    return 0
