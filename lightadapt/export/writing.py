"""Text that is written from a graph: what of `generate` a greedy runtime honours, and whether it writes the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from lightadapt.adaptation.runner import Runner
from lightadapt.anatomy import positions_of
from lightadapt.errors import LightAdaptError
from lightadapt.export.proof import COMPARED, Found, Prover, outputs_of
from lightadapt.export.writing_graphs import cache_of, has_keys
from lightadapt.runtime.tokenizer import WRITING_FACTS
from lightadapt.runtime.writer import DECODER, ENCODER, MODEL
from lightadapt.tasks.decoding.writing import generation_options
from lightadapt.tasks.generation import Generation
from lightadapt.tuners.prefix import PrefixLayer
from lightadapt.tuners.prompt import PromptLayer

WRITING_SCHEMA = 2
"""Version of the runtime's facts since which it writes texts."""
GREEDY = {
    "num_beams": (1,),
    "do_sample": (False, None),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "decoder_start_token_id": (),
    "stop_strings": (),
    "use_cache": (),
}
"""Options of generation that a runtime which writes greedily honours, with the only values where not all are."""


def check_writing(runner: Runner, format: str, *, greedy: bool) -> None:
    """Raise for an adaptation whose writing no graph holds.

    Args:
        format: its name, for errors.
        greedy: whether options of generation that are not honoured may be dropped.

    Raises:
        LightAdaptError: with the reason, and another way.
    """
    design, method = runner.adaptation.design, runner.adaptation.design.method
    if any(isinstance(layer, (PrefixLayer, PromptLayer)) for layer in runner.adaptation.adapter.layers):
        raise LightAdaptError(
            f"export({format!r}): method {method.name!r} gives the model positions that no token has, which a graph "
            "with a cache would count in every step. Train another method, such as 'lora', or ship the artifact."
        )
    options = {} if greedy else dict(runner.task.settings().get("options") or {})
    for name, value in options.items():
        if name not in GREEDY or (GREEDY[name] and value not in GREEDY[name]):
            raise LightAdaptError(
                f"export({format!r}): the task is set to {name}={value!r}, and load_onnx writes greedily: the "
                f"likeliest token each time. Export with lightadapt.export.{format.capitalize()}(greedy=True) to have "
                "it so, or to 'merged'."
            )
    found = cache_of(runner.model)
    if not has_keys(found):
        raise LightAdaptError(
            f"export({format!r}): {type(runner.model).__name__} of {design.blueprint.source.name} keeps "
            f"{_kind_of(found)} of what it has read, and not the keys and values of attention, which the graph would "
            "take and give. Export to 'merged', or ship the artifact."
        )


def _kind_of(cache: Any) -> str:
    kinds = {type(layer).__name__ for layer in getattr(cache, "layers", ())} or {type(cache).__name__}
    return "nothing" if cache is None else "a " + " and a ".join(sorted(kinds))


def add_writing_facts(facts: dict[str, Any], runner: Runner) -> dict[str, Any]:
    """What the runtime is told of a task, with what it has to know beside to write."""
    tokenizer, task = runner.tokenizer, facts["task"]
    template = tokenizer.chat_template
    told = {name: getattr(tokenizer, name) for name in WRITING_FACTS}
    told |= {
        "chat_template": template.get("default") if isinstance(template, dict) else template,
        "around_targets": _around_targets(tokenizer) if runner.family == "encoder-decoder" else None,
    }
    if "options" in task["settings"]:  # the others that count are among the facts
        stops = (task["settings"]["options"] or {}).get("stop_strings")
        task = {**task, "settings": {**task["settings"], "options": {"stop_strings": stops} if stops else None}}
    return {
        **facts,
        "schema": WRITING_SCHEMA,
        "task": task,
        "tokenizer": {**facts["tokenizer"], **told},
        "graphs": [f"{name}.onnx" for name in ([MODEL] if runner.family == "decoder" else [ENCODER, DECODER])],
        "writing": _writing_facts(runner),
    }


def _around_targets(tokenizer: Any) -> list[list[int]] | None:
    """The special tokens before and behind a target, where they are others than those of a source."""
    bare, target = tokenizer("a", add_special_tokens=False)["input_ids"], tokenizer(text_target="a")["input_ids"]
    places = [place for place in range(len(target)) if target[place : place + len(bare)] == bare]
    if target == tokenizer("a")["input_ids"] or not places:
        return None
    return [target[: places[0]], target[places[0] + len(bare) :]]


def _writing_facts(runner: Runner) -> dict[str, Any]:
    """What the runtime has to know to write as `generate` does, greedily."""
    task, view, model = runner.task, runner.view, runner.model
    if not isinstance(task, Generation):  # nothing is written, only weighed
        return {"start": _learned_start(model)} if view.family == "encoder-decoder" else {}
    honoured = {name: value for name, value in (task.options or {}).items() if name in GREEDY}
    chosen = {**task.language_options(view), **honoured}
    options = generation_options(model, view, chosen, task.max_new_tokens, task.end_tokens(view))
    own = model.generation_config

    def told(name: str) -> Any:
        return options.get(name, getattr(own, name, None) if own is not None else None)

    facts: dict[str, Any] = {"ends": options["eos_token_id"] or [], "never": _never(own)}
    if view.family == "encoder-decoder":
        first = told("decoder_start_token_id")
        positions = positions_of(model)
        facts |= {
            "most": None if positions is None else positions - 1,
            "start": _learned_start(model),
            "starts": first if first is not None else told("bos_token_id"),
            "first": told("forced_bos_token_id"),
            "last": told("forced_eos_token_id"),
        }
    return facts


def _never(own: Any) -> list[int]:
    """The tokens that a checkpoint says are never written."""
    words = getattr(own, "bad_words_ids", None) or []
    return sorted({*(getattr(own, "suppress_tokens", None) or []), *(word[0] for word in words if len(word) == 1)})


def _learned_start(model: PreTrainedModel) -> int | None:
    """The token that starts the decoder where targets are learned; None where it is the last of them, as for mBART.

    Models shift their labels by themselves, each as it likes, so that both ways are tried.
    """
    own = model.generation_config
    start = getattr(model.config, "decoder_start_token_id", getattr(own, "decoder_start_token_id", None))
    ids = torch.tensor([[5, 6, 7]], device=model.device)
    if start is None:
        return None
    with torch.no_grad():
        learned = model(input_ids=ids, labels=ids).logits
        fixed = model(input_ids=ids, decoder_input_ids=ids.roll(1, 1).index_fill(1, ids.new_zeros(1), start)).logits
    return int(start) if torch.allclose(learned, fixed, atol=1e-4) else None


def compare_writing(prover: Prover, other: Any, inferred: Any) -> Found:
    """How far the runtime gives the same logits for what is to be learned, and the same texts."""
    runner = prover.runner
    features = prover.features[:COMPARED]
    ours = [row.numpy() for row in outputs_of(runner.model, runner.collate(features))]
    batch = runner.task.arrays(features, runner.view)
    logits = other.writer.logits(batch)
    real = batch["attention_mask"].astype(bool)
    theirs = [logits[real] if logits.shape[: real.ndim] == real.shape else logits]
    return prover.compare(inferred, [np.concatenate(ours)], theirs)
