"""Spans survive every scheme, tokenizer and window; scores are seqeval's; padding never counts."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import lightadapt as la
from lightadapt.data.spans import Span, best_tags, read_tags, split_words, transitions, write_tags
from lightadapt.errors import DataError
from lightadapt.metrics import entity_scores
from lightadapt.tasks import NER, ModelView
from lightadapt.tasks.ner import FittedWords

SCHEMES = {
    "BIO": ["B-PER", "I-PER", "B-PER", "O", "B-LOC", "B-ORG", "I-ORG", "I-ORG"],
    "IOB1": ["I-PER", "I-PER", "B-PER", "O", "I-LOC", "I-ORG", "I-ORG", "I-ORG"],
    "BIOES": ["B-PER", "E-PER", "S-PER", "O", "S-LOC", "B-ORG", "I-ORG", "E-ORG"],
    "BILOU": ["B-PER", "L-PER", "U-PER", "O", "U-LOC", "B-ORG", "I-ORG", "L-ORG"],
}
SPANS = [Span(0, 2, "PER"), Span(2, 3, "PER"), Span(4, 5, "LOC"), Span(5, 8, "ORG")]
LENGTHS = st.integers(1, 12)
KINDS = ("word", "byte", "metaspace")


@st.composite
def tagged(draw, length=LENGTHS):
    """Non-overlapping spans over some positions."""
    count, position, spans = draw(length), 0, []
    while position < count:
        width = draw(st.integers(1, 3))
        if draw(st.booleans()) and position + width <= count:
            spans.append(Span(position, position + width, draw(st.sampled_from(["PER", "LOC"]))))
        position += width
    return count, spans


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_read(scheme):
    assert read_tags(SCHEMES[scheme]) == SPANS


@given(tagged())
def test_tags_round_trip(case):
    length, spans = case
    assert read_tags(write_tags(spans, length)) == spans


@given(st.lists(tagged(), min_size=1, max_size=5), st.data())
@settings(deadline=None, max_examples=60)
def test_scores_equal_seqeval_strict(cases, data):
    gold = [spans for _, spans in cases]
    predicted = [data.draw(tagged(st.just(length)))[1] for length, _ in cases]
    scores, _ = entity_scores(gold, predicted)
    if any(gold) or any(predicted):
        tags = [[write_tags(s, n) for s, (n, _) in zip(side, cases, strict=True)] for side in (gold, predicted)]
        assert scores["f1"] == pytest.approx(f1_score(*tags, mode="strict", scheme=IOB2, zero_division=0))
    else:
        assert scores["f1"] == 0


def test_the_report_has_every_type_with_its_support():
    _, report = entity_scores([SPANS], [[*SPANS[:2], Span(4, 6, "LOC")]])
    assert report["PER"] == {"precision": 1, "recall": 1, "f1": 1, "support": 2}
    assert report["LOC"]["f1"] == report["ORG"]["f1"] == 0


@given(st.integers(1, 5), st.integers(0, 10**6))
@settings(deadline=None, max_examples=40)
def test_viterbi_finds_the_best_valid_path(length, seed):
    tags = ("O", "B-A", "I-A", "B-B", "I-B")
    scores = np.random.default_rng(seed).normal(0, 2, (length, len(tags)))
    allowed = transitions(tags)

    def value(path):
        steps = zip([len(tags), *path], path, strict=False)
        return sum(allowed[a, b] for a, b in steps) + sum(scores[i, t] for i, t in enumerate(path))

    paths = itertools.product(range(len(tags)), repeat=length)
    assert value(best_tags(scores, allowed)) == pytest.approx(max(map(value, paths)))


def encode(task, examples, tokenizer, max_length=64):
    return task.encode(examples, ModelView(tokenizer, max_length, "encoder", task.outputs()), targets=True)


def perfect(task, examples, tokenizer, max_length=64, family="encoder"):
    """What decoding gives when the model's outputs are exactly the encoded targets."""
    outputs = task.outputs()
    view = ModelView(tokenizer, max_length, family, outputs)
    features = task.encode(examples, view, targets=True).features
    random = np.random.default_rng(0)
    logits = []
    for feature in features:
        scores = random.normal(0, 5, (len(feature), len(outputs)))  # whatever is not a target is noise
        for position, target in enumerate(feature.targets["labels"]):
            if target >= 0:
                scores[position] = np.where(np.arange(len(outputs)) == target, 50.0, 0.0)
        logits.append(scores)
    return task.decode(examples, features, logits, view)


def spans_of(predictions):
    return [[entity.span for entity in entities] for entities in predictions]


