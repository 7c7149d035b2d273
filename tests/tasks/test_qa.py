"""Answers are parts of their context: read in windows, cut exactly, refused by name, and none where there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from learned import stir, trainable
from safetensors.torch import load_file, save_file

import lightadapt as la
from lightadapt.data.spans import split_words
from lightadapt.metrics import question_scores
from lightadapt.tasks import NER, QA, ModelView
from lightadapt.tasks.decoding.answers import Answer
from lightadapt.tasks.qa import FittedThreshold

KINDS = {
    "word": "encoder",
    "byte": "encoder",
    "metaspace": "encoder",
    "character": "encoder",
    "llama": "decoder",
    "gpt2": "decoder",
    "t5": "encoder-decoder",
    "bart": "encoder-decoder",
}
LONG = "The parcel is in Rome now, and then the driver went on to Leeds. " * 12


def record(context, *answers, question="Where is it?"):
    return {
        "question": question,
        "context": context,
        "answers": {"text": [context[start:end] for start, end in answers], "answer_start": [a for a, _ in answers]},
    }


def encode(task, tokenizer, family, records, max_length=66):
    view = ModelView(tokenizer, max_length, family, task.outputs())
    examples = task.parse(task.read(records))
    return examples, task.encode(examples, view, targets=True), view


def sure(features):
    """Logits that are sure of the targets."""
    logits = []
    for feature in features:
        rows = np.zeros((len(feature), 2))
        rows[feature.targets["start_positions"], 0] = rows[feature.targets["end_positions"], 1] = 50.0
        logits.append(rows)
    return logits


def decoded(task, tokenizer, family, records, max_length=66):
    examples, encoded, view = encode(task, tokenizer, family, records, max_length)
    answers = task.decode(examples, encoded.features, sure(encoded.features), view)
    return [task.present(e, a, scores=False) for e, a in zip(examples, answers, strict=True)], encoded.notes


@pytest.mark.parametrize("at", [4, 400, 762])
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_anywhere_in_a_long_context_is_found_and_cut_exactly(tokenizers, kind, at):
    start = LONG.index("parcel" if at == 4 else "Rome" if at == 400 else "Leeds", at if at != 762 else 750)
    end = LONG.index(" ", start)
    end -= LONG[end - 1] in ".,"
    task = QA(threshold=0.0)
    ((shown,), notes) = decoded(task, tokenizers(kind), KINDS[kind], [record(LONG, (start, end))])
    assert (shown["start"], shown["end"], shown["text"]) == (start, end, LONG[start:end])
    assert notes == []


@pytest.mark.parametrize("kind", KINDS)
def test_windows_overlap_cover_the_context_and_mark_nothing_else(tokenizers, kind):
    examples, encoded, view = encode(QA(), tokenizers(kind), KINDS[kind], [record(LONG, (4, 10))])
    covered, before = set(), None
    for window in encoded.features:
        assert len(window) <= 66
        spans = list(window.offsets.values())
        assert spans == sorted(spans)
        inside = {character for start, end in spans for character in range(start, end)}
        assert before is None or inside & before
        covered, before = covered | inside, inside
        specials = {
            p for p, number in enumerate(window.inputs["input_ids"]) if number in view.tokenizer.all_special_ids
        }
        unknown = {p for p in specials if window.inputs["input_ids"][p] == view.tokenizer.unk_token_id}
        assert not window.offsets.keys() & (specials - unknown)
        assert window.nowhere not in window.offsets
        assert window.nowhere in specials
        question = view.tokenizer(examples[0].question, add_special_tokens=False)["input_ids"]
        at = next(p for p in range(9) if window.inputs["input_ids"][p : p + len(question)] == question)
        assert not window.offsets.keys() & set(range(at + len(question)))
        holds = spans[0][0] <= 4 and spans[-1][1] >= 10
        assert (window.targets["start_positions"] != window.nowhere) == holds
    assert covered == {place for place, character in enumerate(LONG) if not character.isspace()}
    assert len(encoded.features) > 3


@pytest.mark.parametrize("name", ["bert", "llama", "gpt2", "t5"])
def test_every_prediction_is_a_part_of_its_context(tiny, name):
    adapted = la.adapt(tiny(name), QA(threshold=3.0))
    records = [{"question": "Where?", "context": LONG}, {"question": "Who is it?", "context": "Maria  wrote\r\nit. "}]
    for scale in (0, 1, 3):
        stir(trainable(adapted.model).values(), scale * 0.1, seed=scale)
        for asked, shown in zip(records, adapted.predict(records), strict=True):
            assert shown["text"] == asked["context"][shown["start"] : shown["end"]] == shown["text"].strip()
            assert 0 <= shown["score"] <= 1


def test_no_logit_makes_a_special_token_or_the_question_an_answer(tokenizers):
    task = QA(threshold=None)
    for kind, family in KINDS.items():
        examples, encoded, view = encode(task, tokenizers(kind), family, [record("Maria wrote it.", (0, 5))])
        (window,) = encoded.features
        logits = np.full((len(window), 2), 50.0)
        logits[list(window.offsets)] = -50.0
        last = max(window.offsets)
        logits[last] = -49.0
        (answer,) = task.decode(examples, encoded.features, [logits], view)
        assert (answer.start, answer.end) == window.offsets[last]


@pytest.mark.parametrize("seed", range(5))
def test_the_tuned_threshold_is_the_best_there_is(seed):
    random = np.random.default_rng(seed)
    task = QA(fitted=FittedThreshold(0.0))
    records, answers = [], []
    for _ in range(25):
        records.append(record("one two three", *([(0, 3)] if random.random() < 0.6 else [])))
        start, end = [(0, 3), (0, 7), (8, 13)][random.integers(3)]
        answers.append(Answer(start, end, 0.5, 0.5, float(random.normal())))
    examples = task.parse(task.read(records))
    tuned = task.tune_on_validation(examples, answers)

    def f1(threshold):
        return QA(threshold=threshold).score(examples, answers)[0]["f1"]

    margins = sorted(answer.margin for answer in answers)
    assert f1(tuned.limit) == pytest.approx(max(f1(m) for m in [margins[0] - 1, *margins]))
    assert QA().tune_on_validation(examples, answers).limit is None
    assert QA(threshold=3.0).tune_on_validation(examples, answers).limit == 3.0


def test_fit_tunes_the_threshold_where_there_are_questions_without_an_answer(tiny, tmp_path):
    answered = [record("Maria wrote it.", (0, 5)), record("It is in Rome.", (9, 13))]
    adapted = la.adapt(tiny("bert"), "qa")
    adapted.fit(answered, answered, epochs=1)
    assert adapted.task.limit is None
    assert [bool(shown["text"]) for shown in adapted.predict(answered)] == [True, True]
    mixed = [*answered, record("It rains."), record("Nobody knows.")]
    adapted.fit(mixed, mixed, epochs=1)
    assert adapted.task.limit is not None
    adapted.save(tmp_path / "saved")
    again = la.load(tmp_path / "saved")
    assert again.task == adapted.task
    assert again.evaluate(mixed) == adapted.evaluate(mixed)
    assert adapted.runner.last_run.metrics["f1"] == pytest.approx(adapted.evaluate(mixed)["f1"])


BAD = [
    ({"question": "a", "context": "b"}, "Record 0: the field 'answers' is missing"),
    (
        record("Maria wrote it.", (0, 5)) | {"answers": {"text": ["wrote"], "answer_start": [5]}},
        "Record 0: the context at 5 is ' wrot', not the answer 'wrote'. It is at 6; set answer_start to that.",
    ),
    (record("b") | {"answers": {"text": ["x"], "answer_start": [0]}}, "It is nowhere in the context"),
    (record("b") | {"answers": {"text": ["b"], "answer_start": []}}, "answers has 1 texts but 0 starts"),
    (record("b") | {"answers": {"text": ["b"]}}, "answers has the keys text, not text and answer_start"),
    (record("b") | {"answers": "b"}, "Record 0: answers is 'b'. Give {'text': […], 'answer_start': […]}"),
    (record("b") | {"answers": [{"text": "b"}]}, "the answer {'text': 'b'} is not a dict with text and answer_start"),
    (record("b") | {"answers": {"text": ["b"], "answer_start": ["0"]}}, "answer_start '0' is not a whole number"),
    (record("b") | {"answers": {"text": [""], "answer_start": [0]}}, "the answer text '' is empty or not a text"),
    (record("b") | {"answers": {"text": ["b"], "answer_start": [-1]}}, "not the answer 'b'. It is at 0"),
]


@pytest.mark.parametrize(("bad", "message"), BAD, ids=[message[:50] for _, message in BAD])
def test_bad_records_are_refused(bad, message):
    with pytest.raises(la.DataError) as caught:
        QA().parse(QA().read([bad]))
    assert message in str(caught.value)


def test_a_question_that_leaves_no_room_is_named(tokenizers):
    long = record("Maria wrote it.", (0, 5), question="why " * 60)
    with pytest.raises(
        la.DataError, match=r"Record 1: the question has \d+ tokens, which leaves \d+ of 66 to the context"
    ):
        encode(QA(), tokenizers("word"), "encoder", [record("Maria wrote it.", (0, 5)), long])


def test_the_articles_of_squad_are_read(tmp_path):
    qas = [
        {"id": "1", "question": "Who?", "answers": [{"text": "Maria", "answer_start": 0}]},
        {"id": "2", "question": "When?", "answers": [], "is_impossible": True},
    ]
    article = {"title": "t", "paragraphs": [{"context": "Maria wrote it.", "qas": qas}, {"context": "x", "qas": []}]}
    (tmp_path / "squad.json").write_text(json.dumps({"version": "2.0", "data": [article, article]}))
    for source in (tmp_path / "squad.json", [article, article]):
        examples = QA().parse(QA().read(source))
        assert [(e.question, e.texts) for e in examples] == [("Who?", ["Maria"]), ("When?", [])] * 2


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "gpt2", "granite"])
def test_the_backbone_of_a_language_model_is_really_loaded(tiny, name):
    stored = load_file(tiny(name) / "model.safetensors")
    adapted = la.adapt(tiny(name), "qa", "probe")
    prefix = f"{adapted.model.base_model_prefix}."
    loaded = {
        key.removeprefix(prefix): value for key, value in adapted.model.state_dict().items() if key.startswith(prefix)
    }
    assert len(loaded) > 20
    inside = {
        key.split(".", 1)[1]: value for key, value in stored.items() if key.startswith(("model.", "transformer."))
    }
    assert loaded.keys() == (inside or stored).keys()
    for key, value in (inside or stored).items():
        assert torch.equal(loaded[key], value), key


@pytest.mark.parametrize("task", ["qa", "classification", "ner"])
@pytest.mark.parametrize(
    "lost", ["layers.1.mlp.up_proj.weight", "layers.2.input_layernorm.weight", "embed_tokens.weight"]
)
def test_a_checkpoint_that_lacks_part_of_the_backbone_is_refused(tiny, tmp_path, task, lost):
    stored = load_file(tiny("llama") / "model.safetensors")
    kept = {key: value for key, value in stored.items() if not key.endswith(lost)}
    assert len(kept) == len(stored) - 1
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    for file in tiny("llama").iterdir():
        if file.name != "model.safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(la.LightAdaptError, match=rf"1 tensors of the backbone are not in the checkpoint.*{lost}"):
        la.adapt(tmp_path, task)


def test_scores_are_those_of_the_texts():
    task = QA(threshold=0.0)
    examples = task.parse(task.read([record("Maria Berg wrote it.", (0, 10)), record("It rains.")]))
    answers = [Answer(0, 5, 0.9, 0.1, -2.0), Answer(0, 2, 0.1, 0.9, 2.0)]
    assert task.score(examples, answers)[0] == question_scores([["Maria Berg"], []], ["Maria", ""])
    assert task.score(examples, answers)[0]["exact_match"] == 0.5


@pytest.mark.parametrize("kind", ["byte", "word", "llama"])
def test_white_space_around_an_answer_does_not_make_it_no_answer(tokenizers, kind):
    context = "Maria wrote it in Rome , they say."
    ((shown,), _) = decoded(QA(threshold=0.0), tokenizers(kind), KINDS[kind], [record(context, (17, 23))])
    assert shown["text"] == "Rome"


# ---- any text of any script

TEXTS = st.text(
    st.one_of(
        st.sampled_from("abcd é漢字かक्षمرحباשלום\u0301\u200d\u200c\u200b\ufe0f\ufeff😀👩\u0301-'.,\r\n\t\u00a0\u2028"),
        st.characters(exclude_categories=["Cs"]),
    ),
    min_size=1,
    max_size=40,
).filter(str.strip)


@pytest.fixture(scope="module")
def readers(tokenizers):
    """Tokenizers with a border between any two characters: one token a character, or a byte."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({token: number for number, token in enumerate(["[PAD]", *alphabet])}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]", eos_token="[PAD]")
    return {"bytes": byte, "character": tokenizers("character"), "word": tokenizers("word"), "byte": tokenizers("byte")}


