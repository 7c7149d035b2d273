"""What follows a text: just that is learned, to its end, and prompts are in training what they are in use."""

from __future__ import annotations

import pytest
import torch
from learned import stir, trainable
from tiny_models import ENCODER_DECODERS
from transformers import MBart50Tokenizer

import lightadapt as la
from lightadapt.tasks import Dialogue, Generation, ModelView, Summarization, Translation

DECODERS = ("llama", "gpt2")
PAIRS = [
    {"prompt": "my order", "completion": "is late"},
    {"prompt": "where is the parcel of my friend who lives in Leeds", "completion": "here"},
    {"prompt": "hello ", "completion": ["where is it", "who is there, and why"]},
]


def examples_of(task, records, labelled=True):
    return task.parse(task.read(records, labelled=labelled), labelled=labelled)


def encode(task, tokenizer, records, family="decoder", max_length=66, targets=True):
    view = ModelView(tokenizer, max_length, family)
    return task.encode(examples_of(task, records, targets), view, targets=targets)


def learned(feature, tokenizer):
    return tokenizer.decode([number for number in feature.targets["labels"] if number >= 0])


@pytest.fixture
def stirred(tiny):
    """An adaptation of a tiny language model, away from its start so that it says more than one word."""

    def build(name, task="generation"):
        adapted = la.adapt(tiny(name), task)
        stir(trainable(adapted.model).values(), 0.3)
        return adapted

    return build


# ---- what is learned


@pytest.mark.parametrize("kind", DECODERS)
def test_only_the_completion_and_its_end_are_learned(tokenizers, kind):
    tokenizer = tokenizers(kind)
    features = encode(Generation(), tokenizer, PAIRS).features
    assert [learned(feature, tokenizer) for feature in features] == [
        " is late[SEP]",
        " here[SEP]",
        " where is it[SEP]",
        " who is there, and why[SEP]",
    ]
    for feature in features:
        labels, ids = feature.targets["labels"], feature.inputs["input_ids"]
        first = next(place for place, label in enumerate(labels) if label >= 0)
        assert labels == [-100] * first + ids[first:]
        assert labels[-1] == tokenizer.eos_token_id
        assert (ids[0] == 1) == (kind == "llama")


@pytest.mark.parametrize("kind", DECODERS)
def test_padding_is_never_learned_and_the_end_always_is_when_they_are_one_token(tiny, kind):
    adapted = la.adapt(tiny(kind), "generation")
    features = adapted.runner.encode(examples_of(adapted.task, PAIRS), targets=True)
    batch = adapted.runner.collate(features)
    end = adapted.tokenizer.eos_token_id
    assert adapted.tokenizer.pad_token_id == (end if kind == "gpt2" else 0)
    assert ((batch["labels"] == end).sum(-1) == 1).all()
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()
    total = sum(adapted.model(**adapted.runner.collate([feature])).loss * count(feature) for feature in features)
    expected = total / sum(map(count, features))
    torch.testing.assert_close(adapted.model(**batch).loss, expected, atol=1e-5, rtol=1e-5)
    scores = adapted.evaluate(PAIRS)
    assert scores["loss"] == pytest.approx(expected.item(), abs=1e-4)
    assert scores["perplexity"] == pytest.approx(expected.exp().item(), rel=1e-3)


def count(feature):
    return sum(label >= 0 for label in feature.targets["labels"])


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("prompt", ["a b", "a b ", "a b\n", "a:\n\n", "é漢 ", "[SEP] x"])
@pytest.mark.parametrize("completion", ["yes", " yes", "\nyes", "ünd"])
def test_a_prompt_is_the_same_tokens_in_training_and_in_use(tokenizers, kind, prompt, completion):
    records = [{"prompt": prompt, "completion": completion}]
    (trained,) = encode(Generation(max_new_tokens=8), tokenizers(kind), records).features
    (used,) = encode(Generation(max_new_tokens=8), tokenizers(kind), records, targets=False).features
    first = next(place for place, label in enumerate(trained.targets["labels"]) if label >= 0)
    assert trained.inputs["input_ids"][:first] == used.inputs["input_ids"] == used.prompt == trained.prompt


def test_a_long_record_loses_the_start_of_its_prompt_or_is_refused(tokenizers):
    records = [PAIRS[0], {"prompt": "begin " + "word " * 90, "completion": "is late"}]
    encoded = encode(Generation(max_new_tokens=8), tokenizers("llama"), records, max_length=40)
    assert encoded.notes == ["1 of 2 records are longer than 40 tokens; the start is left out."]
    feature = encoded.features[1]
    assert len(feature.inputs["input_ids"]) == 40
    assert feature.inputs["input_ids"][0] == 1
    assert learned(feature, tokenizers("llama")) == " is late[SEP]"
    assert len(feature.prompt) == 32
    with pytest.raises(
        la.DataError, match=r"Record 1: it is longer than the 40 tokens that the model takes\. Shorten it"
    ):
        encode(Generation(overflow="error", max_new_tokens=8), tokenizers("llama"), records, max_length=40)


