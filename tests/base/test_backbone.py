"""One backbone, many adaptations: nothing is read twice, each computes what it would alone, and each can go."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

import lightadapt as la
from lightadapt.adaptation import assembly
from lightadapt.base import backbone
from lightadapt.errors import NoAdaptationError

TEXTS = ["I want my money back", "Where is the parcel?", "hello"]


def stir(adapted, seed=0):
    """Move what is trained away from its start."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in adapted.model.parameters():
            if parameter.requires_grad:
                parameter += torch.randn_like(parameter) * 0.05
    return adapted


@pytest.fixture
def saved(tiny, tmp_path):
    """The folder of a saved adaptation of a tiny model, and what it predicts."""

    def make(task, method, name="bert", folder="saved", **options):
        options = {"labels": ["A", "B", "C"]} | options if task in ("classification", "ner") else options
        adapted = stir(la.adapt(tiny(name), task, method, **options), seed=len(folder))
        adapted.save(tmp_path / folder)
        return tmp_path / folder, adapted.predict(TEXTS)

    return make


@pytest.fixture
def no_file(monkeypatch):
    """A checkpoint that is read by its name fails the test."""
    inner = PreTrainedModel.from_pretrained.__func__

    def load(cls, name=None, *args, **options):
        assert name is None, "the checkpoint was read again"
        return inner(cls, name, *args, **options)

    return lambda: monkeypatch.setattr(PreTrainedModel, "from_pretrained", classmethod(load))


CASES = [
    ("bert", "classification", "lora"),
    ("bert", "ner", "houlsby"),
    ("bert", "regression", "bitfit"),
    ("roberta", "ner", "prefix"),
    ("modernbert", "classification", "ia3"),
    ("gpt2", "classification", "prompt"),
    ("gpt2", "generation", "lora"),
    ("t5", "summarization", "lora"),
    ("bert", "classification", "probe"),
]


@pytest.mark.parametrize(("name", "task", "method"), CASES)
def test_a_saved_adaptation_on_a_base_in_memory_gives_what_it_gives_alone(tiny, saved, no_file, name, task, method):
    folder, expected = saved(task, method, name)
    first = "classification" if name != "t5" else "translation"
    adapted = stir(la.adapt(tiny(name), first, "lora", **({"labels": ["x", "y"]} if name != "t5" else {})))
    before = adapted.predict(TEXTS)
    no_file()
    assert la.load(folder, onto=adapted, name="other") is adapted
    assert adapted.names == ["default", "other"]
    assert adapted.predict(TEXTS, adapter="other") == expected
    assert adapted.predict(TEXTS) == before
    assert adapted.use("other").predict(TEXTS) == expected


def test_frozen_weights_exist_once(tiny, saved):
    folder, _ = saved("ner", "lora")
    adapted = la.adapt(tiny("bert"), "classification", labels=["x", "y"])
    la.load(folder, onto=adapted)
    adapted.add("third", task="regression", method="probe")
    assert adapted.names == ["default", "saved", "third"]
    places = []
    for name in adapted.names:
        adaptation = adapted.use(name).runner.adaptation
        learned = adaptation.all_trained
        named = dict(adapted.model.named_parameters())
        places.append({each.data_ptr() for path, each in named.items() if path not in learned})
    adapters = set().union(
        *({p.data_ptr() for p in adapted.use(n).model.parameters() if p.requires_grad} for n in adapted.names)
    )
    one, two, three = (each - adapters for each in places)
    assert two <= one  # NER computes no pooler
    assert one == three


@pytest.mark.parametrize("quantize", ["4bit", "8bit"])
def test_quantized_weights_exist_once_too(tiny, no_file, quantize):
    pytest.importorskip("bitsandbytes")
    alone = stir(la.adapt(tiny("bert"), "ner", labels=["A"], quantize=quantize, dtype="float32"))
    adapted = la.adapt(tiny("bert"), "classification", labels=["x", "y"], quantize=quantize, dtype="float32")
    no_file()
    adapted.add("ner", task="ner", labels=["A"])
    stir(adapted.use("ner"))
    assert adapted.predict(TEXTS) == alone.predict(TEXTS)
    assert adapted.runner.adaptation.base.fingerprint == alone.runner.adaptation.base.fingerprint


def test_another_base_is_refused_and_changes_nothing(tiny, saved, tmp_path):
    folder, _ = saved("ner", "lora")
    other = AutoModelForSequenceClassification.from_pretrained(tiny("bert"))
    with torch.no_grad():
        other.bert.encoder.layer[0].output.dense.weight += 1
    other.save_pretrained(tmp_path / "other")
    la.adapt(tiny("bert"), "ner", labels=["A"]).tokenizer.save_pretrained(tmp_path / "other")
    adapted = stir(la.adapt(tmp_path / "other", "classification", labels=["x", "y"]))
    before, names = adapted.predict(TEXTS), set(adapted.model.state_dict())
    with pytest.raises(la.ArtifactError, match="another base"):
        la.load(folder, onto=adapted)
    assert adapted.names == ["default"]
    assert adapted.predict(TEXTS) == before
    assert set(adapted.model.state_dict()) == names


