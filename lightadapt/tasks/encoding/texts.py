"""Texts and pairs of texts as the model reads them; what is too long is refused, cut, or read in windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from lightadapt.data import Records
from lightadapt.errors import LightAdaptError, RecordError, nearest
from lightadapt.tasks.encoding.features import Count, Encoded, Feature
from lightadapt.tasks.encoding.fields import optional_text, text_field
from lightadapt.tasks.encoding.view import ModelView

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Overflow: TypeAlias = Literal["truncate", "windows", "error"]
Cut: TypeAlias = Literal["truncate", "error"]
OVERFLOWS = ("truncate", "windows", "error")
CUTS = ("truncate", "error")


class TextExample(NamedTuple):
    """A text, the other text of a pair, and the answer to both."""

    text: str
    text_pair: str | None
    label: Any


def read_texts(records: Records, index: int) -> tuple[str, str | None]:
    """The text of a record, and the other one of a pair."""
    return text_field(records, index, "text"), optional_text(records, index, "text_pair")


def as_pair(item: Any) -> Any:
    """A pair of texts stands for `{"text": …, "text_pair": …}`; anything else is left as it is."""
    if isinstance(item, (tuple, list)) and len(item) == 2:
        return {"text": item[0], "text_pair": item[1]}
    return item


def check_overflow(overflow: str, allowed: Sequence[str] = OVERFLOWS) -> None:
    """Raise for a way to treat long texts that there is not."""
    if overflow not in allowed:
        hint = nearest(str(overflow), allowed)
        raise LightAdaptError(f"overflow={overflow!r}. {hint}Give one of: {', '.join(map(repr, allowed))}.")


def encode_texts(examples: Sequence[TextExample], view: ModelView, overflow: str) -> Encoded:
    """The features of texts and pairs, without targets; a text longer than the model takes goes by `overflow`.

    `"truncate"` keeps the start, of a pair the longer text loses first. `"windows"` reads all of the text in windows
    that overlap by a quarter; of a pair the longer text is cut, and the other stands in every window.

    Raises:
        RecordError: a text is too long and `overflow` is `"error"`, or a model that reads off its end token gets rows
            with different numbers of them.
    """
    tokenizer, joined = view.tokenizer, _joined(examples, view.tokenizer)
    whole = _tokenize_whole(joined, tokenizer)
    long = [index for index, inputs in enumerate(whole) if len(inputs["input_ids"]) > view.max_length]
    if long and overflow == "error":
        raise RecordError(
            long[0],
            f"the text has {len(whole[long[0]]['input_ids'])} tokens, but the model takes {view.max_length}. "
            "Shorten it, or choose overflow='truncate' or overflow='windows'.",
        )
    rows: list[list[dict[str, Any]]] = [[inputs] for inputs in whole]
    for index in long:
        rows[index] = _cut(joined[index], index, tokenizer, view.max_length, windows=overflow == "windows")
    features = [Feature(inputs, index) for index, mine in enumerate(rows) for inputs in mine]
    if view.family == "encoder-decoder":
        _check_ends(features, tokenizer)
    how = "is read in windows" if overflow == "windows" else "the model sees its start"
    text = f"{{count}} of {{total}} texts are longer than {view.max_length} tokens; of each {how}."
    return Encoded(features, [Count(text, len(long))])


def count_cut(cut: Mapping[int, str], view: ModelView, overflow: str) -> list[Count]:
    """How many records were cut; `cut` says what was left out of each, by its index.

    Raises:
        RecordError: `overflow` is `"error"`.
    """
    if not cut:
        return []
    parts = " or ".join(dict.fromkeys(cut.values()))
    if overflow == "error":
        raise RecordError(
            next(iter(cut)),
            f"it is longer than the {view.max_length} tokens that the model takes. Shorten it, or choose "
            f"overflow='truncate', which leaves out {parts}.",
        )
    text = f"{{count}} of {{total}} records are longer than {view.max_length} tokens; {parts} is left out."
    return [Count(text, len(cut))]


def _joined(examples: Sequence[TextExample], tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, str | None]]:
    """The texts and pairs; a pair becomes one text with a line break where the tokenizer would set nothing between."""
    if tokenizer.num_special_tokens_to_add(pair=True) > tokenizer.num_special_tokens_to_add():
        return [(example.text, example.text_pair) for example in examples]
    return [
        (example.text if example.text_pair is None else f"{example.text}\n{example.text_pair}", None)
        for example in examples
    ]


def _tokenize_whole(
    texts: Sequence[tuple[str, str | None]], tokenizer: PreTrainedTokenizerBase
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{}] * len(texts)
    for paired in (False, True):  # a tokenizer takes texts or pairs, not both at once
        chosen = [index for index, (_, pair) in enumerate(texts) if (pair is not None) == paired]
        if not chosen:
            continue
        pairs = [texts[index][1] for index in chosen] if paired else None
        encoding = tokenizer([texts[index][0] for index in chosen], pairs, verbose=False)
        for row, index in enumerate(chosen):
            rows[index] = eos_if_empty({name: column[row] for name, column in encoding.items()}, tokenizer)
    return rows


def eos_if_empty(inputs: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The inputs; one end token stands for a text of which a tokenizer without specials leaves nothing."""
    if inputs["input_ids"]:
        return dict(inputs)
    token = closing_token(tokenizer)
    return {name: [token if name == "input_ids" else 1 if name == "attention_mask" else 0] for name in inputs}