@pytest.mark.parametrize("max_length", [64, 12])
@pytest.mark.parametrize("kind", KINDS)
def test_gold_outputs_decode_to_the_gold(tokenizers, messages, kind, max_length):
    task = NER(labels=["AMOUNT", "DATE", "ORDER", "PERSON", "PLACE", "PRODUCT"])
    examples = task.parse(task.read(messages))
    predictions = perfect(task, examples, tokenizers(kind), max_length)
    assert spans_of(predictions) == [example.entities for example in examples]
    assert task.score(examples, predictions)[0]["f1"] == 1.0


@given(st.lists(st.text("abzé漢क्ष\u0301\u200d😀-'.", min_size=1, max_size=6), min_size=1, max_size=12), st.data())
@settings(deadline=None, max_examples=80)
@pytest.mark.parametrize("split", [True, False])
def test_tokens_of_any_script_decode_to_the_gold(tokenizers, split, tokens, data):
    kind = "byte"
    _, spans = data.draw(tagged(st.just(len(tokens))))
    task = NER(labels=["PER", "LOC"], fitted=FittedWords(split))
    examples = task.parse(task.read([{"tokens": tokens, "tags": write_tags(spans, len(tokens))}]))
    predictions = perfect(task, examples, tokenizers(kind), 24)
    shown = task.present(examples[0], predictions[0], scores=False)
    assert [(e["start"], e["end"], e["label"]) for e in shown] == [tuple(span) for span in spans]


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_is_labelled_once_over_all_windows(tokenizers, kind):
    words = ["parcel", "from", "Leeds", "arrived", "broken,", "please"] * 20
    task = NER(labels=["X"])
    examples = task.parse(task.read([{"text": " ".join(words), "entities": []}]))  # the comma is a word of its own
    features = encode(task, examples, tokenizers(kind), 16).features
    assert len(features) > 3
    assert all(len(feature) <= 16 for feature in features)
    assert sorted(first for feature in features for _, first, _ in feature.words) == list(range(len(words) + 20))
    for feature in features:
        target = feature.targets["labels"]
        labelled = [position for position, number in enumerate(target) if number >= 0]
        assert labelled == sorted(position for position, _, _ in feature.words)
        assert target[0] == target[-1] == -100  # the special tokens


@pytest.fixture(scope="module")
def merging():
    """A tokenizer with pieces that reach over several words, as large vocabularies have."""
    pieces = ["▁$", "1,000", "▁C", "++", "▁paid", "▁for", "▁北京", "市", "▁(", "B)", "▁A"]
    core = Tokenizer(models.Unigram([("[UNK]", 0.0), *((piece, -1.0) for piece in pieces)], unk_id=0))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[UNK]", unk_token="[UNK]")


@pytest.mark.parametrize("text", ["$1,000", "C++", "北京", "北京市", "$1,000 paid", "A", "A (B)"])
def test_a_sub_word_over_several_words_stands_for_all_of_them(merging, text):
    whole = f"paid {text} for C++"
    task = NER(labels=["X"])
    records = [{"text": whole, "entities": [{"start": 5, "end": 5 + len(text), "label": "X"}]}]
    examples = task.parse(task.read(records))
    assert encode(task, examples, merging).notes == []
    assert spans_of(perfect(task, examples, merging)) == [[Span(5, 5 + len(text), "X")]]


def test_an_entity_that_begins_inside_a_sub_word_is_said(merging):
    task = NER(labels=["X"])
    examples = task.parse(task.read([{"text": "paid 1,000", "entities": [{"start": 7, "end": 10, "label": "X"}]}]))
    (note,) = encode(task, examples, merging).notes
    assert "1 of 1 entities" in note
    assert task.score(examples, perfect(task, examples, merging))[0]["f1"] == 0


def test_words_of_scripts_without_spaces_are_characters():
    assert [("漢字ab"[s:e]) for s, e in split_words("漢字ab")] == ["漢", "字", "ab"]
    assert [("क्षण नया"[s:e]) for s, e in split_words("क्षण नया")] == ["क्षण", "नया"]
    assert [("می\u200cروم ❤\ufe0f!"[s:e]) for s, e in split_words("می\u200cروم ❤\ufe0f!")] == [
        "می\u200cروم",
        "❤\ufe0f",
        "!",
    ]


BIO, BIOES, IOB1 = ["B-A", "I-A", "O", "B-A"], ["B-A", "E-A", "O", "S-A"], ["I-A", "I-A", "O", "I-A"]


