"""Properties that every task has on every family of models that serves it; one line each over one table."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

import lightadapt as la
from lightadapt.tasks import TASKS, LabelledTask, ModelView, resolve_task
from lightadapt.tasks.generation import Inferred

LONG = "The parcel is in Rome now, and then " * 8 + "it goes on."
RECORDS = {
    "classification": [
        {"text": "my order is late", "label": "a"},
        {"text": "hello", "text_pair": None, "label": "b"},
        {"text": "where is the parcel of my friend", "label": "c"},
    ],
    "multilabel": [
        {"text": "my order is late", "labels": ["a", "b"]},
        {"text": "hello", "labels": []},
        {"text": "where is the parcel of my friend", "labels": ["b"]},
    ],
    "regression": [
        {"text": "my order is late", "label": 1.5},
        {"text": "hello", "label": 3},
        {"text": "where is the parcel of my friend", "label": -0.5},
    ],
    "ner": [
        {
            "text": "Maria Berg lives in Rome",
            "entities": [{"start": 0, "end": 10, "label": "P"}, {"start": 20, "end": 24, "label": "L"}],
        },
        {"text": "nothing", "entities": []},
    ],
    "qa": [
        {"question": "Where is it?", "context": LONG, "answers": {"text": ["it goes on"], "answer_start": [288]}},
        {"question": "Who?", "context": "Maria wrote it.", "answers": {"text": ["Maria"], "answer_start": [0]}},
        {"question": "When?", "context": "Maria wrote it.", "answers": {"text": [], "answer_start": []}},
    ],
    "relation": [
        {"text": "The <e1>company</e1> makes <e2>chairs</e2>.", "label": "P(e1,e2)"},
        {"text": "The parcel broke the window", "head": [4, 10], "tail": [21, 27], "label": "Other"},
    ],
    "multiple-choice": [
        {"question": "What is it?", "choices": ["a parcel", "a window or a door", "Rome"], "answer": 1},
        {"premise": "It broke.", "question": "why", "choices": ["late", "bad"], "answer": 0},
    ],
    "generation": [
        {"prompt": "my order", "completion": "is late"},
        {"prompt": "where is the", "completion": ["parcel of my friend", "it"]},
    ],
    "summarization": [{"source": "my order", "target": "is late"}, {"source": "where is", "target": "the parcel"}],
    "translation": [
        {"source": "my order", "target": "is late and it is broken"},
        {"source": "where is", "target": "the parcel of my friend"},
    ],
    "dialogue": [
        {
            "messages": [
                {"role": "user", "content": "hello"},
                {"role": "assistant", "content": "where is it"},
                {"role": "user", "content": "Rome"},
                {"role": "assistant", "content": "good"},
            ]
        },
        {"source": "hello there", "target": "where"},
    ],
}
WRITES = ("generation", "summarization", "translation", "dialogue")
READS = tuple(name for name in RECORDS if name not in WRITES)
TABLE = {
    "bert": READS,
    "electra": ("classification", "ner", "multiple-choice"),
    "llama": tuple(RECORDS),
    "gpt2": ("classification", "ner", "qa", "relation", "multiple-choice", "generation"),
    "granite": ("classification", "ner", "qa", "relation"),
    "t5": tuple(name for name in RECORDS if name != "relation"),
    "bart": ("classification", "qa", "multiple-choice", "translation"),
}
"""GPT-2 pads with its end token, Granite has none of transformers' task classes."""
CASES = [pytest.param(name, task, id=f"{name}-{task}") for name, tasks in TABLE.items() for task in tasks]
KINDS = {
    "word": "encoder",
    "byte": "encoder",
    "metaspace": "encoder",
    "llama": "decoder",
    "gpt2": "decoder",
    "t5": "encoder-decoder",
    "bart": "encoder-decoder",
}


def test_the_table_holds_every_task():
    assert RECORDS.keys() == TASKS.keys()
    assert set().union(*TABLE.values()) == TASKS.keys()


@pytest.fixture
def make(tiny):
    """An adaptation whose head is ready, with weights that are not at their start, and records for it."""

    def build(name, task, **options):
        adapted = la.adapt(tiny(name), task, **options)
        examples = adapted.task.parse(adapted.task.read(RECORDS[adapted.task.name]))
        adapted._now.settle(adapted._now.task_of(examples))
        return adapted, examples

    return build


def trainable(adapted):
    return {name: p for name, p in adapted.model.named_parameters() if p.requires_grad}


