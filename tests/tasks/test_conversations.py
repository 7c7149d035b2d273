"""Of a chat just the assistant's words are learned, behind the prompt of use; what a record says beside them counts."""

from __future__ import annotations

import pytest

import lightadapt as la
from lightadapt.tasks import ModelView
from lightadapt.tasks.decoding.writing import Inferred
from lightadapt.tasks.dialogue import Dialogue

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SYSTEM_LAST = (
    "{% set ns = namespace(system='') %}{% for m in messages %}"
    "{% if m.role == 'system' %}{% set ns.system = m.content %}"
    "{% elif m.role == 'user' %}[ASK]{{ ns.system + ' ' if loop.last and ns.system else '' }}{{ m.content }}[/ASK]"
    "{% else %} {{ m.content }}<|im_end|>{% endif %}{% endfor %}"
)
OPENS_THOUGHT = CHATML.replace("{{ m.content }}", "{{ m.content.split('</think>')[-1].lstrip() }}").replace(
    "assistant\n{% endif %}", "assistant\n<think>\n{% endif %}"
)
DROPS_THOUGHT = CHATML.replace("{{ m.content }}", "{{ m.content.split('</think>')[-1].lstrip() }}")
SAYS_MORE = CHATML + "{% if not add_generation_prompt %}now you{% endif %}"
WITH_ALL = (
    "{% if tools %}TOOLS {{ tools[0].name }};{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content %}({{ m.reasoning_content }}){% endif %}{{ m.content }}"
    "{% for call in m.tool_calls or [] %}CALL {{ call.name }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if quiet %}QUIET {% endif %}{% endif %}"
)
ASK = {"role": "user", "content": "where is the parcel"}
ANSWER = {"role": "assistant", "content": "in Rome"}
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nin Rome"}
SYSTEM = {"role": "system", "content": "be kind"}


def encoded(record, tokenizer, *, targets=True, family="decoder"):
    task = Dialogue()
    examples = task.parse(task.read([record], labelled=targets), labelled=targets)
    return task.encode(examples, ModelView(tokenizer, 400, family), targets=targets).features


def parts(feature, tokenizer):
    """What comes before the last stretch that is learned, and that stretch, as texts."""
    ids, labels = feature.inputs["input_ids"], feature.targets["labels"]
    start = max(at for at in range(1, len(ids)) if labels[at] >= 0 and labels[at - 1] < 0)
    end = next((at for at in range(start, len(ids)) if labels[at] < 0), len(ids))
    return tokenizer.decode(ids[:start]), tokenizer.decode(ids[start:end])


def learned(feature, tokenizer):
    """The texts of all the stretches that are learned."""
    text, labels = [], [-100, *feature.targets["labels"]]
    for place, label in enumerate(labels[1:], 1):
        if label >= 0 and labels[place - 1] < 0:
            text.append([])
        if label >= 0:
            text[-1].append(label)
    return [tokenizer.decode(run).strip() for run in text]


@pytest.mark.parametrize(
    ("template", "messages", "said"),
    [
        (SYSTEM_LAST, [SYSTEM, ASK, ANSWER], "in Rome<|im_end|>"),
        (SYSTEM_LAST, [SYSTEM, ASK, ANSWER, ASK, ANSWER], "in Rome<|im_end|>"),
        (OPENS_THOUGHT, [ASK, THOUGHT], "hm\n</think>\n\nin Rome<|im_end|>"),
        (OPENS_THOUGHT, [ASK, ANSWER, ASK, THOUGHT], "hm\n</think>\n\nin Rome<|im_end|>"),
        (OPENS_THOUGHT, [ASK, ANSWER], "in Rome<|im_end|>"),
        (DROPS_THOUGHT, [ASK, THOUGHT], "<think>\nhm\n</think>\n\nin Rome<|im_end|>"),
        (SAYS_MORE, [ASK, ANSWER], "in Rome<|im_end|>"),
        (CHATML, [SYSTEM, ASK, ANSWER, ASK, THOUGHT], "<think>\nhm\n</think>\n\nin Rome<|im_end|>"),
    ],
)
def test_the_reply_and_nothing_else_is_learned_behind_the_prompt_of_use(chatting, template, messages, said):
    tokenizer = chatting(template)
    feature = encoded({"messages": messages}, tokenizer)[-1]
    before, after = parts(feature, tokenizer)
    (asked,) = encoded({"messages": messages}, tokenizer, targets=False)
    assert before == tokenizer.decode(asked.prompt)
    assert after.strip() == said


