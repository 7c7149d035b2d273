"""What is known of the modules of a model, from their tree and from a dry run where there is one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from torch import nn
from transformers.pytorch_utils import Conv1D

from lightadapt.anatomy.dry_run import DryRun


class ModuleTree:
    """The modules and parameters of a model by their paths, and whether they are in use.

    Attributes:
        modules: every module.
        parameters: the shape of every parameter.
        head: the parameters outside the backbone.
        linears: the widths of every linear projection, in and out.
        idle: parameters that no output depends on.
        run: what the dry run saw.
    """

    def __init__(self, model: nn.Module, backbone: Collection[str], run: DryRun) -> None:
        """Look through the model; `backbone` names the parameters of the bare backbone."""
        self.run = run
        self.modules = dict(model.named_modules())
        self.parameters = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
        self.head = frozenset(
            name for name in self.parameters if name not in backbone and name.partition(".")[2] not in backbone
        )
        self.linears = {path: widths_of(module) for path, module in self.modules.items() if is_linear(module)}
        self.idle = (run.idle or frozenset()) & self.parameters.keys()

    def within(self, paths: Iterable[str]) -> set[str]:
        """The parameters inside these modules."""
        prefixes = tuple(f"{path}." for path in paths)
        return {name for name in self.parameters if name.startswith(prefixes)}

    def in_use(self, path: str) -> bool:
        """Whether a module is called, and any output depends on its weight, as far as the dry run can tell."""
        called = not self.run.finished or path in self.run.order
        return called and f"{path}.weight" not in self.idle and path not in self.run.misfits

    def is_fused(self, path: str) -> bool:
        """Whether this is the last projection of a mixer with a convolution, as in Mamba.

        Such mixers have kernels for GPUs that do convolution, scan and projection in one go, and read the weights of
        the projection without calling it.
        """
        mixer = path.rpartition(".")[0]
        beside = [child for child in self.modules[mixer].children() if is_linear(child)]
        return self.convolves(mixer) and self.modules[path] is beside[-1]

    def convolves(self, path: str) -> bool:
        """Whether a module has a depthwise convolution of its own."""
        return any(isinstance(child, nn.Conv1d) and child.groups > 1 for child in self.modules[path].children())

    def is_norm(self, path: str) -> bool:
        """Whether a module is a normalisation with weights, in use and not part of a convolution."""
        module = self.modules[path]
        own = list(module.parameters())
        return (
            "norm" in type(module).__name__.lower()
            and bool(own)
            and all(parameter.dim() == 1 for parameter in own)
            and self.in_use(path)
            and not self.convolves(path.rpartition(".")[0])
        )


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


def ties_of(model: nn.Module) -> Mapping[str, str]:
    """Names of parameters that are another one, with the name that it has first."""
    first: dict[int, str] = {}
    ties = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            ties[name] = first[id(parameter)]
        first.setdefault(id(parameter), name)
    return ties


def common_parent(names: Sequence[str]) -> str:
    """The path of the smallest module that holds all of these modules or parameters."""
    parts = [name.split(".")[:-1] for name in names]
    common = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return ".".join(common)


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear projection."""
    return isinstance(module, (nn.Linear, Conv1D))  # quantized linears derive from nn.Linear


def widths_of(module: nn.Module) -> tuple[int, int]:
    """Widths of what a linear projection reads and writes."""
    if isinstance(module, Conv1D):
        return module.weight.shape[0], module.weight.shape[1]
    assert isinstance(module, nn.Linear)
    return module.in_features, module.out_features
