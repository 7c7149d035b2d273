"""A text in another language."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from lightadapt.errors import LightAdaptError
from lightadapt.tasks.generation import Generation
from lightadapt.tasks.task import ModelView


@dataclass(frozen=True)
class Translation(Generation):
    """`source` + `target`: a text and its translation, or several.

    Multilingual models need their languages, by the codes of their tokenizer.

    >>> Translation(source_language="en_XX", target_language="de_DE").headline
    'bleu'
    """

    name: ClassVar[str] = "translation"
    fields: ClassVar[tuple[str, ...]] = ("source", "target")
    answers: ClassVar[tuple[str, ...]] = ("target",)
    headline: ClassVar[str] = "bleu"
    greater_is_better: ClassVar[bool] = True
    pipeline: ClassVar[str] = "translation"
    source: ClassVar[str] = "source"
    target: ClassVar[str] = "target"
    scores: ClassVar[tuple[str, ...]] = ("bleu", "chrf", "loss", "perplexity")
    separator: ClassVar[str] = "\n"

    source_language: str | None = field(default=None, kw_only=True)
    """Code of the language of the source, such as `en_XX` (mBART), `eng_Latn` (NLLB) or `en` (M2M100)."""
    target_language: str | None = field(default=None, kw_only=True)
    """Code of the language of the target."""

    def set_languages(self, view: ModelView) -> dict[str, int]:
        tokenizer: Any = view.tokenizer
        if self.source_language is None and self.target_language is None:
            return {}
        if not hasattr(tokenizer, "src_lang"):
            raise LightAdaptError(
                f"{type(tokenizer).__name__} knows no languages. Leave source_language and target_language out; a task "
                "for it can be said in words: Translation(instruction='translate English to German: ')."
            )
        try:
            tokenizer.src_lang = self.source_language or tokenizer.src_lang
            tokenizer.tgt_lang = self.target_language or tokenizer.tgt_lang
            ids = tokenizer(text_target="a")["input_ids"]
        except (KeyError, ValueError) as error:
            raise LightAdaptError(
                f"{type(tokenizer).__name__} does not know the language {error}. Give codes of its own, such as "
                f"{', '.join(list(tokenizer.all_special_tokens)[-3:])}."
            ) from error
        known = set(tokenizer.all_special_ids)
        codes = [number for number in ids if number in known and number != tokenizer.eos_token_id]
        if not codes:
            return {}
        # The language stands before the target (mBART-50, NLLB, M2M100), or behind it and starts the decoder (mBART).
        return {"forced_bos_token_id" if ids[0] == codes[0] else "decoder_start_token_id": codes[0]}