def test_what_contradicts_itself_is_refused(tiny, saved):
    folder, _ = saved("ner", "lora")
    adapted = la.adapt(tiny("bert"), "classification", labels=["x", "y"])
    with pytest.raises(la.LightAdaptError, match=r"device='cpu' and onto=…: the base is that of onto"):
        la.load(folder, onto=adapted, device="cpu")
    with pytest.raises(la.LightAdaptError, match="give onto="):
        la.load(folder, name="other")
    with pytest.raises(la.LightAdaptError, match=r"name=.default.\): give a new name"):
        la.load(folder, onto=adapted, name="default")
    with pytest.raises(la.LightAdaptError, match=r"There is no adaptation 'defualt'. Did you mean 'default'"):
        adapted.predict(TEXTS, adapter="defualt")
    with pytest.raises(la.LightAdaptError, match="2 names for 3 inputs"):
        adapted.predict(TEXTS, adapter=["default", "default"])
    with pytest.raises(la.LightAdaptError, match="the only adaptation"):
        adapted.remove("default")
    with pytest.raises(la.LightAdaptError, match="adapter=3: give a name"):
        adapted.predict(TEXTS, adapter=3)
    with pytest.raises(la.LightAdaptError, match="There is no adaptation"):
        adapted.predict(TEXTS, adapter=[["default"]] * 3)
    with pytest.raises(la.LightAdaptError, match="onto is a str"):
        la.load(folder, onto="default")
    with pytest.raises(la.LightAdaptError, match="give a list of names"):
        adapted.add_labels("warranty")
    for name in ("training", "_parameters", "items"):
        with pytest.raises(la.LightAdaptError, match="torch uses this name itself"):
            adapted.rename("default", name)
        with pytest.raises(la.LightAdaptError, match="torch uses this name itself"):
            adapted.add(name)


@pytest.fixture
def three(tiny, saved):
    """Three adaptations on one base, and what each predicts."""
    adapted = stir(la.adapt(tiny("bert"), "classification", labels=["x", "y"]))
    found = {"default": adapted.predict(TEXTS)}
    for task, method in (("ner", "lora"), ("classification", "houlsby")):
        folder, found[task] = saved(task, method, folder=task)
        la.load(folder, onto=adapted, name=task)
    return adapted, found


def test_each_input_can_name_who_answers(three):
    adapted, found = three
    learning = {name for name, each in adapted.model.named_parameters() if each.requires_grad}
    names = ["ner", "default", "classification"]
    asked = [adapted.predict([text], adapter=name)[0] for text, name in zip(TEXTS, names, strict=True)]
    (entities, *labels), (alone, *others) = adapted.predict(TEXTS, adapter=names), asked
    assert labels == others
    assert [{**each, "score": None} for each in entities] == [{**each, "score": None} for each in alone]
    assert [each["score"] for each in entities] == pytest.approx([each["score"] for each in alone], abs=1e-4)
    assert asked[1:] == [found["default"][1], found["classification"][2]]
    assert adapted.predict(TEXTS) == found["default"]
    assert {name for name, each in adapted.model.named_parameters() if each.requires_grad} == learning
    assert all(name.startswith("classifier") or "default" in name for name in learning)


@pytest.mark.parametrize("gone", ["default", "ner", "classification"])
def test_one_that_is_removed_leaves_the_others_as_they_are(three, tmp_path, gone):
    adapted, found = three
    runner = adapted.use(gone).runner
    weights = [weakref.ref(runner.model.get_parameter(name)) for name in runner.adaptation.all_trained]
    assert weights
    del runner
    adapted.remove(gone)
    gc.collect()
    assert not [each for each in weights if each() is not None]
    assert gone not in adapted.names
    for name in adapted.names:
        assert adapted.predict(TEXTS, adapter=name) == found[name]
    assert not [name for name in adapted.model.state_dict() if f".{gone}." in name]
    adapted.use(adapted.names[-1]).save(tmp_path / "left")
    assert la.load(tmp_path / "left").predict(TEXTS) == found[adapted.names[-1]]
    adapted.add(gone, task="ner", labels=["A"])
    assert len(adapted.predict(TEXTS, adapter=gone)) == len(TEXTS)


def test_another_name_changes_nothing_else(three, tmp_path):
    adapted, found = three
    adapted.rename("default", "first")
    assert adapted.names == ["first", "ner", "classification"]
    for name, expected in found.items():
        assert adapted.predict(TEXTS, adapter="first" if name == "default" else name) == expected
    adapted.save(tmp_path / "first")
    assert la.load(tmp_path / "first").predict(TEXTS) == found["default"]
    with pytest.raises(la.LightAdaptError, match="Taken: first, ner, classification"):
        adapted.rename("first", "ner")


