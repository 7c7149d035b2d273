"""A tokenizer that cannot read the texts is noticed, whatever its kind; one that can is left alone."""

from __future__ import annotations

import unicodedata
import warnings

import pytest
from tiny_models import build_tokenizer, character_tokenizer, save_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

import lightadapt as la
from lightadapt import sample
from lightadapt.data.stored import Stored
from lightadapt.tasks.encoding.legibility import check_legible, legibility, sample_texts

ENGLISH = [record["text"] for record in sample.records("test")[:60]]
CHINESE = ["快递太慢了，等了一个星期才到", "质量很好，下次还会再买", "客服一直不回复，我要退款"]
RUSSIAN = ["Заказ пришёл вовремя, спасибо", "Качество плохое, верните мне деньги"]
VIETNAMESE = ["Tôi muốn trả lại hàng và nhận lại tiền", "Gói hàng của tôi vẫn chưa đến"]
LETTERS = "абвгдежзиклмнопрстуфхцчшщъыьэюяđłøß"
HARMLESS = {
    "emoji": ["love it 😍😍 best day ever 🎉🎉", "so tired 😴 need coffee ☕️ 👩‍💻", "😂😂😂", "❤️"],
    "capitals": [text.upper() for text in ENGLISH],
    "code": ["def read(path: str) -> list[str]:", "return [line for line in path if not line.startswith('#')]"],
    "addresses": ["https://www.example.com/products/37?utm_source=letter&id=af91#reviews", "http://t.co/aB3dxYz"],
    "numbers": ["3.14159 2.71828", "1,234,567.89 EUR", "+49 30 1234567", "0x1F 1e-5"],
    "a letter": ["5 Ω"],
}
"""Texts that English tokenizers have to deal with; none is in another script."""


def trained(core: Tokenizer, trainer: trainers.Trainer, texts: list[str], **specials: str) -> PreTrainedTokenizerFast:
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, **specials)


def byte_fallback() -> PreTrainedTokenizerFast:
    """Sentence pieces, as Llama 2 has them: what has no piece becomes the bytes of it."""
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    byte_pieces = [f"<0x{number:02X}>" for number in range(256)]
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=["[UNK]"], unk_token="[UNK]")
    core.train_from_iterator(ENGLISH, trainer)
    pieces = [(piece, -10.0) for piece in ["[UNK]", *byte_pieces, *core.get_vocab()]]
    core.model = models.Unigram(pieces[:257] + [p for p in pieces[257:] if p[0] != "[UNK]"], 0, byte_fallback=True)
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]")


