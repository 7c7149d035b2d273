"""Properties that every task has on every family of models that serves it; one line each over one table."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from learned import near, stir, trainable, without_dropout
from task_records import KINDS, RECORDS

import lightadapt as la
from lightadapt.tasks import TASKS, LabelledTask, ModelView, resolve_task
from lightadapt.tasks.generation import Inferred

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


def test_the_table_holds_every_task():
    assert RECORDS.keys() == TASKS.keys()
    assert set().union(*TABLE.values()) == TASKS.keys()


def answers(adapted, records):
    options = {"max_new_tokens": 5} if adapted.task.name in WRITES else None
    return adapted.predict(records, scores=True, options=options)


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_few_steps_lower_the_loss_and_reach_every_trained_tensor(settled, name, task):
    adapted, examples = settled(name, task)
    model = adapted.model.train()
    without_dropout(model)
    batch = adapted.runner.collate(adapted.runner.encode(examples, targets=True))
    objective = adapted.task.objective(examples, adapted.runner.view) or (lambda model, batch: model(**batch).loss)
    before = copy.deepcopy(dict(model.named_parameters()))
    optimizer = torch.optim.Adam(trainable(adapted.model).values(), lr=1e-2)
    losses = []
    for _ in range(5):
        loss = objective(model, batch)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]
    moved = {entry for entry, p in model.named_parameters() if not torch.equal(p, before[entry])}
    assert moved == trainable(adapted.model).keys()


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_batch_gives_what_one_by_one_gives_and_a_reload_the_same_bits(settled, tmp_path, name, task):
    adapted, _ = settled(name, task)
    stir(trainable(adapted.model).values())
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
    assert [feature.targets for feature in unseen] == [{}] * len(unseen) != []
    if name in WRITES:
        assert [f.prompt for f in seen if f.prompt is not None] == [f.prompt for f in unseen]
    elif not (name == "multiple-choice" and family != "encoder"):
        assert [f.inputs for f in seen] == [f.inputs for f in unseen]
