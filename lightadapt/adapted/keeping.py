"""How an adapted model leaves the process: saved, on the hub, merged, exported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import PreTrainedModel

from lightadapt.adaptation.manifest import save
from lightadapt.adaptation.on_hub import check_pushed, push
from lightadapt.adapted.sharing import Sharing
from lightadapt.data import Data
from lightadapt.errors import LightAdaptError
from lightadapt.export import Exported, Format, export
from lightadapt.export.merging import check_learned, check_plain, merge
from lightadapt.machine.processes import is_sharded, once
from lightadapt.numbers import check_flags
from lightadapt.suggestions.calls import explained
from lightadapt.suggestions.foreign_names import SAVE


class Keeping(Sharing):
    """It is saved, and handed over in forms that others read."""

    @explained(SAVE)
    def save(self, path: str | Path) -> None:
        """Write the artifact: what was trained, its settings, the tokenizer and a model card.

        The folder is written as a whole or not at all; `lightadapt.load` reads it, and so does stock PEFT. Of several
        adaptations, the one in use is saved. Of several processes, the main one writes and the others wait for it.

        Raises:
            ArtifactError: the folder holds other files, or cannot be written.
            LightAdaptError: the labels are not known yet.
        """
        with self._several.backbone.lock:  # not in the middle of a step of another thread
            save(self.runner, path, lambda action: once(action, f"save({str(path)!r})"))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        message: str = "Saved by lightadapt",
    ) -> str:
        """Save the artifact to a repository on the hub, from which `load(repo_id)` reads it, and return its address.

        The hub's own client uploads it, with the token of `hf auth login` or `HF_TOKEN`.

        Args:
            repo_id: `"owner/name"`, or a name alone for your own account; the repository is created if need be.
            private: whether a new repository is private; None: the account's default.
            revision: the branch to save to; None: the main one.
            message: the message of the commit.

        Raises:
            ArtifactError: the hub refuses it, or cannot be reached.
            LightAdaptError: the labels are not known yet.
        """
        if private is not None:
            check_flags(private=private)
        check_pushed(repo_id, self.runner.adaptation.design.blueprint.source.id)
        with TemporaryDirectory() as temporary:
            folder = Path(temporary) / "artifact"
            self.save(folder)
            address: list[str] = []
            once(
                lambda: address.append(push(folder, repo_id, private=private, revision=revision, message=message)),
                f"push_to_hub({repo_id!r})",
            )
        return address[0] if address else repo_id

    def merge(self, *, base: str = "reload", dtype: Any = "auto", max_drift: float = 0.25) -> PreTrainedModel:
        """A plain transformers model with the adapter folded into its weights; the adapted model stays as it is.

        Args:
            base: what the adapter of a quantized base is folded into. `"reload"`: the weights from before quantization,
                loaded again. `"dequantize"`: the values that the quantized weights stand for, which the adapter was
                trained on. `"quantized"`: the quantized weights, whose rounding loses part of the adapter.
            dtype: of the result. `"auto"`: float32 for a regression, bfloat16 for a quantized base, else that of the
                base, with the head in float32. The result's `config.dtype` says which, and its saved files are loaded
                in it. 16 bits round the adapter together with the weights; `"float32"` keeps all of it.
            max_drift: for a quantized base, how far the outputs for a probe batch may move, as
                |after - before| / |before|.

        Raises:
            LightAdaptError: the head has learned nothing; the method does not change weights, so it cannot be folded;
                the outputs differ by more than `max_drift`; or the model is split over several processes.
        """
        if is_sharded(self.model):
            raise LightAdaptError(
                "merge(): the model is split over several processes. Save it, and merge what load returns."
            )
        self._several.check_enabled("merge")
        with self._several.computing(self.runner) as now:
            check_learned(now, "merge()", "of the merged model")
            check_plain(now)
            merged = merge(now, base=base, dtype=dtype, max_drift=max_drift)
        return merged.requires_grad_(base != "quantized" or self._several.backbone.quantization is None).eval()

    def export(
        self,
        path: str | Path,
        format: str | Format,
        *,
        quantize: str | None = None,
        check: Data | None = None,
        max_loss: float | None = None,
        columns: Mapping[str, str | int] | None = None,
    ) -> Exported:
        """Write the adaptation in use in a form that others read, and compare what that gives with what this gives.

        What is written is loaded again by the means of whoever will use it. The folder appears as a whole or not at
        all; it holds `lightadapt_export.json`, which says what the comparison found.

        Args:
            path: the folder to write; an earlier export there is replaced.
            format: a name, such as `"merged"` or `"onnx"`, or for its options a value: `lightadapt.export.Onnx(…)`.
            quantize: for formats that can hold rounded weights, in which form: `"int8"`, for instance.
            check: labelled data to compare on, which also gives the scores before and after; None: two short records
                that come with the task.
            max_loss: how much of the headline metric on `check` may be lost; None: any loss is warned of.
            columns: `{field: column}` for fields that have another name in `check`.

        Raises:
            LightAdaptError: the format is unknown, a package for it is missing, it cannot hold this method or task, the
                head has learned nothing, or what it gives is not what this gives; nothing is written then.
            ArtifactError: the folder holds other files, or cannot be written.
        """
        if is_sharded(self.model):
            raise LightAdaptError(
                "export(): the model is in parts, one in each process. Save it, and export what load gives."
            )
        self._several.check_enabled("export")
        with self._several.computing(self.runner) as now:
            return export(now, path, format, quantize=quantize, check=check, max_loss=max_loss, columns=columns)
