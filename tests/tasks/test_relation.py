"""The markers of two arguments add no vocabulary, and what is read off them keeps direction, nesting and cuts."""

from __future__ import annotations

from itertools import count

import pytest

import lightadapt as la
from lightadapt.tasks import ModelView, Relation, relation

KINDS = {"word": "encoder", "byte": "encoder", "metaspace": "encoder", "llama": "decoder", "gpt2": "decoder"}
TEXT = "The broken parcel came from Leeds to my friend."
HEAD, TAIL = [11, 17], [28, 33]


def encode(tokenizer, family, *records, max_length=64, **options):
    task = Relation(labels=["a", "b"], **options)
    view = ModelView(tokenizer, max_length, family, task.outputs())
    return task.encode(task.parse(task.read([{"label": "a", **record} for record in records])), view, targets=True)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A text that is shortened without end fails the test instead of stopping the suite."""
    calls = count()
    crop = relation._crop

    def counted(*arguments):
        assert next(calls) < 200, "the text never gets short enough"
        return crop(*arguments)

    monkeypatch.setattr(relation, "_crop", counted)


def token(tokenizer, feature, position):
    return tokenizer.decode([feature.inputs["input_ids"][position]]).strip()


@pytest.mark.parametrize("kind", KINDS)
def test_anchors_point_at_the_markers_and_the_markers_are_in_the_vocabulary(tokenizers, kind):
    tokenizer, family = tokenizers(kind), KINDS[kind]
    size = len(tokenizer)
    (feature,) = encode(tokenizer, family, {"text": TEXT, "head": HEAD, "tail": TAIL}).features
    summary, head, tail = feature.inputs["anchors"]
    ids = feature.inputs["input_ids"]
    marks = [place for place, number in enumerate(ids) if tokenizer.decode([number]).strip() in ("@", "#")]
    if kind in ("word", "metaspace"):  # this small vocabulary does not know @
        assert len(tokenizer) == size
    else:
        assert len(marks) == 4
        first, last = ([marks[0], marks[2]], [marks[1], marks[3]])
        assert [head, tail] == (last if family == "decoder" else first)
        between = tokenizer.decode(ids[marks[0] + 1 : marks[1]]).strip()
        assert between == "parcel"
    assert summary == (len(ids) - 1 if family == "decoder" else 0)
    assert len(tokenizer) == size


@pytest.mark.parametrize("kind", KINDS)
def test_tags_and_spans_are_one_thing(tokenizers, kind):
    tagged = "The broken <e1>parcel</e1> came from <e2>Leeds</e2> to my friend."
    one, other = encode(
        tokenizers(kind), KINDS[kind], {"text": TEXT, "head": HEAD, "tail": TAIL}, {"text": tagged}
    ).features
    assert one.inputs == other.inputs
    assert one.targets == other.targets == {"labels": 0}


@pytest.mark.parametrize("kind", KINDS)
def test_swapping_the_arguments_changes_the_input(tokenizers, kind):
    one, other = encode(
        tokenizers(kind),
        KINDS[kind],
        {"text": TEXT, "head": HEAD, "tail": TAIL},
        {"text": TEXT, "head": TAIL, "tail": HEAD},
    ).features
    assert one.inputs["anchors"] != other.inputs["anchors"]
    assert one.inputs["anchors"][1:] != other.inputs["anchors"][1:]
    if kind != "metaspace":
        assert one.inputs["input_ids"] != other.inputs["input_ids"]


NESTED = [
    ("New York University", [0, 19], [0, 8], "@ # New York # University @"),
    ("New York University", [0, 8], [0, 19], "# @ New York @ University #"),
    ("University of York", [0, 18], [14, 18], "@ University of # York # @"),
    ("University of York", [14, 18], [0, 18], "# University of @ York @ #"),
    ("York", [0, 4], [0, 4], None),
]


@pytest.mark.parametrize(("text", "head", "tail", "marked"), NESTED, ids=[str(case[1:3]) for case in NESTED])
def test_nested_arguments_are_marked_inside_each_other(tokenizers, text, head, tail, marked):
    tokenizer = tokenizers("byte")
    (feature,) = encode(tokenizer, "encoder", {"text": text, "head": head, "tail": tail}).features
    shown = " ".join(tokenizer.decode(feature.inputs["input_ids"], skip_special_tokens=True).split())
    anchors = feature.inputs["anchors"]
    assert token(tokenizer, feature, anchors[1]) == "@"
    assert token(tokenizer, feature, anchors[2]) == "#"
    if marked is not None:
        assert shown == marked
    else:
        assert shown.replace("@", "").replace("#", "").split() == ["York"]


@pytest.mark.parametrize("kind", ["byte", "llama"])
@pytest.mark.parametrize("order", ["forward", "backward"])
@pytest.mark.parametrize(
    ("before", "between", "behind"), [(80, 0, 0), (0, 80, 0), (0, 0, 80), (40, 60, 50), (300, 300, 0)]
)
def test_a_long_text_is_cut_around_its_arguments(tokenizers, kind, order, before, between, behind):
    parts = [" word" * before, "parcel", " and" * between + " ", "Leeds", " end" * behind]
    text = "".join(parts)
    first = [len(parts[0]), len(parts[0]) + 6]
    second = [first[1] + len(parts[2]), first[1] + len(parts[2]) + 5]
    head, tail = (first, second) if order == "forward" else (second, first)
    tokenizer = tokenizers(kind)
    encoded = encode(tokenizer, KINDS[kind], {"text": text, "head": head, "tail": tail}, max_length=40)
    (feature,) = encoded.features
    ids, (_, one, other) = feature.inputs["input_ids"], feature.inputs["anchors"]
    assert 30 < len(ids) <= 40  # what there is room for is used
    shown = "".join(tokenizer.decode(ids, skip_special_tokens=True).lower().split())
    assert ("@parcel@" in shown and "#leeds#" in shown) == (order == "forward")
    assert ("#parcel#" in shown and "@leeds@" in shown) == (order == "backward")
    assert (token(tokenizer, feature, one), token(tokenizer, feature, other)) == ("@", "#")
    assert encoded.notes == ["1 of 1 records are longer than 40 tokens; what is far from the arguments is left out."]
    with pytest.raises(la.DataError, match=r"Record 0: it is longer than the 40 tokens"):
        encode(tokenizer, KINDS[kind], {"text": text, "head": head, "tail": tail}, max_length=40, overflow="error")


def test_arguments_that_do_not_fit_at_all_are_an_error(tokenizers):
    text = "word " * 100
    with pytest.raises(la.DataError, match="Record 0: its two arguments alone are longer than the 40 tokens"):
        encode(tokenizers("word"), "encoder", {"text": text, "head": [0, 250], "tail": [250, 499]}, max_length=40)


BAD = [
    ({"text": "a b"}, "Record 0: the field 'head' is missing"),
    ({"text": "a b", "head": [0, 1]}, "Record 0: the field 'tail' is missing"),
    ({"text": "a b", "head": [0, 1], "tail": [2, 9]}, "Record 0: tail [2, 9] names no part of the text, which has 3"),
    ({"text": "a b", "head": [1, 2], "tail": [2, 3]}, "Record 0: head [1, 2] names no part"),
    ({"text": "a b", "head": "a", "tail": [2, 3]}, "Record 0: head is 'a' (str), not a list"),
    ({"text": "a b", "head": [0, 1.0], "tail": [2, 3]}, "Give [start, end) in characters"),
    ({"text": "<e1>a</e1> <e2>b"}, "text needs <e1>, </e1>, <e2> and </e2> once each; it has <e1> </e1> <e2>"),
    ({"text": "<e1></e1> <e2>b</e2>"}, "there is nothing between <e1> and </e1>"),
]


@pytest.mark.parametrize(("record", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_records_are_refused(record, message):
    with pytest.raises(la.DataError) as caught:
        Relation().parse(Relation().read([{**record, "label": "x"}]))
    assert message in str(caught.value)


def test_the_usual_names_for_no_relation_are_left_out_of_the_score():
    records = [{"text": "<e1>a</e1> <e2>b</e2>", "label": label} for label in ("Other", "x", "x", "y")]
    task = Relation(labels=["Other", "x", "y"])
    examples = task.parse(task.read(records))
    sure = [{label: float(label == guess) for label in task.labels} for guess in ("x", "x", "Other", "y")]
    scores, _ = task.score(examples, sure)
    assert next(iter(scores)) == "macro_f1"
    assert scores["macro_f1"] == pytest.approx((0.5 + 1.0) / 2)  # x: precision 1/2, recall 1/2
    assert scores["accuracy"] == 0.5
    assert Relation(labels=["Other", "x"], no_relation=["x"]).without == ("x",)


def test_a_text_on_which_the_model_is_asked_needs_its_arguments(tiny):
    adapted = la.adapt(tiny("bert"), "relation", labels=["a", "b"])
    with pytest.raises(la.DataError, match="Record 0: the field 'head' is missing"):
        adapted.predict(["no marks"])
    assert len(adapted.predict(["<e1>a</e1> is <e2>b</e2>", {"text": TEXT, "head": HEAD, "tail": TAIL}])) == 2