@pytest.mark.parametrize("words", [1, 5, 38, 39, 40, 41, 78, 79, 80, 200])
@pytest.mark.parametrize("kind", DECODERS)
def test_every_token_of_a_long_text_is_learned_once(tokenizers, kind, words):
    tokenizer, text = tokenizers(kind), "e" * words
    features = encode(Generation(), tokenizer, [{"text": text}], max_length=20).features
    whole = tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]
    assert [label for feature in features for label in feature.targets["labels"][1:]] == whole[1:]
    assert all(feature.targets["labels"] == feature.inputs["input_ids"] for feature in features)
    assert all(1 < len(feature.inputs["input_ids"]) <= 20 for feature in features)


# ---- chats

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "plain": None,
    "chatml": CHATML,
    "same line": (
        "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ m.content }} [/INST]"
        "{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
    ),
    "rewrites": CHATML.replace(
        "{{ m.content }}",
        "{% if m.role == 'assistant' and not loop.last %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}"
        "{% else %}{{ m.content }}{% endif %}",
    ),
    "adds": CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n\n</think>\n\n{% endif %}"),
    "no end": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}",
}
CHAT = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": "hello there"},
    {"role": "assistant", "content": "<think>hm</think>\n\nwhere is it"},
    {"role": "user", "content": "in Rome"},
    {"role": "assistant", "content": "good for you"},
]
SAID = {
    "plain": [["<think>hm</think>\n\nwhere is it[SEP]", "good for you[SEP]"]],
    "chatml": [["<think>hm</think>\n\nwhere is it<|im_end|>", "good for you<|im_end|>"]],
    "same line": [["<think>hm</think>\n\nwhere is it [SEP]", "good for you [SEP]"]],
    "rewrites": [["<think>hm</think>\n\nwhere is it<|im_end|>"], ["good for you<|im_end|>"]],
    "adds": None,
    "no end": [["<think>hm</think>\n\nwhere is it", "good for you[SEP]"]],
}


def runs(feature, tokenizer):
    """The texts of the stretches that are learned."""
    found, open_run = [], []
    for label in [*feature.targets["labels"], -100]:
        if label >= 0:
            open_run.append(label)
        elif open_run:
            found.append(tokenizer.decode(open_run).strip())
            open_run = []
    return found


@pytest.mark.parametrize("name", [name for name in TEMPLATES if SAID[name]])
def test_just_what_the_assistant_says_is_learned_to_its_end(chatting, name):
    tokenizer = chatting(TEMPLATES[name])
    features = encode(Generation(), tokenizer, [{"messages": CHAT}], max_length=400).features
    assert [runs(feature, tokenizer) for feature in features] == SAID[name]
    if name == "rewrites":  # the earlier turn is learned with its reasoning, and read without
        assert "hm" not in tokenizer.decode(features[1].inputs["input_ids"])


@pytest.mark.parametrize("said", ["good for you", "<b>good</b>", "<think>\n\n</think>\n\ngood"])
def test_what_a_template_adds_to_the_question_does_not_hide_the_reply(chatting, said):
    tokenizer = chatting(TEMPLATES["adds"])
    messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": said}]
    (feature,) = encode(Generation(), tokenizer, [{"messages": messages}], max_length=400).features
    (shown,) = runs(feature, tokenizer)
    assert shown in (f"{said}<|im_end|>", f"{said.split('</think>')[-1].strip()}<|im_end|>")


@pytest.mark.parametrize("name", ["plain", "chatml", "same line", "rewrites", "no end"])
def test_a_conversation_asks_in_training_what_it_asks_in_use(chatting, name):
    tokenizer = chatting(TEMPLATES[name])
    chats = [{"messages": CHAT[1:]}, {"messages": CHAT[1:3]}, {"messages": CHAT[1:4]}]
    full, short, open_end = (
        encode(Generation(), tokenizer, [chat], max_length=400, targets=False).features[0].prompt for chat in chats
    )
    assert full == open_end != short  # the last reply is not shown
    trained = encode(Generation(), tokenizer, [chats[0]], max_length=400).features
    assert trained[0].prompt == full
    ids, labels = trained[-1].inputs["input_ids"], trained[-1].targets["labels"]
    last = max(place for place in range(1, len(ids)) if labels[place] >= 0 and labels[place - 1] < 0)
    # A token of white space between question and reply may belong to either.
    assert tokenizer.decode(ids[:last]).strip() == tokenizer.decode(full).strip()


