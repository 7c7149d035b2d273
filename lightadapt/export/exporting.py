"""An export from start to end: refused early, written beside its place, compared, and put there as a whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from lightadapt.adaptation.digests import digests_of
from lightadapt.adaptation.manifest import version_of
from lightadapt.adaptation.placing import EXPORT_NAME, MANIFEST_NAME, folder_named, fresh_folder, put_in_place
from lightadapt.adaptation.runner import Runner
from lightadapt.data import Data
from lightadapt.errors import ArtifactError, LightAdaptError, nearest, shown, warn
from lightadapt.export.exported import Exported
from lightadapt.export.format import KNOWN_FORMATS, Format, with_folder
from lightadapt.export.merging import check_learned
from lightadapt.export.proof import Found, Prover
from lightadapt.export.room import as_artifact_error, as_no_room
from lightadapt.numbers import check_number

NOTICED = 5e-5
"""A loss that shows in four digits."""


def format_of(name: str, settings: Mapping[str, Any]) -> Format:
    """The format of that name with these settings.

    Raises:
        LightAdaptError: there is none, or it has no such setting.
    """
    found = KNOWN_FORMATS.find(name) or KNOWN_FORMATS.find(name.lower())
    if found is None:
        known = KNOWN_FORMATS.names
        raise LightAdaptError(f"Unknown format {shown(name)}. {nearest(name, known)}Formats: {', '.join(known)}.")
    kind, own = found
    names = [each.name for each in fields(kind)]
    for given in settings:
        if given not in names:
            listing = f"Settings: {', '.join(names)}." if names else "It has none."
            raise LightAdaptError(f"Format {name!r} has no setting {shown(given)}. {nearest(given, names)}{listing}")
    return KNOWN_FORMATS.make(kind, {**own, **settings})


def resolve_format(chosen: Any, quantize: str | None) -> Format:
    """The format of that name with its defaults, or the given one; with this `quantize`, if any.

    Raises:
        LightAdaptError: there is none of that name, or it has no such option.
    """
    if isinstance(chosen, type) and issubclass(chosen, Format):
        chosen = KNOWN_FORMATS.make(chosen, {})
    format: Format = chosen if isinstance(chosen, Format) else format_of(str(chosen), {})
    if quantize is None:
        return format
    if "quantize" not in {each.name for each in fields(format)}:
        raise LightAdaptError(f"Format {format.name!r} has no quantize={shown(quantize)}. Leave it out.")
    return replace(format, **{"quantize": quantize})


def export(
    runner: Runner,
    path: str | Path,
    chosen: Any,
    *,
    quantize: str | None,
    check: Data | None,
    max_loss: float | None,
    columns: Mapping[str, str | int] | None,
) -> Exported:
    """Write an adaptation in a format of others; see `Adapted.export`."""
    format = resolve_format(chosen, quantize)
    if max_loss is not None:
        check_number("max_loss", max_loss, owner="export", least=0, wanted="a number of at least 0, such as 0.01")
        if check is None:
            raise LightAdaptError("export(max_loss=…) needs labelled records to measure the loss on: check=…")
    runner.require_labels()
    if runner.adaptation.head.prototypes is not None and format.with_head and not format.as_computed:
        raise LightAdaptError(
            f"export({format.called!r}): the rows of this head are prototypes (recipe='few-shot'), which no class of "
            "transformers reads so. Export to 'onnx', or train with fit(…, recipe='standard')."
        )
    format.check(runner)
    format.require_packages()
    if format.with_head:
        other = (
            ", or export to 'sentence-transformers', which leaves the head out" if runner.family == "encoder" else ""
        )
        check_learned(runner, f"export({format.called!r})", "in the export", other)
    target = _target(path)
    base = runner.adaptation.design.blueprint.source.name
    with as_artifact_error(target, base), fresh_folder(target, EXPORT_NAME) as folder, as_no_room(folder):
        prover = Prover(runner, check, columns)
        notes = [with_folder(note, target) for note in format.write(runner, folder)]
        found = format.prove(runner, folder, prover)
        _check(format, runner, prover, found, max_loss)
        exported = Exported(
            path=target,
            format=format.name,
            settings=_chosen(format),
            size=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
            records=len(prover.examples),
            difference=found.difference,
            equal=found.equal,
            before=prover.scores if found.after else {},
            after=found.after,
            notes=tuple(notes),
        )
        _write_manifest(folder, exported, runner, format.facts(runner))
        put_in_place(target, folder, EXPORT_NAME)
    return exported


def _chosen(format: Format) -> dict[str, Any]:
    """The settings that are not at their default."""
    defaults = {each.name: each.default for each in fields(format)}
    return {name: value for name, value in format.settings().items() if value != defaults[name]}


def _target(path: str | Path) -> Path:
    """The folder to write to; what is a saved adaptation stays.

    Raises:
        ArtifactError: the name is none, or an adaptation is there.
    """
    target = folder_named(path, "my-export")
    if (target / MANIFEST_NAME).is_file():
        raise ArtifactError(f"{target} is a saved adaptation, which an export does not replace. Choose another folder.")
    return target


def _check(format: Format, runner: Runner, prover: Prover, found: Found, max_loss: float | None) -> None:
    """Raise for an export that does not say what the adaptation says; warn when the answers changed.

    Raises:
        LightAdaptError: a difference that rounding does not explain, or more loss than allowed.
    """
    tolerance = format.tolerance(runner)
    if tolerance is not None and found.difference is not None:
        allowed = tolerance * max(1.0, found.scale)
        if not found.difference <= allowed:
            raise LightAdaptError(
                f"export({format.called!r}): what was written gives outputs that differ by {found.difference:.2g}, "
                f"more than rounding explains ({allowed:.1g}). Nothing is kept. Ship the artifact instead, and report "
                f"this with the model {runner.adaptation.design.blueprint.source.name}."
            )
    task, lost, measured = runner.task, 0.0, ""
    if task.headline in found.after:
        before, after = prover.scores[task.headline], found.after[task.headline]
        lost = before - after if task.greater_is_better else after - before
        measured = f" {task.headline} {before:.4f} became {after:.4f}."
    elif max_loss is not None:
        raise LightAdaptError(f"export({format.called!r}) gives no answers to score. Leave max_loss out.")
    if max_loss is not None and not lost <= max_loss:
        raise LightAdaptError(
            f"export({format.called!r}) loses {lost:.4f} of {task.headline}, more than max_loss={max_loss:g}.{measured}"
            " Nothing is kept. Leave quantize out, or allow more."
        )
    if lost > NOTICED or (found.equal is not None and found.equal < 1):
        share = "" if found.equal is None else f" {1 - found.equal:.2%} of the answers changed."
        warn(f"What was exported as {format.name!r} does not say quite the same.{share}{measured}")


def _write_manifest(folder: Path, exported: Exported, runner: Runner, facts: Mapping[str, Any]) -> None:
    """Write lightadapt_export.json: what was found, what it was made of, and the files that are of the export."""
    source = runner.adaptation.design.blueprint.source
    files: Sequence[str] = sorted([*os.listdir(folder), EXPORT_NAME])
    content = {
        **exported.as_json(),
        "base": {"id": source.id, "revision": source.revision},
        "task": runner.task.name,
        "method": runner.adaptation.design.method.as_json(),
        "versions": {name: version_of(name) for name in ("lightadapt", "torch", "transformers", "peft")},
        **facts,
        "files": files,
        **({"digests": digests_of(folder, EXPORT_NAME)} if "runtime" in facts else {}),  # load_onnx compares them
    }
    (folder / EXPORT_NAME).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
