"""Every form of data gives the same records, and every bad record is refused by name before training."""

from __future__ import annotations

import json
import re

import datasets
import pandas
import pytest

import lightadapt as la
from lightadapt.data import reading as data
from lightadapt.tasks import NER, Classification

RECORDS = [{"text": "one, two", "label": "a"}, {"text": 'say "hi"', "label": "b"}, {"text": "é\n漢", "label": "a"}]
TAGGED = [{"tokens": ["Ann", "Lee", "left"], "tags": ["B-PER", "I-PER", "O"]}, {"tokens": ["#"], "tags": ["O"]}]


def forms(tmp_path):
    frame = pandas.DataFrame(RECORDS)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "a.parquet")
    lines = "\n".join(json.dumps(record) for record in RECORDS)
    (tmp_path / "a.jsonl").write_text(lines + "\n\n", encoding="utf-8-sig")
    (tmp_path / "a.json").write_text(json.dumps(RECORDS))
    (tmp_path / "b.json").write_text(json.dumps({"data": RECORDS}))
    (tmp_path / "c.json").write_text(lines)
    yield from (RECORDS, iter(RECORDS), frame, datasets.Dataset.from_list(RECORDS))
    yield datasets.Dataset.from_list(RECORDS).to_iterable_dataset()
    for name in ("a.csv", "a.tsv", "a.parquet", "a.jsonl", "a.json", "b.json", "c.json"):
        yield tmp_path / name
        yield str(tmp_path / name)


def test_every_form_gives_the_same_records(tmp_path):
    for form in forms(tmp_path):
        assert list(data.read(form)) == RECORDS, form


def test_a_stray_quote_in_a_tsv_swallows_nothing(write):
    path = write("q.tsv", 'text\tlabel\n"half a quote\ta\nsecond\tb\nthird "\ta\n')
    with pytest.warns(UserWarning, match=r"Record 0 .*line 2\): a quote stands at the start .*Two readings"):
        assert [record["label"] for record in data.read(path)] == ["a", "b", "a"]


@pytest.mark.parametrize("content", ['text\n"one\ntwo"\n', '"text"\t"label"\n"one\n\ttwo"\t"b"\n'])
def test_quotes_of_a_tsv_that_mean_something_do(write, content):
    (record,) = data.read(write("q.tsv", content))
    assert record["text"].startswith("one")
    assert record["text"].endswith("two")


@pytest.mark.parametrize("name", ["x.conll", "x.bio", "x.txt"])
def test_conll_files(write, name):
    path = write(name, "-DOCSTART- -X- O O\n\n# id = 1\r\nAnn X B-PER\r\nLee X I-PER\nleft X O\n\n\n# O\n")
    records = data.read(path)
    assert records.items == TAGGED
    assert records.place(0) == f"Record 0 ({path}, line 4)"
    assert records.place(1) == f"Record 1 ({path}, line 9)"


def test_other_white_space_belongs_to_a_token(write):
    path = write("x.conll", "3\u00a0000\tO\nNew York\tB-LOC\n\n5\u00a0000 O\n")
    assert [record["tokens"] for record in data.read(path)] == [["3\u00a0000", "New York"], ["5\u00a0000"]]


def test_every_kind_of_line_end(write):
    path = write("x.conll", "Ann B-PER\rLee I-PER\rleft O\r\r# O\r")
    assert data.read(path).items == TAGGED


def test_class_numbers_of_a_dataset_become_names():
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["no", "yes"]),
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-PER"])),
        }
    )
    rows = [{"text": "a", "label": 1, "tokens": ["a"], "ner_tags": [1]}]
    records = data.read(datasets.Dataset.from_list(rows, features=features))
    assert records.items[0]["label"] == "yes"
    assert records.items[0]["ner_tags"] == ["B-PER"]
    (example,) = NER(columns={"tags": "ner_tags"}).parse(NER().read(records.items, columns={"tags": "ner_tags"}))
    assert [entity.label for entity in example.entities] == ["PER"]


def test_class_numbers_in_text_files_are_numbers_when_the_labels_are(write):
    task = Classification(labels=[0, 1])
    records = task.read(write("x.csv", "text,label\na,1\n"))
    assert task.parse(records)[0].label == 1


def test_columns_rename_and_keep_the_rest():
    records = data.read([{"sentence": "a", "label": "x", "text": "old", "id": 3}], columns={"text": "sentence"})
    assert records.items == [{"text": "a", "label": "x", "id": 3}]


def test_missing_cells_of_a_frame_are_missing():
    frame = pandas.DataFrame([{"text": "a", "text_pair": None, "label": "x"}, {"text": "b", "label": "y"}])
    assert [example.text_pair for example in Classification().parse(Classification().read(frame))] == [None, None]


