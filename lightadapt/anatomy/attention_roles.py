"""The attentions of a block: which modules they are, and which projections make queries, keys and values."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lightadapt.anatomy.module_tree import ModuleTree, is_linear
from lightadapt.anatomy.parts import Attention
from lightadapt.anatomy.stacks import ATTENTION_CLASS, Item

_ATTENTION_NAME = re.compile(r"(^|_)(attn|attention)$", re.IGNORECASE)
_ACROSS = re.compile(r"cross|enc_?dec|encoder_attn|enc_attn|inter_attention", re.IGNORECASE)
_FUSED = re.compile(r"q_?k_?v|query_?key_?value|^c_attn$|^in_proj$|^pack", re.IGNORECASE)
_ROLES = {
    "query": re.compile(r"(^|_)(w?q|query|queries)(_|$)", re.IGNORECASE),
    "key": re.compile(r"(^|_)(w?k|w?kv|key|keys)(_|$)", re.IGNORECASE),
    "value": re.compile(r"(^|_)(w?v|w?kv|value|values)(_|$)", re.IGNORECASE),
}
_POSITION = re.compile(r"(^|_)(pos|position|positions|rel|relative)(_|$)")


def attention_paths(tree: ModuleTree, item: Item, inside: Sequence[str]) -> list[str]:
    """The outermost modules that are named attention and hold linears or matrices, or were seen to attend."""
    found: list[str] = []
    for path in inside:
        if path in tree.linears or any(path.startswith(f"{other}.") for other in found):
            continue
        if path in item.paths and len(item.paths) == 1:  # a block may be named for its attention
            continue
        module, name = tree.modules[path], path.rpartition(".")[2]
        called = ATTENTION_CLASS.search(type(module).__name__) or _ATTENTION_NAME.search(name)
        if tree.run.finished and path not in tree.run.order:
            continue
        matrices = sum(is_linear(each) for each in module.modules())
        matrices += sum(parameter.dim() == 3 for parameter in module.parameters())
        if (called or path in tree.run.attention) and matrices >= 2:
            found.append(path)
    return found


def describe_attention(tree: ModuleTree, path: str, linears: Sequence[str], width: int | None) -> Attention:
    """An attention by the roles of its projections.

    Args:
        linears: those of the block.
        width: of the residual stream.
    """
    roles: dict[str, list[str]] = {name: [] for name in ("query", "key", "value", "fused", "other")}
    for linear in linears:
        if not linear.startswith(f"{path}."):
            continue
        leaf = linear.rpartition(".")[2]
        if _FUSED.search(leaf):
            matched = ["fused"]
        elif _POSITION.search(leaf):
            matched = ["other"]
        else:
            matched = [name for name, pattern in _ROLES.items() if pattern.search(leaf)] or ["other"]
        for name in matched:
            roles[name].append(linear)
    read = {tree.linears[linear][0] for linear in (*roles["query"][:1], *roles["fused"][:1])}
    possible = [linear for linear in roles["other"] if not _POSITION.search(linear.rpartition(".")[2])]
    writing = [linear for linear in possible if tree.linears[linear][1] == width]
    output = (writing or [linear for linear in possible if tree.linears[linear][1] in read])[-1:]
    roles["other"] = [linear for linear in roles["other"] if linear not in output]
    cores = [core for core in tree.run.attention if core == path or core.startswith(f"{path}.")]
    core = cores[0] if cores else None
    seen = tree.run.attention.get(core or "")
    name = f"{path.rpartition('.')[2]} {type(tree.modules[path]).__name__}"
    return Attention(
        path=path,
        output=tuple(output),
        core=core,
        key_values=seen,
        across=bool(seen and seen.across) or bool(_ACROSS.search(name)),
        **{name: tuple(paths) for name, paths in roles.items()},
    )