def test_a_template_that_leaves_out_the_assistant_is_refused(chatting):
    tokenizer = chatting("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}")
    with pytest.raises(la.DataError) as caught:
        encode(Generation(), tokenizer, [PAIRS[0], {"messages": CHAT}])
    for part in ("Record 1", "leaves nothing to learn", "where is it", "'hello there'", "tokenizer.chat_template"):
        assert part in str(caught.value)
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(la.DataError, match=r"refuses a conversation of the roles system, user.*roles must alternate"):
        encode(Generation(), tokenizer, [{"messages": CHAT}])


BAD = [
    ({"prompt": "a"}, "Record 0: the field 'completion' is missing"),
    ({"prompt": "a", "completion": []}, "Record 0: completion is []. Give a text, or a list of several"),
    ({"prompt": "a", "completion": ["x", " "]}, "Record 0: completion holds ' ', which is empty or not a text"),
    ({"prompt": "", "completion": "x"}, "Record 0: prompt is empty"),
    ({"messages": []}, "Record 0: messages is empty"),
    ({"messages": [{"role": "user"}]}, "Record 0: message 0 is {'role': 'user'}, not a dict with 'role' and 'content'"),
    ({"messages": [{"role": "user", "content": "a"}]}, "no message is of the role 'assistant'"),
    ({"messages": [{"role": "assistant", "content": " "}]}, "message 0 of the assistant is empty"),
    ({"messages": "hello"}, "Record 0: messages is 'hello' (str), not a list"),
]


@pytest.mark.parametrize(("record", "message"), BAD, ids=[message[:50] for _, message in BAD])
def test_bad_records_are_refused(record, message):
    with pytest.raises(la.DataError) as caught:
        examples_of(Generation(), [record])
    assert message in str(caught.value)


# ---- what is generated

PROMPTS = ["my order", "hello", "where is the parcel of my friend who lives in Leeds", "a"]