@pytest.mark.parametrize(
    ("sequences", "said"),
    [
        ([BIO, BIOES], r"Record 0: an entity of the tags ends without E, L, S or U, with which .* in record 1\. Two"),
        ([BIOES, BIO, BIO], r"Record 1 \(so in 2 records\): an entity of the tags ends without .* in record 0\. Two"),
        (
            [["B-A", "E-A", "S-A", "B-A"]],
            r"Record 0: .* in the same record\. Two readings: BIO, .*, or BIOES with a wrong",
        ),
        (
            [BIO, IOB1],
            r"Record 1: an entity of the tags begins without B, .* in record 0\. Two readings: IOB1, .*, or BIO",
        ),
        ([["B-A", "I-B", "O", "O"]], r"Record 0: an entity of the tags begins without B"),
        ([["B-A", "L-A", "U-A", "O"], ["O", "B-A", "I-A", "O"]], r"Record 1: an entity of the tags ends without"),
    ],
)
def test_tags_that_mix_schemes_have_two_readings(sequences, said):
    task = NER(labels=["A", "B"])
    with pytest.warns(UserWarning, match=said):
        task.read_examples([{"tokens": list("abcd"), "tags": tags} for tags in sequences], split="train", columns=None)


@pytest.mark.parametrize("tags", [BIO, BIOES, IOB1, ["B-A", "L-A", "U-A", "O"], ["I-A", "E-A", "O", "E-A"], ["O"] * 4])
def test_tags_of_one_scheme_are_taken_without_a_word(tags, recwarn):
    records = [{"tokens": list("abcd"), "tags": tags}, {"text": "a b", "entities": []}]
    NER(labels=["A"]).read_examples(records, split="train", columns=None)
    assert not recwarn.list


@pytest.mark.parametrize("tag", ["B_A", "A-B", "b-A", "B-", "B A", "-A", "M-A", "B–A"])
def test_tags_of_another_form_are_refused_beside_those_of_a_scheme(tag):
    with pytest.raises(la.DataError, match=r"Record 1, tags: .* is not a tag of BIO, IOB1 or BIOES\. A tag is O, or"):
        NER().parse(NER().read([{"tokens": ["a"], "tags": [each]} for each in ("B-A", tag)]))


@pytest.mark.parametrize("labels", [["O", "B_A", "I_A"], ["O", "A-B", "A-I"], ["B-A", "I-A"], ["O", "A"]])
def test_labels_that_may_be_tags_have_two_readings(labels):
    with pytest.raises(la.LightAdaptError, match="Two readings"):
        NER(labels=labels)


def test_what_cannot_be_represented_is_said_and_counts_against_the_score(tokenizers):
    task = NER(labels=["PER"])
    records = [{"text": "Merkels Haus", "entities": [{"start": 0, "end": 6, "label": "PER"}]}]
    examples = task.parse(task.read(records))
    (note,) = encode(task, examples, tokenizers("word")).notes
    assert note.startswith("1 of 1 entities begin or end where this tokenizer cannot")
    predictions = perfect(task, examples, tokenizers("word"))
    assert spans_of(predictions) == [[Span(0, 7, "PER")]]
    assert task.score(examples, predictions)[0]["f1"] == 0


def test_a_text_of_which_the_tokenizer_leaves_nothing_holds_no_entity(tokenizers):
    task = NER(labels=["X"])
    examples = task.parse(task.read([{"text": "\ue000", "entities": []}, {"tokens": ["\ue000"], "tags": ["B-X"]}]))
    assert spans_of(perfect(task, examples, tokenizers("word"))) == [[], []]


def test_token_records_and_text_records_are_one_path(tokenizers):
    task = NER(labels=["PER"])
    tokens = task.parse(task.read([{"tokens": ["Ann", "Lee", "left"], "tags": ["B-PER", "I-PER", "O"]}]))
    text = task.parse(task.read([{"text": "Ann Lee left", "entities": [{"start": 0, "end": 7, "label": "PER"}]}]))
    one, other = (encode(task, form, tokenizers("word")).features[0] for form in (tokens, text))
    assert one == other
    shown = [task.present(f[0], perfect(task, f, tokenizers("word"))[0], scores=False)[0] for f in (tokens, text)]
    assert [(e["start"], e["end"], e["text"]) for e in shown] == [(0, 2, "Ann Lee"), (0, 7, "Ann Lee")]


# ---- tokens and texts

ABBREVIATED = {
    "tokens": ["The", "U.S.", "and", "St.-Denis", "met", "A.", "O'Hara", "."],
    "tags": ["O", "B-LOC", "O", "B-LOC", "O", "B-PER", "I-PER", "O"],
}


def fitted(records, **options):
    """The task as `fit` has it for these records, and their examples."""
    task = NER(labels=["LOC", "PER"], **options)
    examples = task.parse(task.read(records))
    return task.prepare(examples, fresh_head=True), examples


def as_text(record):
    """The same record, its tokens joined by spaces."""
    (example,) = NER().parse(NER().read([record]))
    entities = [{"start": start, "end": end, "label": label} for start, end, label in example.entities]
    return {"text": example.text, "entities": entities}


