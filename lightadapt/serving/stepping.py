"""A decoder run step by step: on prompts, on the next tokens of many rows, and whether it gives the same as whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from lightadapt import peft_bridge
from lightadapt.adaptation.runner import Runner
from lightadapt.errors import LightAdaptError
from lightadapt.serving.rows import Part, Rows, mask_of, plain_layers
from lightadapt.tasks.encoding.features import filler
from lightadapt.tasks.generation import Generation

OF_ALL_ROWS = frozenset({"dynamic", "longrope"})
"""Rotary positions whose angles depend on the longest row of a batch, so that a row would depend on the others."""
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
"""The largest difference of logits that is rounding, as a share of the largest logit; of shorter formats 5 %."""


class Stepper:
    """Runs the decoder of an adaptation, which has to be the one that computes.

    Attributes:
        runner: the adaptation's.
        options: those of generation that come with the model.
        mixes: whether the rows of other adapters can be computed in the same pass.
        gone: whether its adapter is about to be removed, or was.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.mixes = self.gone = False
        config = runner.model.generation_config
        self.options: dict[str, Any] = {} if config is None else dict(config.to_diff_dict())
        self._padding = filler("input_ids", runner.tokenizer)
        self._last = {"logits_to_keep": 1} if "logits_to_keep" in runner.accepted else {}

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.runner.model.device  # type: ignore[no-any-return]

    @torch.no_grad()
    def read(self, model: PreTrainedModel, prompts: Sequence[list[int]]) -> tuple[torch.Tensor, Part]:
        """What may follow each prompt, (prompts, vocabulary), and their keys and values.

        Raises:
            LightAdaptError: the model keeps something else.
        """
        lengths = [len(prompt) for prompt in prompts]
        columns = max(lengths)
        ids = [[self._padding] * (columns - len(prompt)) + prompt for prompt in prompts]
        mask = mask_of(lengths, columns, self.device)
        cache = DynamicCache(config=model.config)
        logits = self._logits(model, ids, mask, (mask.cumsum(-1) - 1).clamp(min=0), cache)
        layers = plain_layers(cache, columns)
        if layers is None:
            raise LightAdaptError(f"{type(model).__name__} keeps more than keys and values of its tokens.")
        return logits, Part(layers, range(len(prompts)), lengths)

    @torch.no_grad()
    def go_on(self, model: PreTrainedModel, rows: Rows, which: slice, tokens: Sequence[int]) -> torch.Tensor:
        """What may follow the last token of each of these rows, (rows, vocabulary), which is written into them."""
        places = torch.tensor(rows.lengths[which], device=self.device)[:, None]
        ids = [[token] for token in tokens]
        return self._logits(model, ids, rows.mask(which, self.device), places, rows.cache(which))

    def _logits(
        self, model: PreTrainedModel, ids: list[list[int]], mask: torch.Tensor, places: torch.Tensor, cache: Any
    ) -> torch.Tensor:
        given = {"position_ids": places} if "position_ids" in self.runner.accepted else {}
        tokens = torch.tensor(ids, device=self.device)
        found = model(
            input_ids=tokens, attention_mask=mask, past_key_values=cache, use_cache=True, **given, **self._last
        )
        return found.logits[:, -1]  # type: ignore[no-any-return]


def stepper_of(runner: Runner, host: PreTrainedModel | None = None) -> Stepper | None:
    """What runs an adaptation's decoder step by step; None where that would not give what the model gives.

    It is asked by a trial and not by its name: prompts of unlike lengths are read together, one leaves, one joins, and
    the rows go on. Their logits have to be those of the same tokens read one row at a time and whole. The adaptation
    has to be the one that computes.

    Args:
        host: the model of another adaptation of the base, which is to compute the rows of this one beside its own.
    """
    if not isinstance(runner.task, Generation) or runner.family != "decoder":
        return None
    takes_cache = all(name in runner.accepted for name in ("past_key_values", "attention_mask", "use_cache"))
    if not takes_cache or _angles_of_all_rows(runner):
        return None
    stepper = Stepper(runner)
    try:
        if not _agrees(stepper, runner.model, lambda rows, tokens: nullcontext()):
            return None
    except Exception:  # a model that cannot be run so says it in its own way, and is then run by `generate`
        return None
    stepper.mixes = _mixes(stepper, host or runner.model)
    return stepper


def _mixes(stepper: Stepper, host: PreTrainedModel) -> bool:
    """Whether another model of the base gives the same for rows that have this adapter."""
    name = stepper.runner.adaptation.adapter.name
    if not peft_bridge.can_mix(host, name):
        return False
    try:
        return _agrees(stepper, host, lambda rows, tokens: mixed(stepper.runner, host, [(name, rows)], tokens))
    except Exception:  # it is then computed in a pass of its own
        return False


@contextmanager
def mixed(
    runner: Runner,
    model: PreTrainedModel,
    groups: Sequence[tuple[str, int]],
    tokens: int,
    stacks: peft_bridge.Stacks | None = None,
) -> Iterator[None]:
    """Each adapter computes its own rows inside a `with` block; behind it the one of the runner computes again.

    Args:
        stacks: what the layers hold for these adapters, where that is known.
    """
    try:
        with peft_bridge.mixing(model, groups, tokens, stacks):
            yield
    finally:
        runner.adaptation.activate()


def _angles_of_all_rows(runner: Runner) -> bool:
    """Whether the positions of a row depend on the rows beside it, which short prompts would not show."""
    settings = getattr(runner.model.config.get_text_config(), "rope_parameters", None) or {}
    kinds = [settings, *(each for each in settings.values() if isinstance(each, dict))]
    return any(each.get("rope_type") in OF_ALL_ROWS for each in kinds)


@torch.no_grad()
def _agrees(
    stepper: Stepper, model: PreTrainedModel, passing: Callable[[int, int], AbstractContextManager[None]]
) -> bool:
    """Whether a model gives for rows that come and go what the adaptation's own gives for each alone.

    Args:
        passing: what a pass of so many rows and tokens each is made in.
    """
    own, size = stepper.runner.model, stepper.runner.model.get_input_embeddings().num_embeddings
    own.eval()
    texts = [[(place * 7 + length) % min(size, 1_000) for place in range(length)] for length in (4, 9, 12)]
    rows = Rows()
    with passing(2, len(texts[1])):
        _, both = stepper.read(model, texts[:2])
    rows.lay_out([both], [0, 1])
    with passing(2, 1):
        stepper.go_on(model, rows, slice(0, 2), [3, 3])
    rows.advance()
    with passing(1, len(texts[2])):
        _, third = stepper.read(model, texts[2:])
    rows.lay_out([rows.part([1]), third], [1, 0])
    followed = [[*texts[2], 4], [*texts[1], 3, 5]]
    with passing(2, 1):
        found = stepper.go_on(model, rows, slice(0, 2), [4, 5])
    for row, text in zip(found, followed, strict=True):
        whole = own(input_ids=torch.tensor([text], device=stepper.device)).logits[0, -1]
        allowed = TOLERANCE.get(whole.dtype, 0.05) * float(whole.abs().max())
        if not float((row - whole).abs().max()) <= allowed:
            return False
    return True