@settings(deadline=None, max_examples=40, derandomize=True)
@given(context=TEXTS, data=st.data())
@pytest.mark.parametrize("family", ["encoder", "decoder"])
@pytest.mark.parametrize("kind", ["bytes", "character", "byte", "word"])
def test_an_answer_in_any_script_comes_back_exactly_where_there_is_a_border(readers, kind, family, context, data):
    start = data.draw(st.integers(0, len(context) - 1))
    end = data.draw(st.integers(start + 1, len(context)))
    if not context[start:end].strip():
        return
    task = QA(threshold=0.0, longest=1000, window=1000)
    ((shown,), notes) = decoded(task, readers[kind], family, [record(context, (start, end))], 1000)
    if kind in ("bytes", "character"):
        assert notes == []
    if not notes:
        assert shown["text"] == context[start:end].strip()
        assert context[shown["start"] : shown["end"]] == shown["text"]
    else:
        assert shown["text"] != context[start:end].strip()


@settings(deadline=None, max_examples=40, derandomize=True)
@given(text=TEXTS, data=st.data())
@pytest.mark.parametrize("family", ["encoder", "decoder"])
@pytest.mark.parametrize("kind", ["bytes", "character", "byte", "word"])
def test_entities_of_whole_words_in_any_script_come_back_exactly(readers, kind, family, text, data):
    words = split_words(text)
    if not words:
        return
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    span = (words[first][0], words[last][1])
    if (
        text[span[0] : span[1]] != text[span[0] : span[1]].strip()
    ):  # separators that are characters to some and white space to others
        return
    task = NER(labels=["X"])
    examples = task.parse(task.read([{"text": text, "entities": [{"start": span[0], "end": span[1], "label": "X"}]}]))
    view = ModelView(readers[kind], 1000, family, task.outputs())
    encoded = task.encode(examples, view, targets=True)
    logits = [50.0 * (np.array(f.targets["labels"])[:, None] == np.arange(3)) for f in encoded.features]
    (entities,) = task.decode(examples, encoded.features, logits, view)
    found = [(entity.span.start, entity.span.end) for entity in entities]
    if kind in ("bytes", "character", "byte"):
        assert encoded.notes == []
    assert (found == [span]) == (encoded.notes == [])