def test_a_template_that_writes_the_system_message_last_asks_anew_for_each_reply(chatting):
    tokenizer = chatting(SYSTEM_LAST)
    features = encoded({"messages": [SYSTEM, ASK, THOUGHT, ASK, ANSWER]}, tokenizer)
    shown = [(tokenizer.decode(f.inputs["input_ids"]).count("be kind"), learned(f, tokenizer)) for f in features]
    assert shown == [(1, ["<think>\nhm\n</think>\n\nin Rome<|im_end|>"]), (1, ["in Rome<|im_end|>"])]


def test_words_of_the_header_are_not_taken_for_a_greeting(chatting):
    tokenizer = chatting(CHATML)
    greeting = {"role": "assistant", "content": "a"}  # as in the name of its role
    (feature,) = encoded({"messages": [greeting, ASK, ANSWER]}, tokenizer)
    assert learned(feature, tokenizer) == ["a<|im_end|>", "in Rome<|im_end|>"]


@pytest.mark.parametrize("name", ["weight", "train", "training", "loss"])
@pytest.mark.parametrize("off", [0, 0.0, False])
def test_a_message_of_weight_0_is_read_and_not_learned(chatting, name, off):
    tokenizer = chatting(CHATML)
    bad = {"role": "assistant", "content": "at home", name: off}
    messages = [ASK, bad, ASK, {**ANSWER, name: 1}]
    (feature,) = encoded({"messages": messages}, tokenizer)
    assert learned(feature, tokenizer) == ["in Rome<|im_end|>"]
    assert "at home" in tokenizer.decode(feature.inputs["input_ids"])
    (feature,) = encoded({"messages": [*messages, ASK, bad]}, tokenizer)  # what follows the last one is not needed
    assert learned(feature, tokenizer) == ["in Rome<|im_end|>"]
    (asked,) = encoded({"messages": [*messages, ASK, bad]}, tokenizer, targets=False)
    assert asked.prompt == feature.prompt


def test_an_encoder_decoder_learns_no_message_of_weight_0(chatting):
    tokenizer = chatting(CHATML, "t5")
    messages = [ASK, {**ANSWER, "weight": 0}, ASK, {**ANSWER, "content": "at home"}]
    assert len(encoded({"messages": messages}, tokenizer, family="encoder-decoder")) == 1


def test_tools_settings_and_parts_reach_every_prompt(chatting):
    tokenizer = chatting(WITH_ALL)
    calls = {"role": "assistant", "content": None, "tool_calls": [{"name": "track"}]}
    found = {"role": "tool", "content": "Rome", "tool_calls": None}
    ask = {"role": "user", "content": [{"type": "text", "text": "where "}, {"type": "text", "text": "now"}]}
    record = {
        "messages": [ask, calls, found, {**ANSWER, "reasoning_content": "hm"}],
        "tools": [{"name": "track"}],
        "chat_template_kwargs": {"quiet": True, "loud": None},
    }
    features = encoded({**record, "chat_template_kwargs": None}, tokenizer)
    assert [learned(feature, tokenizer) for feature in features] == [["CALL track<|im_end|>", "(hm)in Rome<|im_end|>"]]
    plain = {**record, "messages": [ask, ANSWER]}
    (feature,) = encoded(plain, tokenizer)
    before, after = parts(feature, tokenizer)
    (asked,) = encoded(plain, tokenizer, targets=False)
    assert before == tokenizer.decode(asked.prompt) == tokenizer.decode(feature.prompt)
    assert "TOOLS track;" in before
    assert "where now<|im_end|>" in before
    assert before.endswith("QUIET ")
    assert after.strip() == "in Rome<|im_end|>"


