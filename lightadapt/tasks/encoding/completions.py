"""Prompts and what follows them, as tokens: which are to be learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from lightadapt.tasks.encoding.features import IGNORED
from lightadapt.tasks.encoding.view import ModelView

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Spans = Sequence[tuple[int, int]]
"""Parts of a text that are to be learned, `[start, end)` in characters, in order."""


class Tokens(NamedTuple):
    """Token ids, and for each whether it is to be learned."""

    ids: list[int]
    learned: list[bool]

    @property
    def labels(self) -> list[int]:
        """The ids, those that are not to be learned replaced by the target that no loss counts."""
        return [number if learn else IGNORED for number, learn in zip(self.ids, self.learned, strict=True)]


def join(prompt: str, completion: str) -> tuple[str, str]:
    """Prompt and completion with white space between them, which goes to the completion.

    A prompt that ends in a space is cut differently from one that the text goes on behind, so that a model would see
    another prompt in training than when it is used.
    """
    bare = prompt.rstrip(" ")
    gap = prompt[len(bare) :]
    if not gap and not bare[-1:].isspace() and not completion[:1].isspace():
        gap = " "
    return bare, gap + completion


def tokenize_spans(text: str, spans: Spans, tokenizer: PreTrainedTokenizerBase) -> Tokens:
    """The tokens of a text without the specials that a tokenizer adds; those of the spans are to be learned.

    Where a token reaches over the start of a span, the parts are tokenized one by one, since the prompt must be the
    tokens that it is when nothing follows.
    """
    if tokenizer.is_fast:
        encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        offsets = encoding["offset_mapping"]
        if not any(left < start < right for left, right in offsets for start, _ in spans):
            # A byte-level tokenizer makes several tokens of one character; all of them have its place.
            learned = [any(start <= left < end for start, end in spans) for left, _ in offsets]
            return Tokens(list(encoding["input_ids"]), learned)
    ids: list[int] = []
    marks: list[bool] = []
    position = 0
    for start, end in [*spans, (len(text), len(text))]:
        for part, learn in ((text[position:start], False), (text[start:end], True)):
            piece = tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"] if part else []
            ids += piece
            marks += [learn] * len(piece)
        position = end
    return Tokens(ids, marks)


def encode_completion(prompt: str, completion: str, view: ModelView) -> Tokens:
    """The tokens of a prompt with its completion, of which the completion and the end token are to be learned."""
    prompt, completion = join(prompt, completion)
    text = prompt + completion
    tokens = tokenize_spans(text, [(len(prompt), len(text))], view.tokenizer)
    return append_eos(prepend_specials(tokens, view), view)


def prompt_tokens(prompt: str, view: ModelView) -> Tokens:
    """The tokens of a prompt, as `encode_completion` has them; one end token for a prompt of which nothing is left."""
    bare = join(prompt, "")[0]
    tokens = prepend_specials(tokenize_spans(bare, [], view.tokenizer), view)
    return tokens if tokens.ids else append_eos(tokens, view)


def prepend_specials(tokens: Tokens, view: ModelView) -> Tokens:
    """The tokens behind the special ones that the tokenizer begins a text with."""
    start = view.leading_specials
    return Tokens(start + tokens.ids, [False] * len(start) + tokens.learned)


def append_eos(tokens: Tokens, view: ModelView) -> Tokens:
    """The tokens and the end token, which is to be learned whatever its number is: else no text would ever end."""
    if view.tokenizer.eos_token_id is None:
        return tokens
    return Tokens([*tokens.ids, view.tokenizer.eos_token_id], [*tokens.learned, True])


def truncate_left(tokens: Tokens, length: int, view: ModelView) -> tuple[Tokens, bool]:
    """At most `length` of the tokens, those at the start left out behind the specials that begin a text."""
    excess = len(tokens.ids) - length
    if excess <= 0:
        return tokens, False
    ids, learned = tokens
    specials = view.leading_specials
    kept = len(specials) if ids[: len(specials)] == specials else 0  # a chat template may write none
    return Tokens(ids[:kept] + ids[kept + excess :], learned[:kept] + learned[kept + excess :]), True


def truncate_source(ids: list[int], view: ModelView) -> tuple[list[int], bool]:
    """As many tokens of a source as the model takes, those at its start left out; whether any had to be."""
    tokens, cut = truncate_left(Tokens(ids, [False] * len(ids)), view.max_length, view)
    return tokens.ids, cut


def target_tokens(text: str, view: ModelView) -> tuple[list[int], bool]:
    """The labels of an encoder-decoder, as its tokenizer writes targets, and whether they had to be cut.

    There is an end token at the end; of a text that is too long, it is kept.
    """
    tokenizer = view.tokenizer
    ids = list(tokenizer(text_target=text, verbose=False)["input_ids"])
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ids[-2:]:  # a language may stand behind it
        ids.append(tokenizer.eos_token_id)
    if len(ids) <= view.max_length:
        return ids, False
    return [*ids[: view.max_length - 1], ids[-1]], True
