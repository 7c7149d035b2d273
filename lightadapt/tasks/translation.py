"""A text in another language."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from lightadapt.errors import LightAdaptError
from lightadapt.tasks.encoding.view import ModelView
from lightadapt.tasks.generation import Generation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from lightadapt.anatomy import Family


@dataclass(frozen=True)
class Translation(Generation):
    """`source` + `target`: a text and its translation, or several.

    Multilingual models need their languages, by the codes of their tokenizer.

    >>> Translation(source_language="en_XX", target_language="de_DE").headline
    'bleu'
    """

    name: ClassVar[str] = "translation"
    fields: ClassVar[tuple[str, ...]] = ("source", "target")
    answer_fields: ClassVar[tuple[str, ...]] = ("target",)
    headline: ClassVar[str] = "bleu"
    greater_is_better: ClassVar[bool] = True
    pipeline: ClassVar[str] = "translation"
    source_field: ClassVar[str] = "source"
    target_field: ClassVar[str] = "target"
    metrics: ClassVar[tuple[str, ...]] = ("bleu", "chrf", "loss", "perplexity")
    separator: ClassVar[str] = "\n"

    source_language: str | None = field(default=None, kw_only=True)
    """Code of the language of the source, such as `en_XX` (mBART), `eng_Latn` (NLLB) or `en` (M2M100)."""
    target_language: str | None = field(default=None, kw_only=True)
    """Code of the language of the target."""

    def fit_tokenizer(self, tokenizer: PreTrainedTokenizerBase, family: Family) -> PreTrainedTokenizerBase:
        for language in (self.source_language, self.target_language):
            if language is not None and not isinstance(language, str):
                raise LightAdaptError(f"{language!r} is not a language code. Give a text such as 'de_DE'.")
        if self.source_language is None and self.target_language is None:
            return tokenizer
        if family == "decoder" or not hasattr(tokenizer, "src_lang"):
            raise LightAdaptError(
                f"{type(tokenizer).__name__} knows no languages. Leave source_language and target_language out; a "
                "model can be told in words: Translation(instruction='translate English to German: ')."
            )
        told: Any = copy.deepcopy(tokenizer)  # the caller's stays as it is
        for name, code in (("src_lang", self.source_language), ("tgt_lang", self.target_language)):
            try:
                setattr(told, name, code or getattr(told, name))
                known = bool(_language_codes(told, target=name == "tgt_lang"))
            except (KeyError, ValueError):
                known = False
            if code is not None and not known:
                codes = ", ".join(list(told.all_special_tokens)[-3:])
                raise LightAdaptError(
                    f"{type(tokenizer).__name__} does not know the language {code!r}. Give a code of its own, such as "
                    f"{codes}."
                )
        return told  # type: ignore[no-any-return]

    def language_options(self, view: ModelView) -> dict[str, int]:
        if self.target_language is None:
            return {}
        (code, *_), ids = _language_codes(view.tokenizer, target=True), view.tokenizer(text_target="a")["input_ids"]
        # The language stands before the target (mBART-50, NLLB, M2M100), or behind it and starts the decoder (mBART).
        return {"forced_bos_token_id" if ids[0] == code else "decoder_start_token_id": code}


def _language_codes(tokenizer: Any, *, target: bool) -> list[int]:
    """The special tokens around a text that are not the end token; none for a language that is not known."""
    ids = tokenizer(text_target="a")["input_ids"] if target else tokenizer("a")["input_ids"]
    others = {tokenizer.eos_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id}
    return [number for number in ids if number in set(tokenizer.all_special_ids) - others]