def dropping() -> PreTrainedTokenizerFast:
    """Byte pairs without an unknown token, which leave out what they do not know."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    return trained(core, trainers.BpeTrainer(vocab_size=400, special_tokens=["[PAD]"]), ENGLISH, pad_token="[PAD]")


def with_letters() -> PreTrainedTokenizerFast:
    """Word pieces of English without accents, as BERT's, with single letters of Russian and Latin beside them."""
    made = build_tokenizer("word")
    words = [*made.get_vocab(), *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    vocabulary = {word: number for number, word in enumerate(sorted(made.get_vocab(), key=made.get_vocab().get))}
    for word in words:
        vocabulary.setdefault(word, len(vocabulary))
    made.backend_tokenizer.model = models.WordPiece(vocabulary, unk_token="[UNK]")
    return made


MAKERS = {
    "word pieces": lambda: build_tokenizer("word"),
    "bytes": lambda: build_tokenizer("byte"),
    "sentence pieces": lambda: build_tokenizer("metaspace"),
    "byte fall-back": byte_fallback,
    "dropping": dropping,
    "characters": lambda: build_tokenizer("character"),
    "with letters": with_letters,
    "ByT5": ByT5Tokenizer,
}


@pytest.fixture(scope="module", params=MAKERS)
def tokenizer(request):
    made = MAKERS[request.param]()
    made.kind = request.param
    return made


def complaint(texts, tokenizer, refuse=False) -> str:
    """The warning about these texts, or nothing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_legible([{"text": text} for text in texts], (), tokenizer, refuse=refuse)
    return "; ".join(str(each.message) for each in caught)


def test_what_it_was_made_for_is_left_alone(tokenizer):
    assert complaint(ENGLISH, tokenizer) == ""


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_is_no_other_language_is_left_alone(tokenizer, kind):
    assert complaint(HARMLESS[kind], tokenizer) == ""


@pytest.mark.parametrize(
    "text",
    [
        "Zoë Müller met José Núñez and Łukasz Dvořák in Tromsø, São Paulo and Reykjavík last week",
        "Krankenversicherungsnachweise und Straßenbahnhaltestellen, Grundstücksverkehrsgenehmigungen",
        "DER SCHLÜSSEL FÜR DIE GROẞE TÜR",
    ],
)
def test_names_compounds_and_umlauts_are_left_alone(text):
    assert complaint([text], with_letters()) == ""


SAYS = {
    "word pieces": "does not know 100%",
    "bytes": "no pieces for 100%",
    "sentence pieces": "does not know 100%",
    "byte fall-back": "no pieces for 100%",
    "dropping": "leaves out 100%",
    "characters": "does not know 100%",
    "with letters": "does not know 100%",
    "ByT5": "",
}


def test_chinese_is_noticed_unless_bytes_are_the_design(tokenizer):
    said = complaint(CHINESE, tokenizer)
    assert SAYS[tokenizer.kind] in said
    assert bool(said) == bool(SAYS[tokenizer.kind])
    if said:
        assert "docs/languages.md" in said
        assert "'" in said


def test_words_that_are_spelt_are_noticed():
    tokenizer = with_letters()
    assert legibility(RUSSIAN, tokenizer).complaint() == "spelt"
    assert "one by one: 'Качество' becomes 8 tokens" in complaint(RUSSIAN, tokenizer)


def test_accents_that_are_taken_off_are_noticed_where_a_language_lives_by_them():
    tokenizer = with_letters()
    found = legibility(VIETNAMESE, tokenizer)
    assert found.complaint() == "stripped"
    marks = sum(unicodedata.combining(each) > 0 for text in VIETNAMESE for each in unicodedata.normalize("NFD", text))
    assert found.counts["stripped"] == marks
    assert "accents" in complaint(VIETNAMESE, tokenizer)
    assert complaint(["Größe und Länge prüfen", "Der Schlüssel für die Tür"], tokenizer) == ""


@pytest.mark.parametrize("texts", [CHINESE, RUSSIAN, VIETNAMESE])
def test_characters_may_be_the_design(texts):
    assert complaint(texts, character_tokenizer(texts)) == ""


def test_a_tenth_of_the_texts_in_another_language_is_noticed():
    tokenizer = build_tokenizer("word")
    assert complaint(ENGLISH[:57] + CHINESE, tokenizer) == ""
    said = complaint(ENGLISH[:20] + CHINESE, tokenizer)
    assert "most letters of 3 texts, of 23" in said


def test_nothing_left_is_refused_where_something_is_to_be_learned():
    tokenizer = build_tokenizer("word")
    with pytest.raises(la.LightAdaptError, match=r"Hardly anything is left .*does not know 100%"):
        complaint(CHINESE, tokenizer, refuse=True)
    assert "100%" in complaint(CHINESE, tokenizer)
    assert "no pieces" in complaint(CHINESE, build_tokenizer("byte"), refuse=True)  # bytes can be learned from


def test_few_texts_are_looked_at_evenly():
    examples = [{"text": f"{number} " + "a" * 500, "label": "nothing to read"} for number in range(10_000)]
    for given in (examples, Stored(examples)):
        texts = sample_texts(given, ("label",))
        assert [text.split()[0] for text in texts] == [str(number) for number in range(0, 10_000, 50)]
        assert {len(text) for text in texts} == {100}


def test_texts_are_found_in_examples_of_any_form():
    nested = {"question": "what", "choices": ["this", ("that",)], "answer": "this", "role": "user"}
    assert sample_texts([nested], ("answer",)) == ["what", "this", "that"]


class TestCalls:
    """`fit`, `check`, `preview`, `predict` and `evaluate` say it, each once."""

    @pytest.fixture
    def model(self, tmp_path):
        save_model("bert", tmp_path, vocab_size=600)
        return la.adapt(str(tmp_path), "classification", labels=["a", "b"], tokenizer=with_letters())

    def said(self, call) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        return [str(each.message) for each in caught if "tokenizer" in str(each.message)]

    @pytest.mark.parametrize("name", ["fit", "check", "preview", "evaluate", "predict", "predict_stream"])
    def test_each_says_it_once(self, model, name, capsys):
        texts = RUSSIAN * 4
        labelled = [{"text": text, "label": "ab"[number % 2]} for number, text in enumerate(texts)]
        calls = {
            "fit": lambda: model.fit(labelled, labelled[:4], epochs=1),
            "check": lambda: model.check(labelled),
            "preview": lambda: model.preview(labelled),
            "evaluate": lambda: model.evaluate(labelled),
            "predict": lambda: model.predict(texts),
            "predict_stream": lambda: list(model.predict_stream(texts, at_once=2)),
        }
        (said,) = self.said(calls[name])
        assert "one by one" in said

    def test_check_without_data_does_not_speak_of_its_own_samples(self, tiny):
        tokenizer = build_tokenizer("word")
        model = la.adapt(str(tiny("bert")), "classification", labels=["a", "b"], tokenizer=tokenizer)
        assert self.said(model.check) == []

    def test_fit_refuses_and_predict_answers_where_nothing_is_left(self, tiny):
        model = la.adapt(str(tiny("bert")), "classification", labels=["a", "b"], tokenizer=build_tokenizer("word"))
        labelled = [{"text": text, "label": "a"} for text in CHINESE] + [{"text": CHINESE[0], "label": "b"}]
        for call in (model.fit, model.check):
            with pytest.raises(la.LightAdaptError, match="Hardly anything is left"):
                call(labelled)
        assert len(self.said(lambda: model.predict(CHINESE))) == 1


@pytest.mark.parametrize("kind", ["word", "t5"])
def test_what_is_read_in_place_of_an_unknown_word_is_shown_as_the_model_sees_it(kind):
    with pytest.warns(UserWarning, match="does not know") as told:
        check_legible([{"text": RUSSIAN[0]}], (), build_tokenizer(kind), refuse=False)
    assert "as [UNK]" in str(told[0].message) or "[UNK]." in str(told[0].message)
    with pytest.warns(UserWarning, match="does not know") as told:
        check_legible([{"text": "∑ x² ≤ ∞ → x²"}], (), build_tokenizer("word"), refuse=False)
    assert "'x' as x" not in str(told[0].message)
