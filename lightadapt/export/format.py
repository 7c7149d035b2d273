"""What every export format is: what it cannot take, what it writes, and how it shows that this says the same."""

from __future__ import annotations

import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lightadapt.errors import LightAdaptError
from lightadapt.registry import Registry

if TYPE_CHECKING:
    from lightadapt.adaptation.runner import Runner
    from lightadapt.export.proof import Found, Prover


@dataclass(frozen=True, kw_only=True)
class Format(ABC):
    """A form in which an adaptation leaves; its fields are its options.

    A class that derives from it is known to `export` by its `name` from its definition on.
    """

    name: ClassVar[str]
    """The name to call it by."""
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Further names to call it by, each with the settings that it stands for."""
    extra: ClassVar[str | None] = None
    """The extra of lightadapt that brings the packages which it needs beside."""
    packages: ClassVar[tuple[str, ...]] = ()
    """What must be there to be imported."""
    with_head: ClassVar[bool] = True
    """Whether the head of the task is in it."""
    as_computed: ClassVar[bool] = False
    """Whether it holds what the model computes, as a graph does; else weights alone, for classes of others."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        KNOWN_FORMATS.add(cls)

    def settings(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @property
    def called(self) -> str:
        """The name by which errors call it, where its own stands for several."""
        return self.name

    def require_packages(self) -> None:
        """Raise when a package is missing that the format needs.

        Raises:
            LightAdaptError: with the command that installs it.
        """
        missing = [package for package in self.packages if find_spec(package) is None]
        if missing:
            raise LightAdaptError(
                f"Format {self.called!r} needs {', '.join(missing)}, which is not installed: "
                f"pip install 'lightadapt[{self.extra}]'"
            )

    def check(self, runner: Runner) -> None:  # noqa: B027, some formats take anything
        """Raise for an adaptation that this format cannot hold, before anything is computed.

        Raises:
            LightAdaptError: with the reason, and another way.
        """

    @abstractmethod
    def write(self, runner: Runner, folder: Path) -> Sequence[str]:
        """Write the files into an empty folder, and return what the user should know of them, a sentence each.

        `{folder}` in a sentence stands for the place that the folder gets, `{folder!r}` for the same in Python, and
        `{folder!q}` for it in a command.

        Raises:
            LightAdaptError: the adaptation cannot be put into this form.
        """

    def facts(self, runner: Runner) -> dict[str, Any]:
        """What the folder's manifest says beside, as JSON values."""
        return {}

    @abstractmethod
    def prove(self, runner: Runner, folder: Path, prover: Prover) -> Found:
        """Load what was written, by the means of whoever will use it, and compare what it gives with the adaptation.

        Raises:
            LightAdaptError: it cannot be loaded there.
        """

    def tolerance(self, runner: Runner) -> float | None:
        """The largest difference that rounding explains, for outputs of size one.

        None where the weights are rounded anyway, so that any difference is reported and none refused.
        """
        return None


KNOWN_FORMATS: Registry[Format] = Registry("format", "lightadapt.formats")
"""Every format of this process by the name that it declares."""


def with_folder(note: str, folder: Path) -> str:
    """A sentence of `Format.write` with the place of the folder.

    >>> with_folder('llama-cli -m {folder!q}/model.gguf', Path("my chat"))
    "llama-cli -m 'my chat'/model.gguf"
    >>> with_folder('load_onnx({folder!r})', Path("my chat"))
    "load_onnx('my chat')"
    """
    place = str(folder)
    shown = {"{folder!q}": shlex.quote(place), "{folder!r}": repr(place), "{folder}": place}
    return re.sub("|".join(map(re.escape, shown)), lambda found: shown[found[0]], note)


def computes_exactly(runner: Runner) -> bool:
    """Whether the adaptation computes in float32 on weights that are not quantized."""
    design = runner.adaptation.design
    return design.quantization is None and str(design.dtype) == "torch.float32"