def stir(adapted):
    """Move what is trained away from its start."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trainable(adapted).values():
            parameter += torch.randn(parameter.shape, generator=generator) * 0.1


def answers(adapted, records):
    options = {"max_new_tokens": 5} if adapted.task.name in WRITES else None
    return adapted.predict(records, scores=True, options=options)


def near(one, other):
    """Equal but for rounding, in numbers wherever they are."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(near, one, other))
    return one == pytest.approx(other, abs=1e-4) if isinstance(one, float) else one == other


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_few_steps_lower_the_loss_and_reach_every_trained_tensor(make, name, task):
    adapted, examples = make(name, task)
    model = adapted.model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = adapted._now.collate(adapted._now.encode(examples, targets=True))
    objective = adapted.task.objective(examples, adapted._now.view) or (lambda model, batch: model(**batch).loss)
    before = copy.deepcopy(dict(model.named_parameters()))
    optimizer = torch.optim.Adam(trainable(adapted).values(), lr=1e-2)
    losses = []
    for _ in range(5):
        loss = objective(model, batch)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]
    moved = {entry for entry, p in model.named_parameters() if not torch.equal(p, before[entry])}
    assert moved == trainable(adapted).keys()


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_batch_gives_what_one_by_one_gives_and_a_reload_the_same_bits(make, tmp_path, name, task):
    adapted, _ = make(name, task)
    stir(adapted)
    records = RECORDS[task]
    together = answers(adapted, records)
    assert near(together, [answers(adapted, [record])[0] for record in records])
    assert len(together) == len(records)
    adapted.save(tmp_path / "saved")
    again = la.load(tmp_path / "saved")
    assert answers(again, records) == together
    assert again.task == adapted.task
    assert str(again) == str(adapted)


def gold(task, features, view):
    """What a model infers that is sure of just the targets."""

    def one(feature):
        targets = feature.targets
        if task.name in WRITES:
            written = [number for number in targets["labels"] if number >= 0]
            return Inferred(0.0, len(written), None if feature.prompt is None else written)
        if task.name == "qa":
            logits = np.zeros((len(feature), 2))
            logits[targets["start_positions"], 0] = logits[targets["end_positions"], 1] = 50.0
            return logits
        if task.name == "multiple-choice":
            return 50.0 * np.eye(len(feature.inputs["input_ids"]))[targets["answer"]]
        if task.name == "regression":
            return np.array([targets["labels"]])
        if task.name == "multilabel":
            return 100.0 * np.array(targets["labels"]) - 50.0
        rows = np.array(targets["labels"])
        return np.where(rows[..., None] == np.arange(len(view.outputs)), 50.0, 0.0)

    return [one(feature) for feature in features]


EXPECTED = {
    **{name: [record["label"] for record in RECORDS[name]] for name in ("classification", "regression")},
    "relation": [record["label"] for record in RECORDS["relation"]],
    "multilabel": [record["labels"] for record in RECORDS["multilabel"]],
    "ner": [[("Maria Berg", "P"), ("Rome", "L")], []],
    "qa": ["it goes on", "Maria", ""],
    "multiple-choice": [1, 0],
    "generation": ["is late", "parcel of my friend"],
    "summarization": ["is late", "the parcel"],
    "translation": ["is late and it is broken", "the parcel of my friend"],
}


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("kind", KINDS)
def test_gold_outputs_decode_to_the_gold(tokenizers, kind, name):
    family = KINDS[kind]
    task = resolve_task(name)
    if family not in task.auto_classes:
        pytest.skip(f"{name} is nothing for an {family}")
    examples = task.parse(task.read(RECORDS[name]))
    if isinstance(task, LabelledTask):
        task = task.with_labels(task.find_labels(examples))
    task = task.prepare(examples, fresh_head=True)
    view = ModelView(tokenizers(kind), 64, family, task.outputs())
    encoded = task.encode(examples, view, targets=True)
    assert encoded.notes == []
    predictions = task.decode(examples, encoded.features, gold(task, encoded.features, view), view)
    shown = [
        task.present(example, prediction, scores=False)
        for example, prediction in zip(examples, predictions, strict=True)
    ]
    if name == "ner":
        shown = [[(entity["text"], entity["label"]) for entity in entities] for entities in shown]
    if name == "qa":
        shown = [answer["text"] for answer in shown]
    if name == "generation":  # of several references any will do
        assert shown[1] in RECORDS[name][1]["completion"]
        shown[1] = EXPECTED[name][1]
    assert shown == EXPECTED[name]
    for key, value in task.score(examples, predictions)[0].items():
        assert value == pytest.approx({"loss": 0, "perplexity": 1, "rmse": 0}.get(key, value))
    headline = task.score(examples, predictions)[0][task.headline]
    assert headline == pytest.approx(0 if task.headline == "loss" else 1 if headline <= 1 else 100)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EXPECTED)
