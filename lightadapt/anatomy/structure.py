"""The anatomy of a model: its blocks, its entrance, its head and its norms, put together."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence

from torch import nn

from lightadapt.anatomy.attention_roles import attention_paths, describe_attention
from lightadapt.anatomy.dry_run import DryRun
from lightadapt.anatomy.feed_forwards import describe_feed_forwards
from lightadapt.anatomy.module_tree import ModuleTree, ties_of
from lightadapt.anatomy.parts import Anatomy, Block
from lightadapt.anatomy.stacks import Item, find_items
from lightadapt.errors import LightAdaptError


def describe(
    model: nn.Module, backbone: Collection[str], run: DryRun | None = None, *, causal: bool = False
) -> Anatomy:
    """The anatomy of a model.

    A task model carries its backbone below an attribute of any name, or spread over its top level, so a
    parameter belongs to the backbone when the backbone knows its name with or without the first component.

    Args:
        backbone: the parameter names of the bare backbone.
        run: what a dry run of a model of the same structure saw.
        causal: whether a token sees only those before it.

    Raises:
        LightAdaptError: the dry run stopped half-way, so that it is not clear which stacks are in use.
    """
    tree = ModuleTree(model, backbone, run or DryRun())
    stopped_by = tree.run.stopped_by
    blocks = [_block(tree, item) for item in _items_in_use(tree, type(model).__name__)]
    found = tuple(block for block in blocks if block.linears or block.experts)
    norms = tuple(path for path in tree.modules if tree.is_norm(path) and not tree.within([path]) & tree.head)
    embedding, trunk = _entrance(tree, found)
    return Anatomy(
        blocks=found,
        head=tree.head,
        parameters=tree.parameters,
        linears=tree.linears,
        norms=norms,
        embedding=embedding,
        trunk=trunk,
        reader=_reader(found),
        causal=causal,
        ties=ties_of(model),
        idle=tree.idle,
        bypassed=frozenset(tree.run.bypassed & tree.linears.keys()),
        traced=tree.run.finished,
        stopped_by=stopped_by,
    )


def _items_in_use(tree: ModuleTree, name: str) -> list[Item]:
    """What the blocks are made of, in the order in which a text goes through them.

    Args:
        name: what to call the model in an error.
    """
    items = [item for item in find_items(tree) if not tree.within(item.paths) <= tree.head]
    used = [item for item in items if any(path in tree.run.order for path in item.paths)]
    if not used:  # it stopped before the first block
        tree.run = DryRun()
    elif not tree.run.finished and len({item.stack for item in used}) < len({item.stack for item in items}):
        raise LightAdaptError(
            f"{name} has several stacks of blocks, and which of them a text goes through could not be seen: a dry run "
            f"without weights stopped between them ({tree.run.stopped_by})."
        )
    elif tree.run.finished:
        items = used
    order = tree.run.order
    return sorted(items, key=lambda item: min(order.get(path, len(order)) for path in item.paths))


def _block(tree: ModuleTree, item: Item) -> Block:
    inside = [path for path in tree.modules if any(path == p or path.startswith(f"{p}.") for p in item.paths)]
    linears = [path for path in inside if path in tree.linears and tree.in_use(path) and not tree.is_fused(path)]
    linears.sort(key=lambda path: tree.run.order.get(path, 0))
    width = _width(tree, item, linears)
    attentions = [describe_attention(tree, path, linears, width) for path in attention_paths(tree, item, inside)]
    taken = tuple(f"{attention.path}." for attention in attentions)
    rest = [path for path in linears if not path.startswith(taken)]
    feed_forwards = describe_feed_forwards(tree, item, rest, taken, width)
    gates = {path for part in feed_forwards for path in part.gates}
    return Block(
        paths=item.paths,
        stack=item.stack,
        width=width,
        attentions=tuple(attentions),
        feed_forwards=feed_forwards,
        linears=tuple(path for path in linears if path not in gates),
        norms=tuple(path for path in inside if tree.is_norm(path)),
    )


def _width(tree: ModuleTree, item: Item, linears: Sequence[str]) -> int | None:
    """Width of the residual stream: of what the block is given, else of what its first linear reads."""
    seen = [tree.run.widths[path] for path in item.paths if path in tree.run.widths]
    return seen[0] if seen else next((tree.linears[path][0] for path in linears), None)


def _entrance(tree: ModuleTree, blocks: Sequence[Block]) -> tuple[str | None, str | None]:
    """The embedding of the token ids and the smallest module that holds it and the first stack."""
    embedding = tree.run.embedding
    if embedding is None or not blocks or not tree.run.readers:
        return None, None
    around = [path for path in tree.run.readers if not path or blocks[0].path.startswith(f"{path}.")]
    trunk = max(around, key=len, default="")
    if "input_ids" not in inspect.signature(tree.modules[trunk].forward).parameters:
        return None, None
    return embedding, trunk


def _reader(blocks: Sequence[Block]) -> str | None:
    """The module of the first stack that attends to another one."""
    for block in blocks:
        if block.stack != blocks[0].stack and any(attention.across for attention in block.attentions):
            return block.stack.rpartition(".")[0]
    return None