@pytest.mark.parametrize("name", ["llama", "gpt2", "granite", "t5", "bart"])
def test_greedy_text_does_not_depend_on_the_batch(stirred, name):
    adapted = stirred(name)
    together = adapted.predict(PROMPTS, options={"max_new_tokens": 6})
    assert together == [adapted.predict([prompt], options={"max_new_tokens": 6})[0] for prompt in PROMPTS]
    assert len(set(together)) > 1


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_options_reach_generation(stirred, name):
    adapted = stirred(name)
    (greedy,) = adapted.predict(PROMPTS[:1], options={"max_new_tokens": 12})
    (short,) = adapted.predict(PROMPTS[:1], options={"max_new_tokens": 2})
    assert greedy.startswith(short)
    assert len(short) < len(greedy)
    stop = greedy[len(greedy) // 2 : len(greedy) // 2 + 2]
    (stopped,) = adapted.predict(PROMPTS[:1], options={"max_new_tokens": 12, "stop_strings": [stop]})
    assert stopped == greedy.split(stop)[0].strip()
    hot = {"max_new_tokens": 12, "temperature": 5.0}
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(adapted.predict(PROMPTS[:1], options=hot)[0])
    assert drawn[0] == drawn[1]
    assert len({greedy, drawn[0], drawn[2]}) == 3
    ids = adapted.tokenizer(PROMPTS[0], return_tensors="pt")
    with torch.no_grad():
        beams = adapted.model.generate(
            **{k: ids[k] for k in ("input_ids", "attention_mask")},
            num_beams=3,
            max_new_tokens=6,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=2,
        )[0]
    beams = beams if name == "t5" else beams[ids["input_ids"].shape[1] :]
    expected = adapted.tokenizer.decode(beams, skip_special_tokens=True).strip()
    assert adapted.predict(PROMPTS[:1], options={"max_new_tokens": 6, "num_beams": 3}) == [expected]
    assert adapted.task.options is None  # options of one call stay there


def test_options_that_nothing_knows_are_refused(stirred, tiny):
    with pytest.raises(la.LightAdaptError, match=r"options holds 'num_beam', .* Did you mean 'num_beams'"):
        stirred("llama").predict(["a"], options={"num_beam": 2})
    with pytest.raises(la.LightAdaptError, match="max_new_tokens=0"):
        Generation(max_new_tokens=0)
    with pytest.raises(la.LightAdaptError, match="generates no text, so it takes no options"):
        la.adapt(tiny("bert"), "ner", labels=["X"]).predict(["a"], options={"num_beams": 2})


# ---- encoder-decoders

SOURCES = [
    {"source": "my order", "target": "is late"},
    {"source": "where is the parcel of my friend", "target": ["here", "in the house of my friend"]},
]


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_every_encoder_decoder_learns_and_writes(tiny, stirred, name):
    adapted = stirred(name, Summarization(max_new_tokens=8))
    model, now = adapted.model, adapted.runner
    features = now.encode(examples_of(adapted.task, SOURCES), targets=True)
    batch = now.collate(features)
    seen = []
    hook = model.get_decoder().register_forward_pre_hook(lambda _, a, k: seen.append(k["input_ids"]), with_kwargs=True)
    loss = model(**batch).loss
    hook.remove()
    # mBART begins with the last token of the target, which is its language
    start = 2 if name == "mbart" else model.config.decoder_start_token_id
    assert seen[0][:, 0].tolist() == [start] * len(features)
    for row, feature in zip(seen[0].tolist(), features, strict=True):
        assert row[1 : count(feature)] == feature.targets["labels"][:-1]
    total = sum(model(**now.collate([feature])).loss * count(feature) for feature in features)
    torch.testing.assert_close(loss, total / sum(map(count, features)), atol=1e-5, rtol=1e-5)
    assert {feature.targets["labels"][-1] for feature in features} == {adapted.tokenizer.eos_token_id}
    before = adapted.evaluate(SOURCES)["loss"]
    adapted.fit(SOURCES, epochs=8, args={"disable_tqdm": True})
    assert adapted.evaluate(SOURCES)["loss"] < before
    written = adapted.predict(["my order", "hello"], options={"max_new_tokens": 4})
    assert [type(text) for text in written] == [str, str]
    assert any(written)


def test_more_tokens_than_the_decoder_has_positions_are_not_generated(stirred):
    adapted = stirred("bart")
    (text,) = adapted.predict(["my order"], options={"max_new_tokens": 100, "min_new_tokens": 99})
    assert isinstance(text, str)


def test_a_text_alone_is_nothing_for_an_encoder_decoder(tokenizers):
    with pytest.raises(la.DataError, match="Record 0: a text alone"):
        encode(Generation(), tokenizers("t5"), [{"text": "a"}], "encoder-decoder")


def test_the_instruction_stands_before_every_source(tokenizers):
    task = Summarization(instruction="parcel of ")
    (feature,) = encode(task, tokenizers("t5"), SOURCES[:1], "encoder-decoder").features
    assert (
        tokenizers("t5").decode(feature.inputs["input_ids"], skip_special_tokens=True).startswith("parcel of my order")
    )
    (feature,) = encode(task, tokenizers("llama"), SOURCES[:1]).features
    assert tokenizers("llama").decode(feature.inputs["input_ids"]).startswith("[CLS]parcel of my order")


def test_languages_are_for_tokenizers_that_know_some(tokenizers):
    with pytest.raises(la.LightAdaptError, match="knows no languages"):
        Translation(source_language="en", target_language="de").fit_tokenizer(tokenizers("t5"), "encoder-decoder")


def test_a_multilingual_tokenizer_is_told_its_languages():
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁a", "▁", "a", "b"]
    tokenizer = MBart50Tokenizer(vocab=[(piece, -float(number)) for number, piece in enumerate(pieces)])
    task = Translation(source_language="en_XX", target_language="de_DE")
    own, tokenizer = tokenizer, task.fit_tokenizer(tokenizer, "encoder-decoder")
    (feature,) = encode(task, tokenizer, [{"source": "a b", "target": "b a"}], "encoder-decoder").features
    english, german = tokenizer.convert_tokens_to_ids(["en_XX", "de_DE"])
    assert feature.inputs["input_ids"][0] == english
    assert feature.targets["labels"][0] == german
    assert feature.targets["labels"][-1] == tokenizer.eos_token_id
    assert task.language_options(ModelView(tokenizer, 66, "encoder-decoder")) == {"forced_bos_token_id": german}
    with pytest.raises(la.LightAdaptError, match="does not know the language"):
        Translation(target_language="xx").fit_tokenizer(own, "encoder-decoder")
    with pytest.raises(la.LightAdaptError, match="knows no languages"):
        task.fit_tokenizer(own, "decoder")
    assert own.src_lang != "de_DE"
    assert own.tgt_lang != "de_DE"


def test_dialogue_takes_both_forms(chatting):
    tokenizer = chatting(CHATML)
    features = encode(Dialogue(), tokenizer, [{"messages": CHAT[1:3]}, SOURCES[0]], max_length=400).features
    assert [learned(feature, tokenizer).strip() for feature in features] == [
        "<think>hm</think>\n\nwhere is it<|im_end|>",
        "is late[SEP]",
    ]
