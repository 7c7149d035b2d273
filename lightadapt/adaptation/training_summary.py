"""What an adaptation keeps of the data that it was trained on: vectors and numbers, and no text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from lightadapt.errors import ArtifactError
from lightadapt.numbers import is_number, is_whole

SUMMARY_NAME = "training_summary.safetensors"
"""The file of it in an artifact; artifacts without one are whole, too."""
LARGEST = 127
"""The largest number that vectors are kept as, in 8 bits: that turns a vector by less than a degree."""
PARTS = ("nearest", "mean", "margin")
"""What speaks for a text being of no known class, see `lightadapt.stream.unknown`."""


@dataclass(frozen=True)
class KnownClasses:
    """What tells texts of the classes that were learned from all others.

    Attributes:
        numbers: of the class of each vector of the summary, `(N,)`.
        means: of the adapted vectors of each class, `(K, width)`, of length one; zeros for a class without a vector.
        labels: the names of the classes, by their numbers.
        usual: the mean and the spread of each part of the score on texts of known classes, `(parts, 2)`.
        limit: the score that one in twenty texts of known classes reaches.
        held_out: whether those texts were ones that the model had not learned from.
    """

    numbers: np.ndarray
    means: np.ndarray
    labels: tuple[str, ...]
    usual: tuple[tuple[float, float], ...]
    limit: float
    held_out: bool


@dataclass(frozen=True)
class TrainingSummary:
    """A sample of the texts that were learned as vectors, and how often each label occurs.

    Attributes:
        vectors: of the base alone, `(N, width)` in float32, of length one.
        comparable: whether texts that were not learned have vectors like these; not where the base itself learned.
        counts: of how many records each label is, by its name; empty for a task without labels.
        counted: how many records were counted.
        known: None where the task has no classes of which a text can be none.
    """

    vectors: np.ndarray
    comparable: bool = True
    counts: Mapping[str, int] = field(default_factory=dict)
    counted: int = 0
    known: KnownClasses | None = None

    def write(self, file: Path) -> None:
        """Write it as safetensors, with what is no array as JSON in its metadata."""
        arrays = _in_8_bits("vectors", self.vectors)
        facts: dict[str, Any] = {"comparable": self.comparable, "counts": dict(self.counts), "counted": self.counted}
        if self.known is not None:
            arrays |= {"numbers": self.known.numbers.astype(np.int32), **_in_8_bits("means", self.known.means)}
            told = asdict(self.known)
            facts["known"] = {name: told[name] for name in ("labels", "usual", "limit", "held_out")}
        save_file(arrays, file, metadata={"summary": json.dumps(facts)})


def read_summary(file: Path) -> TrainingSummary:
    """What a file holds, checked for itself.

    Raises:
        ArtifactError: it cannot be read, or holds what no summary does.
    """
    try:
        with safe_open(file, "np") as content:
            arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118, it is no dict
            facts = json.loads((content.metadata() or {}).get("summary", ""))
        return _checked(arrays, facts)
    except Exception as error:  # a damaged file fails in safetensors, JSON or NumPy in any way
        raise ArtifactError(
            f"{file} is damaged or no summary of training data: {str(error)[:120]}. Copy the artifact again."
        ) from error


def _checked(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> TrainingSummary:
    counts, counted, known = facts["counts"], facts["counted"], None
    vectors = _of_8_bits("vectors", arrays)
    if not all(map(is_whole, [counted, *counts.values()])) or not all(0 <= each <= counted for each in counts.values()):
        raise ValueError("its counts are no counts")
    if "known" in facts:
        told = facts["known"]
        known = KnownClasses(
            arrays["numbers"],
            _of_8_bits("means", arrays),
            tuple(map(str, told["labels"])),
            tuple((float(mean), float(spread)) for mean, spread in told["usual"]),
            float(told["limit"]),
            bool(told["held_out"]),
        )
        _check_known(known, len(vectors))
    return TrainingSummary(vectors, bool(facts["comparable"]), counts, counted, known)


def _check_known(known: KnownClasses, vectors: int) -> None:
    """Raise for numbers that do not go together."""
    if known.numbers.shape != (vectors,) or known.means.shape[0] != len(known.labels):
        raise ValueError("its classes are not those of its vectors")
    if not np.issubdtype(known.numbers.dtype, np.integer) or not np.all(
        (known.numbers >= 0) & (known.numbers < len(known.labels))
    ):
        raise ValueError("its classes have no such numbers")
    values = [known.limit, *(value for pair in known.usual for value in pair)]
    if len(known.usual) not in (1, len(PARTS)) or not all(is_number(value) and np.isfinite(value) for value in values):
        raise ValueError("its limits are no numbers")
    if any(spread <= 0 for _, spread in known.usual):
        raise ValueError("a spread is not above 0")


def _in_8_bits(name: str, vectors: np.ndarray) -> dict[str, np.ndarray]:
    """Vectors as whole numbers, with what makes them vectors again: a center and a step for each of their dimensions.

    Encoders have dimensions that are large in every text, so that one step for all would lose the others.
    """
    center = vectors.mean(0)
    step = np.maximum(np.abs(vectors - center).max(0), 1e-12) / LARGEST
    rounded = np.round((vectors - center) / step).astype(np.int8)
    return {name: rounded, f"{name}.center": center.astype(np.float32), f"{name}.step": step.astype(np.float32)}


def _of_8_bits(name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The vectors of `_in_8_bits`, of length one again but for those of zeros."""
    values, center, step = (arrays[each] for each in (name, f"{name}.center", f"{name}.step"))
    if (
        values.ndim != 2
        or values.dtype != np.int8
        or not values.size
        or {center.shape, step.shape} != {values.shape[1:]}
    ):
        raise ValueError(f"{name} is {values.dtype} of shape {values.shape}")
    vectors = values.astype(np.float32) * step + center
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise ValueError(f"{name} is not finite")
    found: np.ndarray = np.where(lengths > 0.5, vectors / np.maximum(lengths, 1e-12), 0)
    return found
