"""In which script texts are written, and their words where no spaces are between them."""

from __future__ import annotations

from collections.abc import Iterable
from unicodedata import category

import regex

WORD = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*|[\p{L}\p{M}\p{N}]+")
"""A word: a letter of a script without spaces, or letters and digits of any other."""
HAN = regex.compile(r"\p{Han}")
SPACELESS = regex.compile(r"[\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")


class Words:
    """The words of a text in any script, as rouge-score asks a tokenizer for them."""

    def tokenize(self, text: str) -> list[str]:
        """The words in lower case.

        >>> Words().tokenize("Год 2024, 我的包裹")
        ['год', '2024', '我', '的', '包', '裹']
        """
        words: list[str] = WORD.findall(text.lower())
        return words


def is_mostly_ascii(texts: Iterable[str]) -> bool:
    """Whether most letters are those from a to z, or there are none."""
    inside = outside = 0
    for text in texts:
        for letter in text:
            if letter.isascii():
                inside += letter.isalpha()
            elif category(letter).startswith(("L", "M")):
                outside += 1
    return inside >= outside


def bleu_tokenizer(texts: Iterable[str]) -> str:
    """What sacrebleu calls the way to split such texts: by spaces and punctuation, as Chinese, or by characters.

    >>> bleu_tokenizer(["my parcel"]), bleu_tokenizer(["我的包裹"]), bleu_tokenizer(["พัสดุของฉัน"])
    ('13a', 'zh', 'char')
    """
    joined = "".join(texts)
    han, spaceless = len(HAN.findall(joined)), len(SPACELESS.findall(joined))
    if 2 * (han + spaceless) <= sum(map(str.isalpha, joined)):
        return "13a"
    return "zh" if han > spaceless else "char"