def test_no_answer_is_read_without_targets(tokenizers, kind, name):
    """What is predicted from does not hold the answer: features with and without targets have the same inputs."""
    task = resolve_task(name)
    family = KINDS[kind]
    if family not in task.auto_classes:
        pytest.skip(f"{name} is nothing for an {family}")
    examples = task.parse(task.read(RECORDS[name]))
    blind = task.parse(task.read(RECORDS[name], labelled=False), labelled=False)
    if isinstance(task, LabelledTask):
        task = task.with_labels(task.find_labels(examples))
    view = ModelView(tokenizers(kind), 64, family, task.outputs())
    seen, unseen = (task.encode(form, view, targets=form is examples).features for form in (examples, blind))
    assert all(not feature.targets for feature in unseen)
    if name in WRITES:
        assert [f.prompt for f in seen if f.prompt is not None] == [f.prompt for f in unseen]
    elif not (name == "multiple-choice" and family != "encoder"):
        assert [f.inputs for f in seen] == [f.inputs for f in unseen]


# ---- decoders that classify


@pytest.mark.parametrize("name", ["llama", "gpt2", "granite", "qwen3"])
def test_a_decoder_reads_the_last_real_token_whatever_pads(make, name):
    adapted, _ = make(name, "classification")
    stir(adapted)
    model, ids = adapted.model, adapted.tokenizer.pad_token_id
    end = adapted.tokenizer.eos_token_id
    rows = [[5, 6, 7], [8, end, 9, 10, ids], [11], [end, 12, ids, 13, 14, 15, 16, end]]  # texts that hold the token
    length = max(map(len, rows))
    with torch.no_grad():
        alone = torch.cat([model(torch.tensor([row]), attention_mask=torch.ones(1, len(row))).logits for row in rows])
        bare = torch.cat([model(torch.tensor([row])).logits for row in rows if row[-1] not in (ids, end)])
        for side in ("right", "left"):
            gaps = [length - len(row) for row in rows]
            left = [gap if side == "left" else 0 for gap in gaps]
            padded = [[ids] * a + row + [ids] * (g - a) for row, a, g in zip(rows, left, gaps, strict=True)]
            mask = torch.tensor(
                [[0] * a + [1] * len(r) + [0] * (g - a) for r, a, g in zip(rows, left, gaps, strict=True)]
            )
            places = (mask.cumsum(-1) - 1).clamp(min=0)
            logits = model(torch.tensor(padded), attention_mask=mask, position_ids=places).logits
            torch.testing.assert_close(logits, alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(bare, alone[[0, 2]], atol=1e-5, rtol=1e-4)
    assert alone.std(0).min() > 1e-3  # the rows differ, so the test can fail


def test_the_texts_of_a_batch_may_hold_the_padding_token(make):
    for name in ("llama", "gpt2"):
        adapted, _ = make(name, "classification")
        stir(adapted)
        texts = ["late [SEP]", "my order is late", "[SEP] my parcel [SEP] [SEP]", "hello"]
        together = adapted.predict(texts, scores=True)
        assert near(together, [adapted.predict([text], scores=True)[0] for text in texts])


def test_a_padding_token_is_set_without_a_new_embedding(tiny, tokenizers):
    given = copy.deepcopy(tokenizers("llama"))
    assert given.pad_token is None
    adapted = la.adapt(tiny("llama"), "classification", labels=["a", "b"], tokenizer=given)
    assert given.pad_token is None
    assert adapted.tokenizer.pad_token_id == adapted.model.config.pad_token_id is not None
    assert len(adapted.tokenizer) == len(given)
    assert adapted.model.get_input_embeddings().num_embeddings == 400


# ---- weights, smoothing, long texts


TEXTS = [{"text": f"text {number}", "label": label} for number, label in enumerate("aaaabbc")]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, "balanced", {"a": 0.5, "c": 3.0}])
def test_class_weights_and_smoothing_are_those_of_torch_and_sklearn(tiny, weights, smoothing):
    from sklearn.utils.class_weight import compute_class_weight

    task = la.Classification(labels=["a", "b", "c"], class_weights=weights, label_smoothing=smoothing)
    adapted = la.adapt(tiny("bert"), task, "probe")
    examples = task.parse(task.read(TEXTS))
    batch = adapted._now.collate(adapted._now.encode(examples, targets=True))
    objective = task.objective(examples, adapted._now.view)
    with torch.no_grad():
        logits = adapted.model(**batch).logits
        loss = adapted.model(**batch).loss if objective is None else objective(adapted.model, batch)
    table = {"a": 0.5, "b": 1.0, "c": 3.0} if isinstance(weights, dict) else dict.fromkeys("abc", 1.0)
    if weights == "balanced":
        table = dict(
            zip("abc", compute_class_weight("balanced", classes=np.array(list("abc")), y=list("aaaabbc")), strict=True)
        )
    weight = torch.tensor([table[label] for label in "abc"], dtype=torch.float32)
    expected = torch.nn.functional.cross_entropy(logits, batch["labels"], weight=weight, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)


