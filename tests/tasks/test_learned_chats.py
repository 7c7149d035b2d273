"""A model that learned conversations takes a text for what a user says, and is asked as in training."""

from __future__ import annotations

import copy
import warnings

import pytest

import lightadapt as la
from lightadapt.tasks.encoding.learned_chats import FittedChats, chats_in

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% if quiet %}quiet {% endif %}{% endif %}"
)
SYSTEM = {"role": "system", "content": "be kind"}


def chat(question="where is it", *, system="be kind", **beside):
    first = [] if system is None else [{"role": "system", "content": system}]
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": "in Rome"}]
    return {"messages": [*first, *turns], **beside}


def learned(records):
    task = la.Generation()
    return chats_in(task.parse(task.read(records)))


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([chat(), chat("who")], FittedChats(chats=True, system="be kind")),
        ([chat(), chat(system="be short")], FittedChats(chats=True)),
        ([chat(), chat(system=None)], FittedChats(chats=True)),
        ([chat(system=None)], FittedChats(chats=True)),
        ([chat(chat_template_kwargs={"quiet": True})] * 2, FittedChats(True, "be kind", {"quiet": True})),
        ([chat(chat_template_kwargs={"quiet": True}), chat()], FittedChats(True, "be kind")),
        ([chat(), {"prompt": "a", "completion": "b"}], FittedChats()),
        ([{"text": "a b c"}], FittedChats()),
    ],
)
def test_what_all_conversations_share_is_kept(records, expected):
    assert learned(records) == expected


@pytest.fixture
def trained(tiny, tokenizers):
    def make(records, name="llama", task=la.Generation):
        tokenizer = copy.deepcopy(tokenizers(name))
        tokenizer.chat_template = TEMPLATE
        model = la.adapt(tiny(name), task(max_new_tokens=4), tokenizer=tokenizer, dtype="float32")
        model.fit(records, epochs=1)
        return model

    return make


def prompt_of(model, item):
    """What the model is given for an input of `predict`."""
    task = model.task
    records = task.read([task.as_record(item)], labelled=False)
    (feature,) = task.encode(task.parse(records, labelled=False), model.runner.view, targets=False).features
    return model.tokenizer.decode(feature.prompt).removeprefix("[CLS]")


@pytest.mark.parametrize("task", [la.Generation, la.Dialogue])
def test_a_text_is_asked_as_in_training(trained, task):
    model = trained([chat("where is it", chat_template_kwargs={"quiet": True})] * 4, task=task)
    asked = prompt_of(model, "where is it")
    records = model.task.read([chat("where is it", chat_template_kwargs={"quiet": True})])
    (feature,) = model.task.encode(model.task.parse(records), model.runner.view, targets=True).features
    whole = model.tokenizer.decode(feature.inputs["input_ids"])
    assert whole.removeprefix("[CLS]").startswith(asked.rstrip())
    assert whole.count("quiet") == 1
    assert asked.rstrip().endswith("[assistant] quiet")
    assert "be kind" in asked
    own = [{"role": "user", "content": "where is it"}]
    assert "be kind" not in prompt_of(model, own)  # messages are taken as they are


def test_it_is_kept_in_the_artifact(trained, tmp_path):
    model = trained([chat("where is it")] * 4)
    model.save(tmp_path / "saved")
    again = la.load(tmp_path / "saved")
    assert again.task.fitted == model.task.fitted == FittedChats(chats=True, system="be kind")
    assert prompt_of(again, "where is it") == prompt_of(model, "where is it")
    options = {"max_new_tokens": 4}
    as_messages = [[SYSTEM, {"role": "user", "content": "where is it"}]]
    assert again.predict(["where is it"], options=options) == model.predict(as_messages, options=options)


def test_a_prompt_stays_as_it_is_with_one_warning(trained):
    model = trained([chat("where is it")] * 4)
    assert prompt_of(model, {"prompt": "where is it"}) == "where is it"
    with pytest.warns(
        UserWarning, match="2 of 3 records are prompts and no messages, but this model learned"
    ) as caught:
        model.predict([{"prompt": "where"}, {"prompt": "who"}, chat("where")], options={"max_new_tokens": 2})
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "(?s).*prompts and no messages")
        model.predict(["where is it"], options={"max_new_tokens": 2})
        model.check()


def test_prompts_that_are_learned_are_prompts_in_use(trained):
    model = trained([chat("where is it")] * 4)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "(?s).*prompts and no messages")
        model.fit([{"prompt": "where", "completion": "in Rome"}] * 4, epochs=1)
        assert prompt_of(model, "where") == "where"


def test_an_encoder_decoder_is_asked_so_too(tiny):
    model = la.adapt(tiny("t5"), "generation", dtype="float32")
    model.fit([chat("where is it")] * 4, epochs=1)
    assert model.task.as_record("where is it")["messages"][-1] == {"role": "user", "content": "where is it"}
    assert prompt_of(model, "where is it") == prompt_of(model, [SYSTEM, {"role": "user", "content": "where is it"}])
