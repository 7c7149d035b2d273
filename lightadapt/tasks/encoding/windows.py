"""Questions with parts of their contexts: which window of a long context holds an answer, and at which tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lightadapt.errors import RecordError
from lightadapt.tasks.encoding.answers import QuestionExample
from lightadapt.tasks.encoding.features import Feature
from lightadapt.tasks.encoding.texts import closing_token
from lightadapt.tasks.encoding.view import ModelView


@dataclass
class ContextWindow(Feature):
    """The question with a part of the context."""

    offsets: dict[int, tuple[int, int]] = field(default_factory=dict)
    """`[start, end)` in characters of the context, by the position of a token; white space around it left out."""
    nowhere: int = 0
    """The position that stands for no answer."""


def context_windows(
    examples: Sequence[QuestionExample], view: ModelView, length: int, overlap: int
) -> list[list[ContextWindow]]:
    """The windows of each example, without targets."""
    tokenizer = view.tokenizer
    first = view.family == "encoder" and bool(view.leading_specials)
    added = not first and not view.trailing_specials  # one end token, which stands for no answer behind each window
    separated = tokenizer.num_special_tokens_to_add(pair=True) > tokenizer.num_special_tokens_to_add()
    questions = [example.question if separated else f"{example.question}\n" for example in examples]
    length -= added
    taken = tokenizer.num_special_tokens_to_add(pair=True)
    rooms = [length - taken - len(ids) for ids in tokenizer(questions, add_special_tokens=False)["input_ids"]]
    for index, room in enumerate(rooms):
        if room < min(32, length // 2):
            raise RecordError(
                index,
                f"the question has {length - taken - room} tokens, which leaves {max(room, 0)} of {length} to the "
                f"context: {examples[index].question[:60]!r}… Shorten it, or give the task a larger window=.",
            )
    windows: list[list[ContextWindow]] = [[] for _ in examples]
    strides = [min(overlap, room // 2) for room in rooms]
    for stride in sorted(set(strides)):  # nearly always one
        chosen = [index for index, mine in enumerate(strides) if mine == stride]
        encoding = tokenizer(
            [questions[index] for index in chosen],
            [examples[index].context for index in chosen],
            truncation="only_second",
            max_length=length,
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        owners, all_offsets = encoding.pop("overflow_to_sample_mapping"), encoding.pop("offset_mapping")
        for row, (owner, offsets) in enumerate(zip(owners, all_offsets, strict=True)):
            index = chosen[owner]
            inputs = {name: column[row] for name, column in encoding.items()}
            parts = encoding.sequence_ids(row)
            places = _places(examples[index].context, offsets, parts)
            if added:
                end = {"input_ids": closing_token(tokenizer), "attention_mask": 1}
                inputs = {name: [*values, end.get(name, 0)] for name, values in inputs.items()}
            nowhere = 0 if first else len(inputs["input_ids"]) - 1
            windows[index].append(ContextWindow(inputs, index, offsets=places, nowhere=nowhere))
    return windows


def _places(
    context: str, offsets: Sequence[tuple[int, int]], parts: Sequence[int | None]
) -> dict[int, tuple[int, int]]:
    """`{position: (start, end)}` of the tokens of the context that hold more than white space."""
    places = {}
    for position, ((start, end), part) in enumerate(zip(offsets, parts, strict=True)):
        if part != 1 or start == end:
            continue
        if context[start].isspace() or context[end - 1].isspace():
            if not context[start:end].strip():
                continue
            start, end = _trim(context, start, end)
        places[position] = (start, end)
    return places


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends, which byte-level tokenizers count to a word."""
    while text[start].isspace():
        start += 1
    while text[end - 1].isspace():
        end -= 1
    return start, end


def set_answer(example: QuestionExample, windows: Sequence[ContextWindow]) -> bool:
    """Give each window the answer that lies in it, or "nowhere"; whether the tokens cannot mark it exactly.

    Of an answer longer than every window, the largest part that one of them holds is marked.
    """
    for window in windows:
        window.targets = {"start_positions": window.nowhere, "end_positions": window.nowhere}
    if not example.answers:
        return False
    start, end = _trim(example.context, *example.answers[0])
    inside = [[at for at, (left, right) in each.offsets.items() if left < end and right > start] for each in windows]
    whole = [number for number, tokens in enumerate(inside) if tokens and _holds(windows, number, tokens, start, end)]
    longest = max(range(len(windows)), key=lambda number: len(inside[number]))
    exact = False
    for number in whole or [longest] * bool(inside[longest]):
        offsets, tokens = windows[number].offsets, inside[number]
        windows[number].targets = {"start_positions": tokens[0], "end_positions": tokens[-1]}
        exact = exact or (offsets[tokens[0]][0], offsets[tokens[-1]][1]) == (start, end)
    return not exact


def _holds(windows: Sequence[ContextWindow], number: int, tokens: Sequence[int], start: int, end: int) -> bool:
    """Whether these tokens of a window are all of an answer, and not the rest of one that its edge cuts.

    Where something is missing away from the edges, the tokenizer has dropped it.
    """
    offsets = windows[number].offsets
    first, last = next(iter(offsets)), next(reversed(offsets))
    cut_left = number > 0 and tokens[0] == first and offsets[first][0] > start
    cut_right = number < len(windows) - 1 and tokens[-1] == last and offsets[last][1] < end
    return not cut_left and not cut_right
