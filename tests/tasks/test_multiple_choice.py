"""One of several answers: any number of choices in a batch, scored by a head or by likelihood."""

from __future__ import annotations

import pytest
import torch
from learned import stir, trainable

import lightadapt as la
from lightadapt.tasks import ModelView, MultipleChoice

RECORDS = [
    {"question": "What is it?", "choices": ["a parcel", "a window or a door of the house", "Rome"], "answer": 1},
    {"premise": "It broke.", "question": "why", "choices": ["late", "bad"], "answer": 0},
    {"premise": "my order", "choices": ["is late", "is here", "was lost by the driver", "is", "late"], "answer": "3"},
]


def stirred(folder, **options):
    adapted = la.adapt(folder, MultipleChoice(**options))
    stir(trainable(adapted.model).values())
    return adapted


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
def test_records_with_different_numbers_of_choices_are_one_batch(tiny, name):
    adapted = stirred(tiny(name))
    together = adapted.predict(RECORDS, scores=True)
    assert [list(shown) for shown in together] == [[0, 1, 2], [0, 1], [0, 1, 2, 3, 4]]
    for record, shown in zip(RECORDS, together, strict=True):
        assert shown == pytest.approx(adapted.predict([record], scores=True)[0], abs=1e-5)
        assert sum(shown.values()) == pytest.approx(1)
    assert adapted.predict(RECORDS) == [max(shown, key=shown.get) for shown in together]


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize("name", ["llama", "gpt2", "granite"])
def test_a_decoder_scores_a_choice_by_the_mean_log_likelihood_of_its_tokens(tiny, name):
    adapted = stirred(tiny(name))
    tokenizer, start = adapted.tokenizer, [1] if name == "llama" else []
    for record, shown in zip(RECORDS[:2], adapted.predict(RECORDS[:2], scores=True), strict=True):
        question = " ".join(part for part in (record.get("premise"), record["question"]) if part)
        scores = []
        for choice in record["choices"]:
            prompt = start + tokenizer(question, add_special_tokens=False)["input_ids"]
            rest = tokenizer(f" {choice}", add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
            with torch.no_grad():
                p = adapted.model(torch.tensor([prompt + rest])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            scores.append(p[torch.arange(len(rest)), rest].mean())
        expected = torch.stack(scores).softmax(0).tolist()
        assert list(shown.values()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.usefixtures("plain_processor")
def test_an_encoder_decoder_scores_a_choice_by_its_loss(tiny):
    adapted = stirred(tiny("t5"))
    tokenizer, record = adapted.tokenizer, RECORDS[0]
    source = torch.tensor([tokenizer(record["question"])["input_ids"]])
    with torch.no_grad():
        losses = [
            adapted.model(input_ids=source, labels=torch.tensor([tokenizer(choice)["input_ids"]])).loss
            for choice in record["choices"]
        ]
    expected = (-torch.stack(losses)).softmax(0).tolist()
    assert list(adapted.predict([record], scores=True)[0].values()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
def test_the_loss_is_the_cross_entropy_of_the_choices(tiny, name):
    adapted = stirred(tiny(name))
    task, view = adapted.task, adapted.runner.view
    examples = task.parse(task.read(RECORDS))
    features = adapted.runner.encode(examples, targets=True)
    with torch.no_grad():
        loss = task.objective(examples, view)(adapted.model, adapted.runner.collate(features)).item()
    shown = adapted.predict(RECORDS, scores=True)
    chosen = torch.tensor([shown[0][1], shown[1][0], shown[2][3]])
    assert loss == pytest.approx(-chosen.log().mean().item(), abs=1e-4)


@pytest.mark.parametrize("kind", ["word", "llama", "t5"])
def test_a_long_question_loses_its_start_and_no_choice(tokenizers, kind):
    family = {"word": "encoder", "llama": "decoder", "t5": "encoder-decoder"}[kind]
    task = MultipleChoice()
    record = {"question": "begin " + "word " * 90 + "ende", "choices": ["first one", "the other"], "answer": 0}
    examples = task.parse(task.read([record, RECORDS[0]]))
    view = ModelView(tokenizers(kind), 40, family)
    encoded = task.encode(examples, view, targets=True)
    assert encoded.notes == ["1 of 2 records are longer than 40 tokens; the start of the question is left out."]
    for row, labels, choice in zip(
        encoded.features[0].inputs["input_ids"],
        encoded.features[0].inputs.get("labels", [None, None]),
        record["choices"],
        strict=True,
    ):
        assert len(row) <= 40
        text = "".join(view.tokenizer.decode(row, skip_special_tokens=True).split())
        assert "begin" not in text
        assert "ende" in text
        learned = (
            text if labels is None else view.tokenizer.decode([n for n in labels if n >= 0], skip_special_tokens=True)
        )
        assert choice.replace(" ", "") in learned.replace(" ", "")
    with pytest.raises(
        la.DataError, match=r"Record 0: it is longer than the 40 tokens that the model takes\. Shorten it"
    ):
        MultipleChoice(overflow="error").encode(examples, view, targets=True)


BAD = [
    ({"question": "a", "choices": ["x"], "answer": 0}, "Record 0: choices holds 1. Give two or more."),
    ({"question": "a", "choices": "xy", "answer": 0}, "Record 0: choices is 'xy' (str), not a list"),
    ({"question": "a", "choices": ["x", ""], "answer": 0}, "Record 0: the choice '' is empty or not a text"),
    ({"question": "a", "choices": ["x", 5], "answer": 0}, "Record 0: the choice 5 is empty or not a text"),
    (
        {"question": "a", "choices": ["x", "y"], "answer": 2},
        "Record 0: answer is 2. Give the index of the right choice, 0 to 1",
    ),
    ({"question": "a", "choices": ["x", "y"], "answer": "y"}, "Record 0: answer is 'y'"),
    ({"question": "a", "choices": ["x", "y"], "answer": True}, "Record 0: answer is True"),
    ({"question": "a", "choices": ["x", "y"]}, "Record 0: the field 'answer' is missing"),
    ({"choices": ["x", "y"], "answer": 0}, "Record 0: the field 'question' is missing"),
]


@pytest.mark.parametrize(("record", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_records_are_refused(record, message):
    with pytest.raises(la.DataError) as caught:
        MultipleChoice().parse(MultipleChoice().read([record]))
    assert message in str(caught.value)
