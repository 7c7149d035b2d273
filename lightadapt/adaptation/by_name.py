"""Answers of several adaptations of one base: each input names who answers it, or all answer all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from lightadapt.adaptation.mixed import Part
from lightadapt.adaptation.requests import Asked, Request, read_asked
from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.several import Several
from lightadapt.data import is_collection
from lightadapt.data.skipping import BadRecords
from lightadapt.errors import LightAdaptError
from lightadapt.peft_bridge.folding import FOLD_FROM


def answer_by_name(several: Several, inputs: Any, names: Sequence[str], request: Request, bad: BadRecords) -> list[Any]:
    """The predictions where each input names the adaptation that answers.

    Adaptations with few inputs are computed together in one pass; one with many computes alone, which is as fast.

    Raises:
        DataError: an input cannot be used; raised before anything is inferred.
        LightAdaptError: there are not as many names as inputs, there is no such name, or its labels are not known yet.
    """
    if not is_collection(inputs):
        raise LightAdaptError("predict(…, adapter=[…]) takes a list of inputs, with a name for each.")
    items = list(inputs)
    if len(names) != len(items):
        raise LightAdaptError(f"predict: adapter has {len(names)} names for {len(items)} inputs. Give one for each.")
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        several.named(name)
        places.setdefault(name, []).append(place)
    with several.backbone.lock:
        asked = {
            name: read_asked(several.named(name), [items[place] for place in mine], request, bad, numbers=mine)
            for name, mine in places.items()
        }
        answers = _answers(several, asked, request)
    found = {place: each for name, mine in places.items() for place, each in zip(mine, answers[name], strict=True)}
    return [found[place] for place in range(len(items))]


def answer_all(
    several: Several, inputs: Any, names: Sequence[str], request: Request, on_error: str
) -> dict[str, list[Any]]:
    """The predictions of several adaptations for the same inputs, by their names; see `Adapted.predict_all`.

    Raises:
        DataError: an input cannot be used; raised before anything is inferred.
        LightAdaptError: there is no such name, or its labels are not known yet.
    """
    runners = {name: several.named(name) for name in names}
    bad = {name: BadRecords(on_error) for name in runners}
    items = list(inputs) if is_collection(inputs) else inputs
    with several.backbone.lock:
        asked = {
            name: read_asked(runner, items, request, bad[name], "predict_all({})") for name, runner in runners.items()
        }
        found = _answers(several, asked, request)
    for name, each in bad.items():
        each.tell(len(found[name]) - each.count)
    return found


def _answers(several: Several, asked: Mapping[str, Asked], request: Request) -> dict[str, list[Any]]:
    """The answers by name: of those that mix in one pass, of the others one after the other."""
    parts = {name: _encoded(several.named(name), each) for name, each in asked.items() if len(each.examples)}
    for together in _mixtures(several, list(parts.values())):
        with several.mixing():
            stacks = several.stacks([part.runner.adaptation.adapter.name for part in together])
            several.mixer.infer(together, request.batch_tokens, stacks)
    found = {}
    for name, each in asked.items():
        predictions = _predictions(several, each, parts[name], request) if name in parts else ()
        found[name] = each.answers(predictions, scores=request.scores)
    return found


def _encoded(runner: Runner, asked: Asked) -> Part:
    features, sizes = runner.encode_checked(asked.examples, asked.records, task=asked.task)
    return Part(runner, asked.task, features, sizes)


def _mixtures(several: Several, parts: Sequence[Part]) -> list[list[Part]]:
    """What can be computed together: parts with few tokens and the same kinds of input, at least two of them."""
    found: dict[frozenset[str], list[Part]] = {}
    if several.is_disabled or len(parts) < 2:
        return []
    for part in parts:
        if sum(part.sizes.costs) >= FOLD_FROM or part.runner.zero_shot is not None:
            continue
        with several.computing(part.runner) if not several.mixer.knows(part) else nullcontext():
            if several.mixer.mixes(part):
                found.setdefault(frozenset(part.features[0].inputs), []).append(part)
    return [each for each in found.values() if len(each) > 1]


def _predictions(several: Several, asked: Asked, part: Part, request: Request) -> Iterable[Any]:
    """The predictions for the examples of a part, which has computed with others, or computes now."""
    runner, tokens = part.runner, request.batch_tokens
    if part.inferred:
        return asked.task.decode(asked.examples, part.features, part.inferred, runner.view_of(asked.task))
    with several.computing(runner):
        return list(runner.predict_encoded(asked.examples, part.features, part.sizes, asked.task, batch_tokens=tokens))