CLASSIFICATION_ERRORS = [
    ([], "holds no records"),
    ([{"text": "a"}], "Record 0: the field 'label' is missing. Fields there: text."),
    ([{"text": "a", "lable": "x"}], "Did you mean 'label'"),
    (
        [{"text": "a", "label": "x", "text_pairs": "b"}],
        "Unknown column 'text_pairs' in data. Did you mean 'text_pair'?",
    ),
    ([{"text": "a", "label": "x"}, {"text": " ", "label": "x"}], "Record 1: text is empty"),
    ([{"text": 5, "label": "x"}], "Record 0: text is 5 (int), but a text is expected"),
    ([{"text": "x\ud83d", "label": "x"}], "Record 0: text holds half a character at 1"),
    ([{"text": "a", "label": None}], "Record 0: label is empty"),
    ([{"text": "a", "label": 0.5}], "Record 0: label is 0.5 (float)"),
    ([{"text": "a", "label": ["x"]}], "Record 0: label is ['x'] (list)"),
    (["a"], "Record 0 is a str, not a dict"),
    ({"text": ["a"]}, "Data is a dict with the keys 'text'"),
    (5, "Data is a int"),
    ("nowhere.jsonl", "nowhere.jsonl does not exist"),
    ("nowhere.jsn", "Did you mean '.json'?"),
    ("nowhere", "'nowhere' is neither a file here nor a data set that can be loaded from the hub"),
    ("./nowhere", "nowhere does not exist"),
    ("a long text " * 100, "is not a file name"),
    (datasets.DatasetDict({"part": datasets.Dataset.from_list(RECORDS)}), "Choose one, such as data['part']"),
]


@pytest.mark.parametrize(
    ("bad", "message"), CLASSIFICATION_ERRORS, ids=[text[:40] for _, text in CLASSIFICATION_ERRORS]
)
def test_bad_classification_records_are_refused(bad, message):
    task = Classification()
    with pytest.raises(la.DataError) as caught:
        task.parse(task.read(bad))
    assert message in str(caught.value)


def entity(start, end, label="PER"):
    return {"start": start, "end": end, "label": label}


NER_ERRORS = [
    ([{"tokens": ["a", "b"], "tags": ["O"]}], "Record 0: tags has 1 items but tokens has 2. Each token needs one tag."),
    ([{"tokens": ["a"]}], "Record 0: the field 'tags' is missing"),
    ([{"tokens": [], "tags": []}], "Record 0: tokens is empty"),
    ([{"tokens": [""], "tags": ["O"]}], "Record 0: token 0 is empty"),
    ([{"tokens": [" "], "tags": ["O"]}], "Record 0: tokens hold no text"),
    ([{"tokens": float("nan"), "tags": ["O"]}], "Record 0: tokens is nan (float), not a list"),
    ([{"tokens": {"a"}, "tags": ["O"]}], "not a list"),
    ([{"tokens": ["a"], "tags": "O"}], "Record 0: tags is 'O' (str), not a list"),
    ([{"tokens": ["x\ud83d"], "tags": ["O"]}], "Record 0: tokens holds half a character at 1"),
    ([{"tokens": [5], "tags": ["O"]}], "the token 5 is a int, but a text is expected"),
    ([{"tokens": "a b", "tags": ["O"]}], "Record 0: tokens is the text 'a b'"),
    ([{"tokens": ["a"], "tags": [1]}], "the tag of 'a' is the number 1"),
    ([{"tokens": ["a"], "tags": ["PER"]}], "'PER', the tag of 'a', is not a tag of BIO, IOB1 or BIOES"),
    ([{"text": "Ann"}], "Record 0: the field 'entities' is missing"),
    ([{"text": "Ann", "entities": None}], "Record 0: entities is empty"),
    ([{"text": "Ann", "entities": {"start": 0}}], "entities is {'start': 0} (dict), not a list"),
    ([{"sentence": "Ann"}], "there is neither 'tokens' nor 'text'"),
    ([{"text": "Ann", "entities": [entity(0, 9)]}], "the entity PER has the span 0-9, but its text has 3 characters"),
    ([{"text": "Ann", "entities": [entity(2, 2)]}], "Needed: 0 <= start < end <= length"),
    (
        [{"text": "Ann Lee", "entities": [entity(0, 5), entity(4, 7, "ORG")]}],
        "'Ann L' (PER, 0-5) and 'Lee' (ORG, 4-7) overlap",
    ),
    ([{"text": "Ann", "entities": [{"start": 0, "end": 3}]}], "is not a dict with 'start', 'end' and 'label'"),
    ([{"text": "Ann", "entities": [entity("0", 3)]}], "offsets that are not whole numbers"),
    ([{"text": "Ann", "entities": [entity(0, 3, "")]}], "has no label"),
    ([{"text": "Ann  Lee", "entities": [entity(3, 5)]}], "is only white space"),
    ([{"text": "", "entities": []}], "Record 0: text is empty"),
    ([{"text": 7, "entities": []}], "text is 7 (int), but a text is expected"),
]


