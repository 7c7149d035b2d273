"""The anatomy of a model, read from its module tree, and from a dry run where there is one."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn
from transformers.pytorch_utils import Conv1D

from lightadapt.anatomy.dry_run import DryRun
from lightadapt.anatomy.parts import Anatomy, Attention, Block, FeedForward
from lightadapt.errors import LightAdaptError

_ATTENTION_CLASS = re.compile(r"Attention|Attn")
_ATTENTION_NAME = re.compile(r"(^|_)(attn|attention)$", re.IGNORECASE)
_ACROSS = re.compile(r"cross|enc_?dec|encoder_attn|enc_attn|inter_attention", re.IGNORECASE)
_FUSED = re.compile(r"q_?k_?v|query_?key_?value|^c_attn$|^in_proj$|^pack", re.IGNORECASE)
_ROLES = {
    "query": re.compile(r"(^|_)(w?q|query|queries)(_|$)", re.IGNORECASE),
    "key": re.compile(r"(^|_)(w?k|w?kv|key|keys)(_|$)", re.IGNORECASE),
    "value": re.compile(r"(^|_)(w?v|w?kv|value|values)(_|$)", re.IGNORECASE),
}
_POSITION = re.compile(r"(^|_)(pos|position|positions|rel|relative)(_|$)")


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
    return _Reader(model, backbone, run or DryRun(), causal).read()


def outermost(model: nn.Module, names: Collection[str]) -> tuple[str, ...]:
    """The fewest modules that hold these parameters and no others, in order of registration.

    A parameter that shares its module with others, or hangs on the model itself, is in none.
    """
    around = {name[:end] for name in names for end, letter in enumerate(name) if letter == "."}
    found: list[str] = []
    seen: set[nn.Module] = set()

    def look_inside(module: nn.Module, path: str) -> None:
        for name, child in module.named_children():
            place = f"{path}{name}"
            if place not in around or child in seen:
                continue
            seen.add(child)
            if all(f"{place}.{each}" in names for each, _ in child.named_parameters()):
                found.append(place)
            else:
                look_inside(child, f"{place}.")

    look_inside(model, "")
    return tuple(found)


@dataclass(frozen=True)
class _Item:
    """The modules that make one block, and the list they are in."""

    stack: str
    paths: tuple[str, ...]


class _Reader:
    def __init__(self, model: nn.Module, backbone: Collection[str], run: DryRun, causal: bool) -> None:
        self.model, self.run, self.causal = model, run, causal
        self.stopped_by = run.stopped_by
        self.modules = dict(model.named_modules())
        self.parameters = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
        self.head = frozenset(
            name for name in self.parameters if name not in backbone and name.partition(".")[2] not in backbone
        )
        self.linears = {path: _widths(module) for path, module in self.modules.items() if _is_linear(module)}
        self.idle = (run.idle or frozenset()) & self.parameters.keys()

    def read(self) -> Anatomy:
        items = [item for item in self._items() if not self._within(item.paths) <= self.head]
        used = [item for item in items if any(path in self.run.order for path in item.paths)]
        if not used:  # it stopped before the first block
            self.run = DryRun()
        elif not self.run.finished and len({item.stack for item in used}) < len({item.stack for item in items}):
            raise LightAdaptError(
                f"{type(self.model).__name__} has several stacks of blocks, and which of them a text goes through "
                f"could not be seen: a dry run without weights stopped between them ({self.run.stopped_by})."
            )
        elif self.run.finished:
            items = used
        items = sorted(items, key=self._turn)
        blocks = [self._block(item) for item in items]
        found = tuple(block for block in blocks if block.linears or block.experts)
        norms = tuple(path for path in self.modules if self._is_norm(path) and not self._within([path]) & self.head)
        embedding, trunk = self._entrance(found)
        return Anatomy(
            blocks=found,
            head=self.head,
            parameters=self.parameters,
            linears=self.linears,
            norms=norms,
            embedding=embedding,
            trunk=trunk,
            reader=self._reader(found),
            causal=self.causal,
            ties=_ties(self.model),
            idle=self.idle,
            bypassed=frozenset(self.run.bypassed & self.linears.keys()),
            traced=self.run.finished,
            stopped_by=self.stopped_by,
        )

    def _within(self, paths: Iterable[str]) -> set[str]:
        prefixes = tuple(f"{path}." for path in paths)
        return {name for name in self.parameters if name.startswith(prefixes)}

    def _turn(self, item: _Item) -> int:
        return min(self.run.order.get(path, len(self.run.order)) for path in item.paths)

    def _in_use(self, path: str) -> bool:
        """Whether a module is called, and any output depends on its weight, as far as the dry run can tell."""
        called = not self.run.finished or path in self.run.order
        return called and f"{path}.weight" not in self.idle and path not in self.run.misfits

    def _is_fused(self, path: str) -> bool:
        """Whether this is the last projection of a mixer with a convolution, as in Mamba.

        Such mixers have kernels for GPUs that do convolution, scan and projection in one go, and read the weights of
        the projection without calling it.
        """
        mixer = path.rpartition(".")[0]
        beside = [child for child in self.modules[mixer].children() if _is_linear(child)]
        return self._convolves(mixer) and self.modules[path] is beside[-1]

    def _convolves(self, path: str) -> bool:
        """Whether a module has a depthwise convolution of its own."""
        return any(isinstance(child, nn.Conv1d) and child.groups > 1 for child in self.modules[path].children())

    def _is_norm(self, path: str) -> bool:
        module = self.modules[path]
        own = list(module.parameters())
        return (
            "norm" in type(module).__name__.lower()
            and bool(own)
            and all(parameter.dim() == 1 for parameter in own)
            and self._in_use(path)
            and not self._convolves(path.rpartition(".")[0])
        )

    # ---- blocks

    def _items(self) -> Iterator[_Item]:
        """The items of the outermost lists of modules that hold linears; a list inside such a list is opened too."""
        stacks: list[str] = []
        for path, module in self.modules.items():
            if not isinstance(module, nn.ModuleList) or any(path.startswith(f"{stack}.") for stack in stacks):
                continue
            if any(map(_is_linear, module.modules())) and not all(map(_is_linear, module)):
                stacks.append(path)
        done: set[str] = set()
        for stack in stacks:
            if stack in done:
                continue
            beside = self._beside(stack, stacks)
            done |= beside
            for path in _open(self.modules, stack):
                number = path.removeprefix(f"{stack}.")
                yield _Item(stack, (path, *(f"{other}.{number}" for other in sorted(beside - {stack}))))

    def _beside(self, stack: str, stacks: Sequence[str]) -> set[str]:
        """The lists that together make the blocks of a stack: XLM keeps attentions and feed-forwards apart."""
        parent, length = stack.rpartition(".")[0], len(list(self.modules[stack].children()))
        siblings = {
            path
            for path, module in self.modules.items()
            if isinstance(module, nn.ModuleList) and path.rpartition(".")[0] == parent and len(module) == length
        }
        with_linears = siblings & set(stacks)
        with_attention = {path for path in with_linears if self._holds_attention(path)}
        return siblings if len(with_linears) > 1 == len(with_attention) else {stack}

    def _holds_attention(self, path: str) -> bool:
        return any(_ATTENTION_CLASS.search(type(module).__name__) for module in self.modules[path].modules())

    def _block(self, item: _Item) -> Block:
        inside = [path for path in self.modules if any(path == p or path.startswith(f"{p}.") for p in item.paths)]
        linears = [path for path in inside if path in self.linears and self._in_use(path) and not self._is_fused(path)]
        linears.sort(key=lambda path: self.run.order.get(path, 0))
        width = self._width(item, linears)
        attentions = [self._attention(path, linears, width) for path in self._attention_paths(item, inside)]
        taken = tuple(f"{attention.path}." for attention in attentions)
        rest = [path for path in linears if not path.startswith(taken)]
        feed_forwards = self._feed_forwards(item, rest, taken, width)
        gates = {path for part in feed_forwards for path in part.gates}
        return Block(
            paths=item.paths,
            stack=item.stack,
            width=width,
            attentions=tuple(attentions),
            feed_forwards=feed_forwards,
            linears=tuple(path for path in linears if path not in gates),
            norms=tuple(path for path in inside if self._is_norm(path)),
        )

    def _width(self, item: _Item, linears: Sequence[str]) -> int | None:
        """Width of the residual stream: of what the block is given, else of what its first linear reads."""
        seen = [self.run.widths[path] for path in item.paths if path in self.run.widths]
        return seen[0] if seen else next((self.linears[path][0] for path in linears), None)

    # ---- attention

    def _attention_paths(self, item: _Item, inside: Sequence[str]) -> list[str]:
        """The outermost modules that are named attention and hold linears or matrices, or were seen to attend."""
        found: list[str] = []
        for path in inside:
            if path in self.linears or any(path.startswith(f"{other}.") for other in found):
                continue
            if path in item.paths and len(item.paths) == 1:  # a block may be named for its attention
                continue
            module, name = self.modules[path], path.rpartition(".")[2]
            called = _ATTENTION_CLASS.search(type(module).__name__) or _ATTENTION_NAME.search(name)
            if self.run.finished and path not in self.run.order:
                continue
            matrices = sum(_is_linear(each) for each in module.modules())
            matrices += sum(parameter.dim() == 3 for parameter in module.parameters())
            if (called or path in self.run.attention) and matrices >= 2:
                found.append(path)
        return found

    def _attention(self, path: str, linears: Sequence[str], width: int | None) -> Attention:
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
        read = {self.linears[linear][0] for linear in (*roles["query"][:1], *roles["fused"][:1])}
        possible = [linear for linear in roles["other"] if not _POSITION.search(linear.rpartition(".")[2])]
        writing = [linear for linear in possible if self.linears[linear][1] == width]
        output = (writing or [linear for linear in possible if self.linears[linear][1] in read])[-1:]
        roles["other"] = [linear for linear in roles["other"] if linear not in output]
        cores = [core for core in self.run.attention if core == path or core.startswith(f"{path}.")]
        core = cores[0] if cores else None
        seen = self.run.attention.get(core or "")
        name = f"{path.rpartition('.')[2]} {type(self.modules[path]).__name__}"
        return Attention(
            path=path,
            output=tuple(output),
            core=core,
            key_values=seen,
            across=bool(seen and seen.across) or bool(_ACROSS.search(name)),
            **{name: tuple(paths) for name, paths in roles.items()},
        )

    # ---- feed-forward

    def _feed_forwards(
        self, item: _Item, linears: Sequence[str], attentions: tuple[str, ...], width: int | None
    ) -> tuple[FeedForward, ...]:
        """The parts of a block outside its attentions: children that read and write the stream; the rest is one."""
        experts = [
            name
            for name in self._within(item.paths)
            if self._is_expert(name, width) and not name.startswith(attentions or ("\0",))
        ]
        experts.sort(key=list(self.parameters).index)
        children: dict[str, list[str]] = {}
        for path in linears:
            children.setdefault(_child_of(item, path), []).append(path)
        whole = {
            child: paths
            for child, paths in children.items()
            if self.linears[paths[0]][0] == self.linears[paths[-1]][1] == width and len(paths) > 1
        }
        rest = [path for child, paths in children.items() if child not in whole for path in paths]
        if rest and _common_parent(rest) in item.paths:  # one feed-forward over several children, as in BERT
            whole, rest = {}, list(linears)
        beside = [name for name in experts if _child_of(item, name) not in whole]
        parts = [self._feed_forward(item, rest, beside, width)] if rest or beside else []
        for child, paths in whole.items():
            parts.append(self._feed_forward(item, paths, [n for n in experts if _child_of(item, n) == child], width))
        return tuple(parts)

    def _feed_forward(
        self, item: _Item, linears: Sequence[str], experts: Sequence[str], width: int | None
    ) -> FeedForward:
        counts = {1, *(self.parameters[name][0] for name in experts)}
        counts |= {self._list_around(path, item) for path in linears} - {0}
        gates = [path for path in linears if self.linears[path][1] in counts and self.linears[path][1] != width]
        linears = [path for path in linears if path not in gates]
        down = [path for path in linears if width in (None, self.linears[path][1])][-1:]
        if len(linears) == 1 and self.linears[linears[0]][0] == width:
            down = []  # a projection alone reads the stream; what writes is no linear
        before = linears[: linears.index(down[0])] if down else linears
        up = [path for path in before if self.linears[path][0] == width]
        other = [path for path in linears if path not in up and path not in down]
        parent = _common_parent([*linears, *gates, *experts])
        while parent and isinstance(self.modules[parent], (nn.ModuleList, nn.ModuleDict, nn.Sequential)):
            parent = parent.rpartition(".")[0]
        around = [path for path in item.paths if f"{parent}.".startswith(f"{path}.")]
        mixture = bool(experts) or (
            bool(gates) and max((self._list_around(path, item) for path in linears), default=0) > 1
        )
        if around and (mixture or not down):  # what reads and what writes may lie further apart than what was seen
            parent = self._shallowest(parent, around[0])
        return FeedForward(
            path=parent if around and (parent not in item.paths or len(item.paths) > 1) else None,
            up=tuple(up),
            down=tuple(down),
            other=tuple(other),
            gates=tuple(gates),
            experts=tuple(experts),
            mixture=mixture,
        )

    def _shallowest(self, path: str, block: str) -> str:
        """The outermost module around `path` inside a block that runs as a whole, which lists do not."""
        parts = path.split(".")
        for depth in range(block.count(".") + 2, len(parts)):
            around = ".".join(parts[:depth])
            if not isinstance(self.modules[around], (nn.ModuleList, nn.ModuleDict, nn.Sequential)):
                return around
        return path

    def _is_expert(self, name: str, width: int | None) -> bool:
        shape = self.parameters[name]
        owner = self.modules[name.rpartition(".")[0]]
        return (
            len(shape) == 3
            and min(shape) > 1
            and width in (None, *shape[1:])
            and name not in self.idle
            and not isinstance(owner, (nn.Conv1d, nn.Conv2d))
            and not self._convolves(name.rpartition(".")[0])
            and "conv" not in name.rpartition(".")[0].rpartition(".")[2].lower()
        )

    def _list_around(self, path: str, item: _Item) -> int:
        """The length of the list of experts that a projection lies in; 0 when it is in none below its block."""
        while (path := path.rpartition(".")[0]) and path not in item.paths:
            module = self.modules[path]
            if isinstance(module, (nn.ModuleList, nn.ModuleDict)):
                return sum(any(map(_is_linear, child.modules())) for child in module.children())
        return 0

    # ---- the entrance

    def _entrance(self, blocks: Sequence[Block]) -> tuple[str | None, str | None]:
        """The embedding of the token ids and the smallest module that holds it and the first stack."""
        embedding = self.run.embedding
        if embedding is None or not blocks or not self.run.readers:
            return None, None
        around = [path for path in self.run.readers if not path or blocks[0].path.startswith(f"{path}.")]
        trunk = max(around, key=len, default="")
        if "input_ids" not in inspect.signature(self.modules[trunk].forward).parameters:
            return None, None
        return embedding, trunk

    def _reader(self, blocks: Sequence[Block]) -> str | None:
        """The module of the first stack that attends to another one."""
        for block in blocks:
            if block.stack != blocks[0].stack and any(attention.across for attention in block.attentions):
                return block.stack.rpartition(".")[0]
        return None


def _child_of(item: _Item, path: str) -> str:
    """The child of a block that a module or parameter lies in."""
    around = next(each for each in item.paths if path.startswith(f"{each}."))
    return ".".join(path.split(".")[: around.count(".") + 2])


def _ties(model: nn.Module) -> Mapping[str, str]:
    first: dict[int, str] = {}
    ties = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            ties[name] = first[id(parameter)]
        first.setdefault(id(parameter), name)
    return ties


def _open(modules: Mapping[str, nn.Module], stack: str) -> Iterator[str]:
    for number, item in modules[stack].named_children():
        if isinstance(item, nn.ModuleList):
            yield from _open(modules, f"{stack}.{number}")
        else:
            yield f"{stack}.{number}"


def _common_parent(names: Sequence[str]) -> str:
    """The path of the smallest module that holds all of these modules or parameters."""
    parts = [name.split(".")[:-1] for name in names]
    common = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return ".".join(common)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, Conv1D))  # quantized linears derive from nn.Linear


def _widths(module: nn.Module) -> tuple[int, int]:
    if isinstance(module, Conv1D):
        return module.weight.shape[0], module.weight.shape[1]
    assert isinstance(module, nn.Linear)
    return module.in_features, module.out_features