@pytest.mark.parametrize("family", ["encoder", "decoder"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_sub_word_that_decides_in_a_text_has_learned_from_tokens(tokenizers, kind, family):
    features = []
    for record in (ABBREVIATED, as_text(ABBREVIATED)):
        task, examples = fitted([record])
        view = ModelView(tokenizers(kind), 64, family, task.outputs())
        features.append(task.encode(examples, view, targets=True).features)
    assert features[0] == features[1]
    assert len(features[0][0].words) == 17


@given(st.lists(st.text("ab.-'漢é\u0301", min_size=1, max_size=5), min_size=1, max_size=8), st.data())
@settings(deadline=None, max_examples=60)
def test_what_a_text_gives_of_whole_tokens_its_tokens_give_too(tokenizers, tokens, data):
    _, spans = data.draw(tagged(st.just(len(tokens))))
    record = {"tokens": tokens, "tags": write_tags(spans, len(tokens))}
    found = []
    for form in (record, as_text(record)):
        task, examples = fitted([form], fitted=FittedWords(split=True))
        (prediction,) = perfect(task.with_labels(["PER", "LOC"]), examples, tokenizers("byte"))
        found.append([entity.span for entity in prediction])
    assert found[0] == found[1]


def predicted(task, examples, tokenizer, chosen):
    """The entities where the words have these tags, with these scores: `{text of the word: (tag, logit)}`."""
    view = ModelView(tokenizer, 64, "encoder", task.outputs())
    (feature,) = task.encode(examples, view, targets=False).features
    logits = np.zeros((len(feature), len(view.outputs)))
    words = examples[0].words(split=task.fitted.split)
    for position, first, _ in feature.words:
        tag, score = chosen.get(examples[0].text[slice(*words[first])], ("O", 9.0))
        logits[position, view.outputs.index(tag)] = score
    (prediction,) = task.decode(examples, [feature], [logits], view)
    return [(e["text"], e["start"], e["end"]) for e in task.present(examples[0], prediction, scores=False)]


def test_the_words_of_a_token_decide_together(tokenizers):
    task, examples = fitted([{"tokens": ["in", "U.K", "now"], "tags": ["O", "B-LOC", "O"]}])
    sure, unsure = ("B-LOC", 9.0), ("O", 2.0)
    assert predicted(task, examples, tokenizers("byte"), {"U": sure, ".": unsure, "K": unsure}) == [("U.K", 1, 2)]
    assert predicted(task, examples, tokenizers("byte"), {"U": ("B-LOC", 2.0)}) == []  # two of three are against it
    text = task.parse(task.read([{"text": "in U.K now"}], labelled=False), labelled=False)
    assert predicted(task, text, tokenizers("byte"), {"U": sure}) == [("U", 3, 4)]


def test_what_was_trained_before_goes_by_one_sub_word_a_token(tokenizers):
    task, examples = fitted([{"tokens": ["in", "U.K", "now"], "tags": ["O", "B-LOC", "O"]}])
    task = replace(task, fitted=NER().fitted)
    assert predicted(task, examples, tokenizers("byte"), {"U.K": ("B-LOC", 2.0)}) == [("U.K", 1, 2)]
    (feature,) = encode(task, examples, tokenizers("byte")).features
    assert len(feature.words) == 3


def test_the_time_for_targets_grows_with_the_record_and_not_with_its_square(tokenizers):
    count = 20_000
    task, examples = fitted([{"tokens": ["a"] * count, "tags": ["B-PER", "O"] * (count // 2)}])
    started = time.perf_counter()
    features = encode(task, examples, tokenizers("word")).features
    assert sum(label == task.outputs().index("B-PER") for f in features for label in f.targets["labels"]) == count // 2
    assert time.perf_counter() - started < 8  # 21 s, once


@pytest.mark.parametrize(
    "entity",
    [
        [0, 3, "PER"],
        (0, 3, "PER"),
        {"id": 7, "label": "PER", "start_offset": 0, "end_offset": 3},
        {"start": 0, "end": 3, "text": "Ann", "labels": ["PER"]},
    ],
)
def test_entities_as_annotation_tools_export_them(entity):
    (example,) = NER().parse(NER().read([{"text": "Ann ran", "entities": [entity]}]))
    assert example.entities == [(0, 3, "PER")]


@pytest.mark.parametrize("entity", [["PER", 0, 3], [0, 3], {"start": 0, "end": 3, "labels": ["PER", "LOC"]}])
def test_entities_of_another_form_are_refused(entity):
    with pytest.raises(DataError, match="Record 0, entities: the entity"):
        NER().parse(NER().read([{"text": "Ann ran", "entities": [entity]}]))