def test_multilabel_weights_count_presence_against_absence(tiny):
    records = [{"text": "x", "labels": ["a"]}, {"text": "y", "labels": ["a", "b"]}, {"text": "z", "labels": []}]
    adapted = la.adapt(tiny("bert"), la.MultiLabel(labels=["a", "b"], class_weights="balanced", label_smoothing=0.1))
    examples = adapted.task.parse(adapted.task.read(records))
    batch = adapted._now.collate(adapted._now.encode(examples, targets=True))
    with torch.no_grad():
        loss = adapted.task.objective(examples, adapted._now.view)(adapted.model, batch)
        p = torch.sigmoid(adapted.model(**batch).logits)
    target = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]) * 0.9 + 0.05
    weight = torch.tensor([0.5, 2.0])  # absent / present
    expected = -(weight * target * p.log() + (1 - target) * (1 - p).log()).mean()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("task", [la.Classification, la.MultiLabel])
def test_weights_for_labels_that_there_are_not_are_refused(tiny, task):
    with pytest.raises(la.LightAdaptError, match="class_weights names 'd', which is not among the labels"):
        la.adapt(tiny("bert"), task(labels=["a", "b"], class_weights={"d": 2.0})).fit(
            [{"text": "x", "label": "a", "labels": ["a"]}], epochs=1
        )
    for bad in ({"class_weights": {"a": 0}}, {"class_weights": "even"}, {"label_smoothing": 1.0}):
        with pytest.raises(la.LightAdaptError, match=r"class_weights|label_smoothing"):
            task(labels=["a", "b"], **bad)


OVERFLOWING = {
    "classification": la.Classification(labels=["a", "b", "c"]),
    "multilabel": la.MultiLabel(labels=["a", "b"]),
    "regression": la.Regression(),
}


@pytest.mark.parametrize("name", ["bert", "llama"])
@pytest.mark.parametrize("task", OVERFLOWING)
def test_long_texts_are_cut_read_in_windows_or_refused_and_it_is_said_once(make, tokenizers, task, name):
    kind = OVERFLOWING[task]
    long = " ".join(f"word{number}" for number in range(90))
    adapted, _ = make(name, copy.copy(kind))
    stir(adapted)
    limit = adapted._now.max_length
    start = adapted.tokenizer.decode(adapted.tokenizer(long)["input_ids"][:8], skip_special_tokens=True)
    with pytest.warns(UserWarning, match=rf"2 of 3 texts are longer than {limit} tokens; .* sees its start") as caught:
        cut, other, _ = adapted.predict([long, f"{long} and more", start], scores=True)
    assert len(caught) == 1
    assert near(cut, other)  # they differ behind what the model sees
    windows, _ = make(name, type(kind)(**{**kind.settings(), "overflow": "windows"}, **labels_of(kind)))
    stir(windows)
    with pytest.warns(UserWarning, match=r"1 of 1 texts .* is read in windows"):
        (averaged,) = windows.predict([long], scores=True)
    example = windows.task.parse(windows.task.read([{"text": long}], labelled=False), labelled=False)
    features = windows.task.encode(example, windows._now.view, targets=False).features
    assert len(features) > 1
    assert all(len(feature) <= limit for feature in features)
    with torch.no_grad():
        singles = windows.task.infer(windows.model, features, windows._now.view)
    parts = [
        windows.task.decode(example, [feature], [row], windows._now.view)[0]
        for feature, row in zip(features, singles, strict=True)
    ]
    if task == "regression":
        assert averaged == pytest.approx(sum(parts) / len(parts), abs=1e-5)
    else:
        assert averaged == pytest.approx(
            {key: sum(part[key] for part in parts) / len(parts) for key in averaged}, abs=1e-5
        )
    strict, _ = make(name, type(kind)(**{**kind.settings(), "overflow": "error"}, **labels_of(kind)))
    with pytest.raises(
        la.DataError, match=rf"Record 1: the text has \d+ tokens, but the model takes {limit}\. Shorten it"
    ):
        strict.predict([start, long])


