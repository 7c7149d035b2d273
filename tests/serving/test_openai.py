"""Generated text as OpenAI's clients ask for it: whole, and in pieces that make the same text."""

from __future__ import annotations

import json

import pytest
from asked import reason, wait_for

import lightadapt as la
from lightadapt.serving.queue import Ask, Job
from lightadapt.serving.writing import write

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]


@pytest.fixture(scope="module")
def client(start):
    return start("writer", "chat", "summary", "intents", max_new_tokens=40)[0]


def events(answer) -> list:
    """What the server-sent events hold."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_a_completion_is_what_predict_writes(client, saved):
    prompts = ["Where is", "I want my"]
    answer = client.post("/v1/completions", json={"model": "writer", "prompt": prompts, "max_tokens": 6}).json()
    expected = la.load(saved / "writer").predict(prompts, options={"max_new_tokens": 6})
    assert [choice["text"] for choice in answer["choices"]] == expected
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["object"] == "text_completion"
    assert answer["usage"]["completion_tokens"] == 12
    assert answer["usage"]["total_tokens"] == 12 + answer["usage"]["prompt_tokens"]
    assert {choice["finish_reason"] for choice in answer["choices"]} == {"length"}


def test_an_encoder_decoder_counts_what_it_wrote_alone(client, saved):
    asked = {"model": "summary", "prompt": "Where is my parcel?", "max_tokens": 5}
    answer = client.post("/v1/completions", json=asked).json()
    assert (
        answer["choices"][0]["text"]
        == la.load(saved / "summary").predict([asked["prompt"]], options={"max_new_tokens": 5})[0]
    )
    assert answer["usage"]["completion_tokens"] == 5


def test_a_conversation_is_gone_on_with(client, saved):
    asked = {"model": "chat", "messages": MESSAGES, "max_completion_tokens": 6, "temperature": 0, "user": "me"}
    answer = client.post("/v1/chat/completions", json=asked).json()
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == la.load(saved / "chat").predict([MESSAGES], options={"max_new_tokens": 6})[0]
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "chat"


def test_a_stop_string_ends_the_text(client):
    asked = {"model": "writer", "prompt": "I want", "max_tokens": 12}
    whole = client.post("/v1/completions", json=asked).json()["choices"][0]["text"]
    stop = " not"
    assert stop in whole
    choice = client.post("/v1/completions", json={**asked, "stop": [stop]}).json()["choices"][0]
    assert choice == {"index": 0, "text": whole.split(stop)[0].strip(), "logprobs": None, "finish_reason": "stop"}


def test_tokens_are_counted_alike_alone_and_with_others(client):
    asked = {"model": "writer", "max_tokens": 12, "stop": " not"}
    prompts = ["I want", "Tuesday", "Hello"]
    counts = [client.post("/v1/completions", json={**asked, "prompt": each}).json()["usage"] for each in prompts]
    together = client.post("/v1/completions", json={**asked, "prompt": prompts}).json()["usage"]
    assert counts[0]["completion_tokens"] < counts[1]["completion_tokens"]
    assert together == {name: sum(count[name] for count in counts) for name in together}


@pytest.mark.parametrize("stop", [None, "te", ["order", " t", "cra"]])
@pytest.mark.parametrize("prompt", ["refund order", "I want", "Please send it to"])
def test_pieces_make_the_text_that_comes_whole(client, prompt, stop):
    for path, asked in (
        ("/v1/completions", {"model": "writer", "prompt": prompt}),
        ("/v1/completions", {"model": "summary", "prompt": prompt}),
        ("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": prompt}]}),
    ):
        asked |= {"max_tokens": 24, "stop": stop}
        whole = client.post(path, json=asked).json()
        streamed = {**asked, "stream": True, "stream_options": {"include_usage": True}}
        *chunks, last = events(client.post(path, json=streamed))
        assert last["usage"] == whole["usage"]
        choices = [chunk["choices"][0] for chunk in chunks]
        said = [choice.get("text", choice.get("delta", {}).get("content", "")) for choice in choices]
        expected = whole["choices"][0]
        assert "".join(said) == expected.get("text", expected.get("message", {}).get("content"))
        assert [choice["finish_reason"] for choice in choices][-1] == expected["finish_reason"]


def test_pieces_come_before_the_end(client):
    asked = {"model": "writer", "prompt": "Tuesday", "max_tokens": 24, "stream": True}
    assert len(events(client.post("/v1/completions", json=asked))) > 3


def test_a_streamed_answer_that_takes_too_long_is_504(start):
    client, catalogue = start("writer", timeout=1e-6)
    answer = client.post("/v1/completions", json={"model": "writer", "prompt": "Tuesday", "stream": True})
    assert answer.status_code == 504
    wait_for(lambda: catalogue.waiting == 0)


def test_what_is_given_up_is_written_no_further(saved):
    jobs = [Job("default", [{"prompt": prompt}], Ask(written=True)) for prompt in ("Tuesday", "Hello")]
    jobs[0].given_up.set()
    left, kept = write(la.load(saved / "writer"), jobs, {"max_new_tokens": 12})
    assert left.tokens < kept.tokens == 12


def test_a_sampled_text_is_asked_for_by_its_temperature(client):
    asked = {"model": "writer", "prompt": "Where", "max_tokens": 12, "temperature": 2.0}
    texts = {client.post("/v1/completions", json=asked).json()["choices"][0]["text"] for _ in range(6)}
    assert len(texts) > 1


@pytest.mark.parametrize("model", ["writer", "summary"])
def test_a_seed_gives_the_same_text_again(client, model):
    asked = {"model": model, "prompt": "Where", "max_tokens": 12, "temperature": 2.0}

    def text(seed):
        return client.post("/v1/completions", json={**asked, "seed": seed}).json()["choices"][0]["text"]

    assert text(3) == text(3)
    assert len({text(seed) for seed in range(5)}) > 1


def test_requests_of_all_kinds_at_once_get_their_own_texts(client, pool):
    prompts = ["Where is", "I want my", "Hello", "refund order"]
    kinds = [{}, {"stop": "te"}, {"temperature": 1.0, "seed": 4}, {"max_tokens": 5}]
    asked = [{"model": "writer", "max_tokens": 20, "prompt": prompt, **kind} for prompt in prompts for kind in kinds]

    def texts(body):
        answer = client.post("/v1/completions", json=body).json()
        return answer["choices"][0]["text"], answer["usage"]

    alone = [texts(body) for body in asked]
    assert list(pool.map(texts, asked)) == alone
    counted = client.get("/metrics").text
    assert 'lightadapt_generated_tokens_total{adapter="writer"}' in counted
    assert "lightadapt_decode_texts_count" in counted


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"model": "intents"}, 400, "does not generate text; its task is 'classification'. Ask POST /predict/intents"),
        ({"model": "writr"}, 404, "Did you mean 'writer'?"),
        ({"max_tokens": 41}, 400, "max_tokens=41: give a whole number from 1 to 40"),
        ({"max_tokens": 0}, 400, "max_tokens=0"),
        ({"stop": ["a"] * 5}, 400, "stop=['a', 'a', 'a', 'a', 'a']: give at most 4 texts"),
        ({"n": 2}, 400, "n=2 is not served"),
        ({"tools": [{"type": "function"}]}, 400, "tools="),
        ({"seed": -1}, 422, "seed: Input should be greater than or equal to 0"),
        ({"temperature": 3}, 422, "temperature: Input should be less than or equal to 2"),
        ({"prompt": []}, 400, "prompt is []"),
        ({"prompt": ""}, 422, "Record 0: prompt is empty"),
        ({"prompt": ["a", "b"], "stream": True}, 400, "stream=true takes one prompt"),
        ({"prompt": " ", "stream": True}, 422, "Record 0: prompt is empty"),
    ],
)
def test_what_is_not_served_is_refused(client, changes, status, message):
    answer = client.post("/v1/completions", json={"model": "writer", "prompt": "a", **changes})
    assert (answer.status_code, message in reason(answer)) == (status, True), answer.text


def test_a_task_without_conversations_names_the_other_route(client):
    answer = client.post("/v1/chat/completions", json={"model": "summary", "messages": MESSAGES})
    assert answer.status_code == 400
    assert "/v1/completions" in reason(answer)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 10**9}, "max_new_tokens=1000000000: give a whole number from 1 to 40"),
        ({"num_beams": 500}, "num_beams=500: give a whole number from 1 to 8"),
        ({"cache_implementation": "static"}, "'cache_implementation', which a request cannot set"),
        ({"temprature": 1}, "Did you mean 'temperature'?"),
        ({"top_k": True}, "top_k=True: give a whole number"),
        ({"top_p": "a"}, "top_p='a': give a number"),
        ({"top_p": 2}, "top_p=2: give a number above 0, at most 1"),
        ({"min_p": 5}, "min_p=5: give a number from 0 to 1"),
        ({"temperature": 0}, "temperature=0: give a number above 0"),
        ({"do_sample": 1.5}, "do_sample=1.5: give true or false"),
    ],
)
def test_a_request_cannot_ask_for_everything(client, options, message):
    answer = client.post("/predict/writer", json={"inputs": ["a"], "options": options})
    assert answer.status_code == 422
    assert message in reason(answer)
