"""An exported model behind `predict` and `evaluate`, without torch and transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightadapt.adaptation.digests import digest_of
from lightadapt.adaptation.placing import EXPORT_NAME, MANIFEST_NAME, folder_named
from lightadapt.adaptation.requests import Request, answer, evaluate
from lightadapt.adaptation.stored import read_json
from lightadapt.data import Data
from lightadapt.data.skipping import BadRecords
from lightadapt.errors import ArtifactError, LightAdaptError, nearest, shown, unquoted
from lightadapt.evaluation.scores import Scores
from lightadapt.numbers import check_flags, check_whole, is_whole
from lightadapt.runtime.sessions import check_providers, require_packages
from lightadapt.tasks import Label, Task

if TYPE_CHECKING:
    from lightadapt.runtime.onnx_runner import OnnxRunner

SCHEMA = 2
"""Version of what is written for the runtime; raised when an older lightadapt could not read it right."""

GREEDY_OPTIONS = ("max_new_tokens", "stop_strings")
"""Options of generation that a model which writes greedily can be given."""


class OnnxModel:
    """An adaptation that was exported to ONNX; made by `load_onnx`. It may be called from many threads."""

    def __init__(self, path: Path, runner: OnnxRunner) -> None:
        self.path = path
        self._runner = runner

    @property
    def task(self) -> Task:
        """The task, with its labels."""
        return self._runner.task

    @property
    def labels(self) -> list[Label] | None:
        """The names of the classes; None for a task without."""
        labels = getattr(self.task, "labels", None)
        return None if labels is None else list(labels)

    def predict(
        self,
        inputs: Any,
        *,
        scores: bool = False,
        columns: Mapping[str, str | int] | None = None,
        options: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        batch_tokens: int | None = None,
        on_error: str = "raise",
    ) -> list[Any]:
        """The predictions, as many as inputs and in their order.

        Args:
            inputs: as in `Adapted.predict`.
            scores: for the classification kinds, give `{label: probability}`.
            columns: `{field: column}` for fields that have another name in the data.
            options: of a task that writes text, `max_new_tokens` and `stop_strings`; it is written greedily.
            threshold: of task multilabel, another probability from which a label is predicted.
            batch_tokens: tokens of a batch, padding included; None: 512 for each thread.
            on_error: as in `Adapted.predict`.

        Raises:
            DataError: an input cannot be used.
        """
        bad = BadRecords(on_error)
        if options is not None:  # the task may take none, or nothing of this kind
            self.task.with_options({} if isinstance(options, Mapping) else options)
        for name in options or {}:
            if name not in GREEDY_OPTIONS:
                raise LightAdaptError(
                    f"predict: options holds {shown(name)}, and an exported model writes greedily. "
                    f"{nearest(name, GREEDY_OPTIONS)}Options: {', '.join(GREEDY_OPTIONS)}."
                )
        request = Request(
            scores=scores, columns=columns, options=options, threshold=threshold, batch_tokens=batch_tokens
        )
        found = answer(self._runner, inputs, request, bad)
        bad.tell(len(found) - bad.count)
        return found

    def evaluate(
        self,
        data: Data,
        *,
        threshold: float | None = None,
        columns: Mapping[str, str | int] | None = None,
        on_error: str = "raise",
        confidence: float | None = None,
    ) -> Scores:
        """The task's metrics on labelled data, as `Adapted.evaluate` gives them.

        Args:
            data: any form of data (see `lightadapt.data.read`).
            threshold: as in `predict`.
            columns: as in `predict`.
            on_error: as in `predict`.
            confidence: as in `Adapted.evaluate`.

        Raises:
            DataError: a record cannot be used, or has a label that the model does not know.
            LightAdaptError: there are no intervals of that confidence.
        """
        bad = BadRecords(on_error)
        return evaluate(self._runner, data, threshold=threshold, columns=columns, bad=bad, confidence=confidence)

    def __str__(self) -> str:
        labels = "" if self.labels is None else f", {len(self.labels)} labels"
        return f"OnnxModel({str(self.path)!r}: {self.task.name}{labels})"

    __repr__ = __str__


def load_onnx(
    path: str | Path, *, threads: int | None = None, providers: Sequence[str] = (), verify: bool = True
) -> OnnxModel:
    """A model that `export(…, "onnx")` wrote, read without torch and transformers, in well under a second.

    It needs `onnxruntime`, `tokenizers` and `numpy`: the extra `runtime`; conversations also need jinja2. What
    `export(…, "openvino")` wrote needs `openvino` in place of onnxruntime.

    Args:
        path: the folder.
        threads: of onnxruntime; None: one for each core.
        providers: execution providers of onnxruntime, such as `["CUDAExecutionProvider"]`, or a device of OpenVINO;
            none: the CPU.
        verify: compare every file with what the export wrote, which takes about a second for 1 GB.

    Raises:
        ArtifactError: it holds no such model, or is damaged.
        LightAdaptError: a package is missing, or there is no such provider here.
    """
    if threads is not None:
        check_whole("threads", threads)
    check_flags(verify=verify)
    folder = folder_named(path, "my-onnx")
    content = _content(folder)
    facts = _facts(folder, content)
    graphs: Any = facts.get("graphs", ())
    files = [file for file in graphs if isinstance(file, str)] if isinstance(graphs, list) else []
    require_packages(files)
    providers = check_providers(providers, files)
    if verify:
        _check_files(folder, content.get("digests"))
    try:
        runner = runner_of(folder, facts, threads=threads, providers=providers)
    except LightAdaptError:
        raise
    except Exception as error:  # onnxruntime and tokenizers raise kinds of their own
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(
            f"{folder} cannot be used ({type(error).__name__}: {reason}). Export or copy it again."
        ) from error
    return OnnxModel(folder, runner)


def runner_of(
    folder: Path, facts: Mapping[str, Any], *, threads: int | None = None, providers: Sequence[str] = ()
) -> OnnxRunner:
    """What runs the task of a folder, by the facts that the export wrote for the runtime."""
    if "writing" in facts:
        from lightadapt.runtime.writing_runner import WritingRunner

        return WritingRunner(folder, facts, threads=threads, providers=providers)
    from lightadapt.runtime.onnx_runner import OnnxRunner

    return OnnxRunner(folder, facts, threads=threads, providers=providers)


def _content(folder: Path) -> Any:
    """What the export wrote of itself.

    Raises:
        ArtifactError: nothing.
    """
    if not folder.exists():
        raise ArtifactError(f"{folder} does not exist. Give the folder that an export to 'onnx' wrote.")
    file = folder / EXPORT_NAME
    if not file.is_file():
        hint = ""
        if (folder / MANIFEST_NAME).is_file():
            hint = " It is a saved adaptation: load(…), then export(…, 'onnx')."
        raise ArtifactError(f"{folder} holds no exported model: it has no {EXPORT_NAME}.{hint}")
    return read_json(file)


def _facts(folder: Path, content: Any) -> dict[str, Any]:
    """What the export wrote for the runtime.

    Raises:
        ArtifactError: nothing, or what this version cannot read.
    """
    facts: Any = content.get("runtime")
    if not isinstance(facts, dict):
        raise ArtifactError(
            f"{folder} is an export of format {content.get('format')!r}, and load_onnx reads 'onnx' and 'openvino'."
        )
    schema: Any = facts.get("schema")
    if not is_whole(schema) or schema > SCHEMA:
        raise ArtifactError(
            f"{folder / EXPORT_NAME} has the schema {str(schema)[:20]}, and this lightadapt reads up to {SCHEMA}. "
            "Upgrade: pip install -U lightadapt"
        )
    return facts


def _check_files(folder: Path, digests: Any) -> None:
    """Raise unless every file is as the export wrote it; older exports do not say how that was.

    Raises:
        ArtifactError: which file is missing, or is not.
    """
    for name, expected in digests.items() if isinstance(digests, dict) else ():
        file = folder / name
        if not file.is_file():
            raise ArtifactError(f"{folder} is incomplete: {unquoted(name)} is missing. Export or copy it again.")
        if digest_of(file) != expected:
            raise ArtifactError(
                f"{file} is damaged or from another export: its SHA-256 is not the one in {EXPORT_NAME}. Copy it "
                "again; if it was edited on purpose: load_onnx(…, verify=False)."
            )
