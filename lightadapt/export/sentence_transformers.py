"""An adapted encoder as a model of sentence-transformers: texts in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import PreTrainedModel

from lightadapt.adaptation.runner import Runner
from lightadapt.base.pooling import pooling_of
from lightadapt.errors import LightAdaptError, nearest, shown
from lightadapt.export.format import Format, computes_exactly
from lightadapt.export.merging import check_folds, merge
from lightadapt.export.proof import Found, Prover
from lightadapt.heads.pooling import Pooling
from lightadapt.machine.quiet import quiet
from lightadapt.numbers import check_flags
from lightadapt.tasks.encoding.legibility import sample_texts

POOLINGS = ("mean", "cls")


@dataclass(frozen=True, kw_only=True)
class SentenceTransformers(Format):
    """The backbone of an encoder, without the head of its task, with pooling: for search and clustering.

    The vectors are those of the adapted backbone, whatever the task was that it learned.
    """

    name: ClassVar[str] = "sentence-transformers"
    aliases: ClassVar = {"sbert": {}}
    extra: ClassVar[str | None] = "export"
    packages: ClassVar[tuple[str, ...]] = ("sentence_transformers",)
    with_head: ClassVar[bool] = False

    pooling: str | None = None
    """`"mean"` of the tokens, or `"cls"`, the first one; None: as the base was made for it, and where nothing says
    that it was, `"mean"`."""
    normalize: bool = True
    """Whether vectors get the length one."""

    def __post_init__(self) -> None:
        if self.pooling is not None and self.pooling not in POOLINGS:
            raise LightAdaptError(
                f"pooling={shown(self.pooling)}: {nearest(self.pooling, POOLINGS)}Give one of: {', '.join(POOLINGS)}."
            )
        check_flags(normalize=self.normalize)

    def check(self, runner: Runner) -> None:
        if runner.family != "encoder":
            raise LightAdaptError(
                f"export({self.name!r}): {type(runner.model).__name__} is of the kind {runner.family}, and a pooled "
                "encoder is needed. Export to 'merged'."
            )
        check_folds(runner)

    def write(self, runner: Runner, folder: Path) -> Sequence[str]:
        from sentence_transformers import SentenceTransformer

        models = _modules()
        merged = merge(runner, base="reload", dtype="auto", max_drift=0.25)
        plain = folder / "backbone"
        with quiet():
            merged.base_model.save_pretrained(plain)
            runner.tokenizer.save_pretrained(plain)
            first: Any = models.Transformer(str(plain), max_seq_length=runner.max_length)
            width = first.get_embedding_dimension()
            pooled = models.Pooling(width, pooling_mode=self._way_of(runner))
            modules = [first, pooled, *([models.Normalize()] if self.normalize else [])]
            SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)
        for file in plain.iterdir():
            file.unlink()
        plain.rmdir()
        return [
            f"Pooling: {self._way_of(runner)}.",
            "Use: sentence_transformers.SentenceTransformer({folder!r}).encode([…])",
        ]

    def prove(self, runner: Runner, folder: Path, prover: Prover) -> Found:
        from sentence_transformers import SentenceTransformer

        texts = sample_texts(prover.examples, runner.task.answer_fields)
        with quiet():
            model = SentenceTransformer(str(folder), device=str(runner.model.device))
        theirs = np.asarray(model.encode(texts, convert_to_numpy=True, show_progress_bar=False), dtype=np.float64)
        way = self._way_of(runner)
        ours = np.stack([self._vector(runner, text, way) for text in texts])
        return Found(difference=float(np.abs(ours - theirs).max()), scale=float(np.abs(ours).max()))

    def tolerance(self, runner: Runner) -> float | None:
        return 1e-4 if computes_exactly(runner) else None

    def facts(self, runner: Runner) -> dict[str, Any]:
        return {"pooling": self._way_of(runner)}

    def _way_of(self, runner: Runner) -> Pooling:
        """How a vector is made of the tokens of a text."""
        return self.pooling or pooling_of(runner.adaptation.design.blueprint.source) or "mean"

    def _vector(self, runner: Runner, text: str, way: Pooling) -> np.ndarray:
        """The vector of a text `(width,)`, by the adapted model itself."""
        model: PreTrainedModel = runner.model
        inputs = runner.tokenizer(text, truncation=True, max_length=runner.max_length, return_tensors="pt")
        inputs = inputs.to(model.device)
        training = model.training
        with torch.no_grad():
            hidden = model.eval().base_model(**inputs).last_hidden_state[0].double().cpu().numpy()  # (T, width)
        model.train(training)
        vector: np.ndarray = hidden.mean(0) if way == "mean" else hidden[0]
        return vector / np.linalg.norm(vector) if self.normalize else vector


def _modules() -> Any:
    """The modules of sentence-transformers, whose place before version 6 is deprecated since then."""
    try:
        from sentence_transformers.sentence_transformer import modules
    except ImportError:
        from sentence_transformers import models as modules
    return modules
