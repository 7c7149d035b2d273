"""What a language model is asked about a text: a template, filled, with labelled examples before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightadapt.tasks import ModelView
from lightadapt.tasks.encoding.completions import join, prompt_tokens, target_tokens, tokenize_spans
from lightadapt.tasks.encoding.texts import TextExample

DEFAULT = "Text: {text}\nLabel:"
"""How it is asked where the task says nothing."""
BETWEEN = "\n\n"
"""What stands between two examples, and behind an instruction that is said once."""


def one_text(example: TextExample) -> str:
    """The text of an example; of a pair both, with a line break between them."""
    return example.text if example.text_pair is None else f"{example.text}\n{example.text_pair}"


@dataclass(frozen=True)
class Shot:
    """A labelled example: its text, and the text of its label."""

    text: str
    label: str


@dataclass(frozen=True)
class Prompt:
    r"""A template and what stands in it beside the text.

    What the template has before the paragraph with `{text}` is an instruction, which is said once.

    >>> asked = Prompt("One of {labels}.\n\n{text} =", ("refund", "delivery"), (Shot("It is late.", "delivery"),))
    >>> asked.about("Money back!")
    'One of refund, delivery.\n\nIt is late. = delivery\n\nMoney back! ='
    """

    template: str
    labels: tuple[str, ...]
    """One text for each label."""
    shots: tuple[Shot, ...] = ()

    def about(self, text: str) -> str:
        """The whole prompt, up to where the label is to follow."""
        start = self.template.rfind(BETWEEN, 0, self.template.index("{text}")) + len(BETWEEN)
        start = 0 if start < len(BETWEEN) else start
        once, each = self.template[:start], self.template[start:]
        shown = ["".join(join(self._filled(each, shot.text), shot.label)) for shot in self.shots]
        return self._filled(once, "") + BETWEEN.join([*shown, self._filled(each, text)])

    def without_shots(self) -> Prompt:
        """The same question, without examples."""
        return Prompt(self.template, self.labels)

    def _filled(self, part: str, text: str) -> str:
        return part.format(text=text, labels=", ".join(self.labels))


def tokens_of(prompt: str, view: ModelView) -> list[int]:
    """A prompt as a decoder goes on from it, or as an encoder-decoder reads it."""
    if view.family == "encoder-decoder":
        return list(view.tokenizer(prompt, verbose=False)["input_ids"])
    return prompt_tokens(prompt, view).ids


def answer_tokens(prompt: Prompt, answer: str, view: ModelView) -> list[int]:
    """The tokens of an answer behind a prompt; of an encoder-decoder the whole target, with its special tokens."""
    if view.family == "encoder-decoder":
        return target_tokens(answer, view)[0]
    stub, rest = join(prompt.without_shots().about("a"), answer)
    whole = stub + rest
    tokens = tokenize_spans(whole, [(len(stub), len(whole))], view.tokenizer)
    return [number for number, learned in zip(tokens.ids, tokens.learned, strict=True) if learned]


def pieces_of(text: str, size: int, view: ModelView, *, windows: bool) -> Sequence[str]:
    """The first `size` tokens of a text as text; with `windows` all of it, in pieces that overlap by a quarter."""
    ids = view.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    shared = size // 4
    starts = range(0, max(1, len(ids) - shared), size - shared) if windows else range(1)
    return [view.tokenizer.decode(ids[start : start + size], skip_special_tokens=True) for start in starts]