def labels_of(task):
    return {"labels": task.labels} if isinstance(task, LabelledTask) else {}


def test_windows_hold_all_of_a_text(tokenizers):
    task = la.Classification(labels=["a", "b"], overflow="windows")
    text = " ".join(f"word{number}" for number in range(90))
    for kind, family in (("word", "encoder"), ("llama", "decoder"), ("t5", "encoder-decoder")):
        view = ModelView(tokenizers(kind), 40, family, task.outputs())
        features = task.encode(task.parse(task.read([{"text": text, "label": "a"}])), view, targets=True).features
        whole = view.tokenizer(text, add_special_tokens=False)["input_ids"]
        specials = set(view.tokenizer.all_special_ids)
        parts = [[number for number in f.inputs["input_ids"] if number not in specials] for f in features]
        position = 0
        for part in parts:
            at = next(p for p in range(position + 1) if whole[p : p + len(part)] == part and p + len(part) > position)
            position = at + len(part)
        assert position == len(whole)
        assert all(feature.targets == {"labels": 0} for feature in features)


@pytest.mark.parametrize("kind", ["word", "llama", "t5"])
def test_a_pair_is_two_parts_in_one_text(tokenizers, kind):
    task = la.Classification(labels=["a", "b"])
    view = ModelView(tokenizers(kind), 64, KINDS[kind], task.outputs())
    records = [
        {"text": "my order", "text_pair": "is late", "label": "a"},
        {"text": "my", "text_pair": "order is late", "label": "a"},
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, other = task.encode(task.parse(task.read(records)), view, targets=True).features
    assert one.inputs["input_ids"] != other.inputs["input_ids"]


def test_a_fresh_multilabel_head_starts_at_how_often_each_label_holds(tiny):
    """With labels as rare as most are, the first steps would else go into that alone."""
    records = [{"text": "late", "labels": ["late"] if number < 2 else []} for number in range(40)]
    adapted = la.adapt(tiny("bert"), la.MultiLabel(labels=["late", "never"]))
    adapted.fit(records, args={"max_steps": 1}, learning_rate=6e-5)
    scores = adapted.predict(["late", "early"], scores=True)
    assert all(row["late"] == pytest.approx(2.5 / 41, abs=0.03) for row in scores)
    assert all(row["never"] == pytest.approx(0.5 / 41, abs=0.02) for row in scores)
    head = adapted.model.classifier.bias.detach().clone()
    adapted.fit(records[:2], args={"max_steps": 1}, learning_rate=6e-5)  # not fresh any more
    assert torch.allclose(adapted.model.classifier.bias, head, atol=1e-3)


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "deberta-v2", "llama"])
def test_a_merged_regression_keeps_its_scale_when_it_is_saved(tiny, tmp_path, name):
    records = [{"text": text, "label": label} for text, label in (("good", 120.0), ("bad", 80.0), ("so so", 97.0))]
    adapted = la.adapt(tiny(name), "regression")
    adapted.fit(records, epochs=1)
    before = adapted.predict(["good", "bad"])
    merged = None
    if name == "llama":  # its head has no bias that could take the mean
        with pytest.warns(UserWarning, match="add it to what the saved model gives"):
            merged = adapted.merge()
    else:
        merged = adapted.merge()
    merged.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    missing = 99.0 if name == "llama" else 0.0
    for text, value in zip(["good", "bad"], before, strict=True):
        inputs = adapted.tokenizer(text, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        assert merged(**inputs).logits.item() == pytest.approx(value, rel=1e-4)
        assert again(**inputs).logits.item() + missing == pytest.approx(value, rel=1e-4)
    assert adapted.predict(["good", "bad"]) == before