def test_documents_reach_every_prompt(chatting):
    tokenizer = chatting("{% for each in documents or [] %}READ {{ each.text }};{% endfor %}" + CHATML)
    record = {"messages": [ASK, ANSWER], "documents": [{"title": None, "text": "the parcel of Rome"}]}
    (feature,) = encoded(record, tokenizer)
    (asked,) = encoded(record, tokenizer, targets=False)
    before, after = parts(feature, tokenizer)
    assert before == tokenizer.decode(asked.prompt)
    assert before.startswith("READ the parcel of Rome;")
    assert after.strip() == "in Rome<|im_end|>"


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}])
def test_a_call_of_tools_alone_is_learned_and_scored_as_the_template_writes_it(chatting, content):
    tokenizer, task = chatting(WITH_ALL), Dialogue()
    call = {"role": "assistant", "tool_calls": [{"name": "track"}], **content}
    record = {"messages": [ASK, ANSWER, ASK, call]}
    (feature,) = encoded(record, tokenizer)
    assert learned(feature, tokenizer) == ["in Rome<|im_end|>", "CALL track<|im_end|>"]
    (asked,) = encoded(record, tokenizer, targets=False)
    assert feature.prompt == asked.prompt
    examples = task.parse(task.read([record, {"source": "a", "target": "b"}]))
    view = ModelView(tokenizer, 400, "decoder")
    features = task.encode(examples, view, targets=True).features
    written = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("CALL track<|im_end|>", "b")]
    inferred = [Inferred(1.0, 2, ids) for ids in written]
    predictions = task.decode(examples, features, inferred, view)
    assert [prediction.call for prediction in predictions] == ["CALL track", None]
    assert task.score(examples, predictions)[0]["rougeL"] == 1.0
    with pytest.raises(la.DataError, match="message 3 has tool_calls, of which an encoder-decoder would learn nothing"):
        encoded(record, chatting(WITH_ALL, "t5"), family="encoder-decoder")


CALL = {"role": "assistant", "content": "", "tool_calls": [{"name": "track"}]}
REFUSED = [
    ({"messages": [ASK, {**ANSWER, "weight": 0.5}]}, "weight of message 1 is 0.5. Give 1"),
    ({"messages": [{**ASK, "weight": 1}, ANSWER]}, "weight of message 0 is 1, but only what the assistant says"),
    ({"messages": [ASK, {**ANSWER, "weight": 0}]}, "each message of the assistant has the weight 0"),
    ({"messages": [ASK, ANSWER], "tools": "[]"}, "tools is the text '[]'"),
    ({"messages": [ASK, ANSWER], "tools": ["track"]}, "tools holds 'track' (str), not a dict"),
    ({"messages": [ASK, ANSWER], "tools": [{"name": "track"}]}, "it has tools, which the chat template"),
    ({"messages": [ASK, ANSWER], "chat_template_kwargs": {"quiet": True}}, "chat_template_kwargs holds 'quiet'"),
    ({"messages": [ASK, ANSWER], "chat_template_kwargs": {"tokenize": True}}, "which is not a setting of a template"),
    ({"messages": [ASK, ANSWER], "chat_template_kwargs": [1]}, "chat_template_kwargs is [1]. Give a dict"),
    (
        {"source": "a", "target": "b", "tools": [{"name": "track"}]},
        "tools is for the chat template, but the record has",
    ),
    ({"messages": [{**ASK, "role": "User"}, ANSWER]}, "the role of message 0 is 'User'. Did you mean 'user'?"),
    (
        {"messages": [ASK, {**ANSWER, "role": "assistent"}, ASK, ANSWER]},
        "role of message 1 is 'assistent'. Did you mean",
    ),
    ({"messages": [ASK, CALL]}, "message 1 has tool_calls, which the chat template"),
    ({"messages": [ASK, ANSWER], "documents": [{"text": "a"}]}, "it has documents, which the chat template"),
    ({"messages": [ASK, ANSWER], "documents": ["a"]}, "documents holds 'a' (str), not a dict"),
    (
        {"source": "a", "target": "b", "documents": [{"text": "a"}]},
        "documents is for the chat template, but the record",
    ),
    ({"messages": [ASK, CALL, ASK, ANSWER]}, "message 1 has tool_calls, which the chat template"),
    ({"messages": [ASK, {**ANSWER, "reasoning_content": "hm"}]}, "message 1 has reasoning_content, which the chat"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image", "url": "a.png"}]}, ANSWER]},
        "the content of message 0 has a part 'image'. Only texts are read",
    ),
]


@pytest.mark.parametrize(("record", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_cannot_be_honoured_is_refused(chatting, record, message):
    with pytest.raises(la.DataError) as caught:
        encoded(record, chatting(CHATML))
    assert message in str(caught.value)
    assert "Record 0" in str(caught.value)