def closing_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The end token, or what comes nearest to one."""
    ids = (tokenizer.eos_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id)
    return next((number for number in ids if number is not None), 0)


def _cut(
    texts: tuple[str, str | None], index: int, tokenizer: PreTrainedTokenizerBase, max_length: int, *, windows: bool
) -> list[dict[str, Any]]:
    text, pair = texts
    if not windows:
        encoding = tokenizer(text, pair, truncation="longest_first" if pair else True, max_length=max_length)
        return [dict(encoding)]
    if not tokenizer.is_fast:
        raise RecordError(
            index,
            f"it has more than {max_length} tokens, and {type(tokenizer).__name__}, which is not a fast tokenizer, "
            "cannot read it in windows. Choose overflow='truncate', or pass tokenizer= with a fast one.",
        )
    strategy, room = "longest_first", max_length - tokenizer.num_special_tokens_to_add(pair=pair is not None)
    if pair is not None:
        first, second = (len(tokenizer(part, add_special_tokens=False)["input_ids"]) for part in (text, pair))
        strategy = "only_first" if first > second else "only_second"
        room -= min(first, second)
        if room < max_length // 4:
            raise RecordError(
                index,
                f"both texts are too long to read one of them in windows: they have {first} and {second} tokens, and "
                f"the model takes {max_length}. Choose overflow='truncate'.",
            )
    encoding = tokenizer(
        text,
        pair,
        truncation=strategy,
        max_length=max_length,
        stride=room // 4,
        return_overflowing_tokens=True,
    )
    names = [name for name in encoding if name != "overflow_to_sample_mapping"]
    return [{name: encoding[name][row] for name in names} for row in range(len(encoding["input_ids"]))]


def _check_ends(features: Sequence[Feature], tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise when the rows hold different numbers of end tokens, of which encoder-decoders pool the last.

    transformers' heads take them as a matrix, so a batch with different numbers cannot be read at all.
    """
    counts = [feature.inputs["input_ids"].count(tokenizer.eos_token_id) for feature in features]
    for feature, count in zip(features, counts, strict=True):
        if count != counts[0] or not count:
            raise RecordError(
                feature.example,
                f"it holds {count} end tokens ({tokenizer.eos_token}), record {features[0].example} {counts[0]}. An "
                "encoder-decoder classifies by them, so each record must hold as many: give all records a text_pair or "
                "none, and take the token out of the texts.",
            )