def test_many_threads_get_what_one_gets(three):
    adapted, found = three
    wrong: list[str] = []

    def ask(name):
        for turn in range(8):
            given = adapted.predict(TEXTS, adapter=name) if turn % 2 else adapted.use(name).predict(TEXTS)
            if given != found[name]:
                wrong.append(name)

    threads = [threading.Thread(target=ask, args=(name,)) for name in found for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert adapted.predict(TEXTS) == found["default"]  # what other threads chose is theirs


def test_where_the_thread_that_made_it_has_ended_the_main_one_chooses(tiny):
    made = []
    maker = threading.Thread(target=lambda: made.append(la.adapt(tiny("bert"), "classification", labels=["x", "y"])))
    maker.start()
    maker.join()
    (adapted,) = made
    adapted.add("ner", task="ner", labels=["A"])
    adapted.use("ner")
    seen = []
    for action in (lambda: adapted.use("default"), lambda: seen.append(adapted.labels)):
        thread = threading.Thread(target=action)
        thread.start()
        thread.join()
    assert seen == [["A"]] == [adapted.labels]
    assert all(each.requires_grad for each in adapted.model.get_submodule("classifier").parameters())


def test_labels_that_are_added_leave_the_others_their_values(tiny):
    for task in ("classification", "multilabel", "ner"):
        adapted = stir(la.adapt(tiny("bert"), task, labels=["A", "B"]))
        outputs = adapted.runner.outputs
        head = adapted.model.get_submodule("classifier")
        before = dict(zip(outputs, head.weight.detach().clone(), strict=True))
        adapted.add_labels(["C"])
        assert adapted.labels == ["A", "B", "C"]
        head = adapted.model.get_submodule("classifier")
        after = dict(zip(adapted.runner.outputs, head.weight.detach(), strict=True))
        assert len(after) > len(before)
        assert all(torch.equal(after[name], row) for name, row in before.items())
        assert head.weight.requires_grad
        assert len(adapted.predict(TEXTS)) == len(TEXTS)
        with pytest.raises(la.LightAdaptError, match="'C' twice"):
            adapted.add_labels(["C"])


def test_a_head_that_knows_its_labels_in_another_order_learns_the_right_ones(tiny, tmp_path):
    trained = AutoModelForSequenceClassification.from_pretrained(
        tiny("bert"), id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1}
    )
    trained.save_pretrained(tmp_path)
    first = la.adapt(tiny("bert"), "classification", labels=["x", "y"])
    first.tokenizer.save_pretrained(tmp_path)
    adapted = la.adapt(tmp_path, "classification", labels=["yes", "no"])
    records = [{"text": f"good {n}", "label": "yes"} for n in range(12)] + [
        {"text": f"late {n}", "label": "no"} for n in range(12)
    ]
    assert adapted.runner.outputs == ("no", "yes")
    adapted.fit(records, epochs=12, learning_rate=1e-2, args={"disable_tqdm": True})
    assert adapted.evaluate(records)["accuracy"] > 0.9


def test_only_what_is_nowhere_yet_is_read_from_the_file(tiny, monkeypatch):
    adapted = la.adapt(tiny("bert"), "ner", labels=["A"])  # every projection is below a layer of PEFT by now
    read: list[str] = []
    look = backbone.stray_tensors

    def note(*args):
        found = look(*args)
        read.extend(found)
        return found

    monkeypatch.setattr(backbone, "stray_tensors", note)
    adapted.add("topics", task="classification", labels=["x", "y"])
    assert sorted(read) == ["pooler.dense.bias", "pooler.dense.weight"]
    adapted.add("others", task="classification", labels=["x", "y", "z"])
    assert len(read) == 2


def test_an_error_names_the_input_among_all(tiny):
    adapted = la.adapt(tiny("bert"), "classification", labels=["x", "y"])
    adapted.add("other")
    with pytest.raises(la.DataError, match="Record 2"):
        adapted.predict(["fine", "fine", {"text": 7}], adapter=["default", "other", "default"])


def test_one_that_was_removed_meanwhile_does_not_answer(three):
    adapted, _ = three
    gone = adapted._several.named("ner")
    adapted.remove("ner")
    with pytest.raises(NoAdaptationError, match="'ner' was removed meanwhile"), adapted._several.computing(gone):
        pass


def test_another_that_learns_is_the_only_one(three):
    adapted, found = three
    with adapted._several.computing(adapted._several.named("ner"), learning=True) as runner:
        learning = {name for name, each in runner.model.named_parameters() if each.requires_grad}
        assert learning == runner.adaptation.all_trained
    mine = adapted.runner.adaptation
    assert {name for name, each in adapted.model.named_parameters() if each.requires_grad} == mine.all_trained
    assert adapted.predict(TEXTS) == found["default"]


@pytest.mark.parametrize("broken", ["Runner", "restore"])
def test_what_fails_half_way_leaves_all_as_it_was(three, saved, monkeypatch, broken):
    adapted, found = three
    folder, expected = saved("ner", "prefix", folder="late")
    names = set(adapted.model.state_dict())
    with monkeypatch.context() as patched:
        patched.setattr(assembly, broken, lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            la.load(folder, onto=adapted)
    assert set(adapted.model.state_dict()) == names
    for name, before in found.items():
        assert adapted.predict(TEXTS, adapter=name) == before
    assert la.load(folder, onto=adapted).predict(TEXTS, adapter="late") == expected