@pytest.mark.parametrize(("bad", "message"), NER_ERRORS, ids=[text[:40] for _, text in NER_ERRORS])
def test_bad_ner_records_are_refused(bad, message):
    with pytest.raises(la.DataError) as caught:
        NER().parse(NER().read(bad))
    assert message in str(caught.value)


FILE_ERRORS = [
    ("x.xlsx", "", "Unknown file type '.xlsx'"),
    ("x.jsn", "", "Did you mean '.json'?"),
    ("x.jsonl", '{"text": "a"}\n{"text": ', "line 2 is not JSON"),
    ("x.json", "{", "is not JSON"),
    ("x.json", '{"text": "a"}', "It must hold a list of records"),
    ("x.csv", "text,label\na,b,c\n", "line 2 has 3 fields but the header has 2"),
    ("x.csv", "text,label\n", "holds no records"),
    ("x.csv", 'label,text\na,"bad\nb,fine\n', "the record that begins in line 2 is broken"),
    ("x.csv", "text,label,label\na,b,c\n", "two columns named 'label'"),
    ("x.csv", "text,label\na,b\n".encode("utf-16"), "iconv -f utf-16"),
    ("x.conll", "1 Ann B-PER\n2 Lee I-PER\n3 left O\n\n1 a O\n2 b O\n3 c O\n", "counts the tokens"),
    ("x.csv", b"text,label\ncaf\xe9,a\n", "not UTF-8: byte 0xe9 in line 2"),
    ("x.conll", "Ann B-PER\nLee\n", "line 2: 'Lee' is not a token with a tag"),
    ("x.parquet", "no", "is not a readable parquet file"),
    ("x.jsonl", "5\n", "Record 0"),
]


@pytest.mark.parametrize(("name", "content", "message"), FILE_ERRORS, ids=[text for *_, text in FILE_ERRORS])
def test_bad_files_are_refused(write, name, content, message):
    with pytest.raises(la.DataError) as caught:
        data.read(write(name, content))
    assert message in str(caught.value)


def test_columns_the_wrong_way_round_are_noticed():
    rows = [{"sentence": "a", "mark": "x"}]
    right = {"text": "sentence", "label": "mark"}
    for given in ({"sentence": "text", "mark": "label"}, {"sentence": "text", "label": "mark"}):
        with pytest.raises(
            la.DataError, match=re.escape(f"wrong way round? Write {{field: column}}: columns={right}.")
        ):
            Classification().read(rows, columns=given)
        with pytest.raises(la.DataError, match=r"columns=\{'text': 'sentence'"):
            Classification().read(rows, columns=given, labelled=False)
    assert Classification().read(rows, columns=right).items == [{"text": "a", "label": "x"}]
    with pytest.raises(la.DataError, match=re.escape("Write {field: column}: columns={'text': 'sentence'}.")):
        data.read(rows, columns={"sentence": "text"})
    with pytest.raises(la.DataError, match=r"Columns: sentence, mark\.$"):
        data.read(rows, columns={"text": "body"})


def test_a_folder_and_wrong_columns_are_refused(tmp_path):
    with pytest.raises(la.DataError, match="is a folder"):
        data.read(tmp_path)
    with pytest.raises(la.DataError, match=r"no column 'sentense' in data\. Did you mean 'sentence'\?"):
        data.read([{"sentence": "a"}], columns={"text": "sentense"})
    with pytest.raises(la.DataError, match="the field 'txt', which task 'classification' does not have"):
        Classification().read([{"text": "a"}], columns={"txt": "text"})


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        (Classification, [], "labels is empty"),
        (Classification, "refund", "labels='refund' is one text"),
        (Classification, ["a", 1], "labels holds values of type int, str"),
        (Classification, ["a", "a"], "names 'a' twice"),
        (NER, [1, 2], "entity types are names"),
        (NER, ["O"], "names no entity type"),
        (Classification, ["a"], "There is only one label, 'a'"),
    ],
)
def test_bad_labels_are_refused(task, labels, message):
    with pytest.raises(la.LightAdaptError) as caught:
        task(labels=labels)
    assert message in str(caught.value)


def test_a_hyphen_in_a_type_is_part_of_its_name():
    task = NER().with_labels(["E-MAIL", "S-CLASS"])
    assert task.labels == ("E-MAIL", "S-CLASS")
    assert task.labels_of(task.outputs()) == task.labels


def test_an_unknown_label_names_the_record_and_the_nearest():
    task = Classification(labels=["refund", "delivery"])
    records = task.read([{"text": "a", "label": "refund"}, {"text": "b", "label": "refnd"}])
    with pytest.raises(la.DataError, match=r"Record 1: label 'refnd' is not among the labels. Did you mean 'refund'\?"):
        task.check_answers(task.parse(records), records)
    ner = NER(labels=["PER"])
    records = ner.read([{"text": "Ann", "entities": [entity(0, 3, "PRE")]}])
    with pytest.raises(la.DataError, match=r"the entity 'Ann' has the type 'PRE'.*Did you mean 'PER'\?"):
        ner.check_answers(ner.parse(records), records)
