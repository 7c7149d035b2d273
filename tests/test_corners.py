"""Corners in which a task once went wrong in silence, hung, or failed with a foreign error."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from transformers import ByT5Tokenizer, GenerationConfig, Trainer, TrainingArguments

import lightadapt as la
from lightadapt.tasks import ModelView

TEXT = "my order is late and the parcel of my friend is in Rome "


def encode(task, tokenizer, records, family="encoder", max_length=64):
    view = ModelView(tokenizer, max_length, family, task.outputs())
    return task.encode(task.parse(task.read(records)), view, targets=True)


def test_an_answer_longer_than_every_window_is_marked_as_far_as_one_holds_it(tokenizers):
    context = TEXT * 6
    record = {
        "question": "Where?",
        "context": context,
        "answers": {"text": [context[56 : len(context) // 2].strip()], "answer_start": [56]},
    }
    encoded = encode(la.QA(window=40, overlap=5), tokenizers("word"), [record])
    marked = [window for window in encoded.features if window.targets["start_positions"] != window.nowhere]
    assert len(marked) == 1
    assert "longer than a window" in encoded.notes[0]


def test_flat_and_nested_questions_stand_side_by_side():
    nested = {"paragraphs": [{"context": "It is in Rome.", "qas": [{"question": "Where?"}]}]}
    flat = {"question": "Who?", "context": "Maria wrote it."}
    task = la.QA()
    for records in ([nested, flat], [flat, nested]):
        assert len(task.parse(task.read(records, labelled=False), labelled=False)) == 2
    for broken in ({"paragraphs": 3}, {"paragraphs": [{"qas": ["Where?"]}]}, {"paragraphs": ["text"]}):
        with pytest.raises(la.DataError, match="Record 0"):
            task.read([broken])


@pytest.mark.parametrize("answers", [{"text": "Rome", "answer_start": 9}, [{"text": "Rome", "answer_start": 9}]])
def test_one_answer_needs_no_list(answers):
    task = la.QA()
    (example,) = task.parse(task.read([{"question": "Where?", "context": "It is in Rome.", "answers": answers}]))
    assert example.texts == ["Rome"]


def test_a_threshold_is_found_anew_by_each_fit():
    task = la.QA()
    record = {"question": "Who?", "context": "Maria wrote it."}
    asked = {**record, "answers": {"text": ["Maria"], "answer_start": [0]}}
    none = {**record, "answers": {"text": [], "answer_start": []}}
    some, every = (task.parse(task.read(records)) for records in ([asked, none], [asked]))
    assert task.prepare(some, fresh_head=True).limit == 0.0
    assert task.prepare(some, fresh_head=True).prepare(every, fresh_head=False).limit is None


def test_a_label_of_all_records_is_learned_under_balanced_weights(tiny):
    records = [{"text": text, "labels": ["always", *["b"] * (n % 2)]} for n, text in enumerate(["a", "b c", "d", "e"])]
    adapted = la.adapt(tiny("bert"), la.MultiLabel(["always", "b"], class_weights="balanced"))
    examples = adapted.task.parse(adapted.task.read(records))
    loss = adapted.task.objective(examples, adapted.runner.view)
    adapted.model.zero_grad()
    loss(adapted.model, adapted.runner.collate(adapted.runner.encode(examples, targets=True))).backward()
    assert adapted.model.classifier.bias.grad[0].abs() > 0


def test_a_generated_text_does_not_depend_on_its_neighbours(tiny):
    adapted = la.adapt(tiny("llama"), "generation")
    prompts = ["my order", "where is the parcel of my friend and the window and the door and so on"]
    assert adapted.predict(prompts) == [adapted.predict([prompt])[0] for prompt in prompts]


def test_generation_is_greedy_whatever_the_checkpoint_says(tiny):
    adapted = la.adapt(tiny("bart"), la.Generation(max_new_tokens=10))
    expected = adapted.predict(["my order is"])
    adapted.model.generation_config = GenerationConfig(
        num_beams=3, min_length=8, no_repeat_ngram_size=2, do_sample=True, eos_token_id=2, decoder_start_token_id=2
    )
    assert adapted.predict(["my order is"]) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 0},
        {"temperature": 0.0},
        {"repetition_penalty": -1},
        {"stop_strings": []},
        {"stop_strings": 5},
        {"num_return_sequences": 2},
        {"num_beam": 2},
        {"top_k": -5},
        {"top_k": True},
        {"top_p": 2},
        {"min_p": 5},
        {"temperature": float("inf")},
        {"length_penalty": float("nan")},
        {"no_repeat_ngram_size": -1},
        {"do_sample": "yes"},
        ["num_beams"],
    ],
)
def test_options_that_mean_nothing_are_refused(tiny, options):
    adapted = la.adapt(tiny("llama"), la.Generation(max_new_tokens=3))
    with pytest.raises(la.LightAdaptError):
        adapted.predict(["a"], options=options)


@pytest.mark.parametrize("options", [{"temperature": 2, "top_k": 1}, {"repetition_penalty": 2}])
def test_whole_numbers_are_taken_for_fractions(tiny, options):
    adapted = la.adapt(tiny("llama"), la.Generation(max_new_tokens=3))
    fractions = {name: float(value) if name != "top_k" else value for name, value in options.items()}
    assert adapted.predict(["a"], options=options) == adapted.predict(["a"], options=fractions)


def test_what_the_template_says_first_is_not_the_assistants(tokenizers):
    tokenizer = copy.deepcopy(tokenizers("llama"))
    tokenizer.chat_template = (
        "{% if messages[0]['role'] != 'system' %}<s>system: be helpful</s>{% endif %}"
        "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}"
    )
    for template in (tokenizer.chat_template, None):
        tokenizer.chat_template = template
        records = [{"messages": [{"role": "assistant", "content": "where is it"}]}]
        (feature,) = encode(la.Dialogue(), tokenizer, records, "decoder").features
        said = tokenizer.decode([number for number in feature.targets["labels"] if number >= 0])
        assert said.strip().startswith("where is it")


def test_an_ordinary_token_is_not_taken_for_padding(tiny, tokenizers):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny("gpt2"))
    tokenizer = tokenizers("gpt2")
    model.config.pad_token_id = tokenizer("e", add_special_tokens=False)["input_ids"][0]
    adapted = la.adapt(model, "generation", tokenizer=tokenizer)
    assert adapted.tokenizer.pad_token == tokenizer.eos_token


def test_a_preview_of_few_records_knows_the_labels_of_all(tiny, capsys):
    records = [{"text": "one", "label": "a"}] * 3 + [{"text": "two", "label": "b"}]
    la.adapt(tiny("bert"), "classification").preview(records, n=2)
    assert capsys.readouterr().out.count("label: a") == 2
    with pytest.raises(la.LightAdaptError, match="n=0"):
        la.adapt(tiny("bert"), "classification").preview(records, n=0)


@pytest.mark.parametrize(
    ("name", "task"), [("gpt2", "generation"), ("llama", "multiple-choice"), ("t5", "translation")]
)
def test_a_head_alone_is_no_method_where_there_is_none(tiny, name, task):
    with pytest.raises(la.LightAdaptError, match="trains a head alone"):
        la.adapt(tiny(name), task, "probe")


def test_windows_need_a_fast_tokenizer():
    task = la.Regression(overflow="windows")
    with pytest.raises(la.DataError, match=r"Record 0: .* not a fast tokenizer"):
        encode(task, ByT5Tokenizer(extra_ids=0), [{"text": "where is " * 40, "label": 1}])


def test_a_text_keeps_its_start_whatever_side_the_tokenizer_cuts(tiny, tokenizers):
    tokenizer = copy.deepcopy(tokenizers("word"))
    tokenizer.truncation_side = "left"
    adapted = la.adapt(tiny("bert"), "regression", tokenizer=tokenizer)
    with pytest.warns(UserWarning, match="longer than 66 tokens"):
        (feature,) = adapted.runner.encode(
            adapted.task.parse(adapted.task.read([{"text": "hello " + "my order " * 60, "label": 1}])), targets=True
        )
    assert tokenizer.decode(feature.inputs["input_ids"][:2]).split() == ["[CLS]", "hello"]
    assert tokenizer.truncation_side == "left"


@pytest.mark.parametrize(("answer", "index"), [("B", 1), ("1", 1), (np.int64(1), 1)])
def test_an_answer_may_be_a_letter(answer, index):
    task = la.MultipleChoice()
    assert task.parse(task.read([{"question": "a?", "choices": ["x", "y"], "answer": answer}]))[0].answer == index


@pytest.mark.parametrize("answer", ["C", "²", "b", 2, True, "x"])
def test_an_answer_that_names_no_choice_is_refused(answer):
    task = la.MultipleChoice()
    with pytest.raises(la.DataError, match=r"Record 0: answer is .* 0 to 1, or its letter"):
        task.parse(task.read([{"question": "a?", "choices": ["x", "y"], "answer": answer}]))


@pytest.mark.parametrize("label", [1e39, "nan", float("inf"), "many", True, None])
def test_a_label_that_no_loss_can_hold_is_refused(label):
    task = la.Regression()
    with pytest.raises(la.DataError, match="Record 0"):
        task.parse(task.read([{"text": "a", "label": label}]))


def test_stock_trainer_accumulates_our_own_models_as_any_other(tiny, tmp_path):
    adapted = la.adapt(tiny("bert"), "relation", labels=["a", "b"])
    records = [
        {"text": "Maria wrote the letter", "head": [0, 5], "tail": [16, 22], "label": label} for label in ("a", "b")
    ]
    features = adapted.runner.encode(adapted.task.parse(adapted.task.read(records)), targets=True)
    losses = []
    for size, steps in ((2, 1), (1, 2)):
        model = copy.deepcopy(adapted.model)
        model.dropout.p = 0.0
        for module in model.modules():
            if type(module).__name__ == "Dropout":
                module.p = 0.0
        arguments = TrainingArguments(
            output_dir=str(tmp_path / str(size)),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
            max_steps=1,
            report_to="none",
            use_cpu=True,
            remove_unused_columns=False,
            disable_tqdm=True,
            save_strategy="no",
        )
        trainer = Trainer(model, arguments, train_dataset=features, data_collator=adapted.runner.collate)
        losses.append(trainer.train().training_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_settings_that_cannot_be_saved_are_refused_before_a_model_is_looked_for():
    for task in (
        la.MultiLabel(threshold=np.float32(0.5)),
        la.Classification(class_weights={"a": np.float32(2)}),
        la.Generation(options={"bad_words_ids": {1}}),
    ):
        with pytest.raises(la.LightAdaptError, match="cannot be saved"):
            la.adapt("no/such/model", task)


def test_an_error_of_encoding_names_file_and_line(tiny, tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("text,label\nshort,a\n" + "long " * 200 + ",b\n")
    with pytest.raises(la.DataError, match=r"Record 1 \(.*train\.csv, line 3\): the text has"):
        la.adapt(tiny("bert"), la.Classification(overflow="error")).fit(path, epochs=1)


@pytest.mark.usefixtures("plain_processor")
def test_a_tied_matrix_is_found_under_the_name_of_the_output_layer(tmp_path, tiny, tokenizers):
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(tiny("llama"), tie_word_embeddings=True)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path)
    tokenizers("llama").save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    matrix = tensors.pop("model.embed_tokens.weight")
    save_file({**tensors, "lm_head.weight": matrix}, file, metadata={"format": "pt"})
    for task in ("classification", "qa", "relation"):
        adapted = la.adapt(tmp_path, task, **({} if task == "qa" else {"labels": ["a", "b"]}))
        assert torch.equal(adapted.model.get_input_embeddings().weight, matrix)


@pytest.mark.parametrize("unit", [1.0, 1e5])
@pytest.mark.parametrize("name", ["bert", "llama"])
def test_a_regression_learns_labels_of_any_size(tiny, tmp_path, name, unit):
    records = [{"text": word, "label": (3.0 + value) * unit} for word, value in (("hello", -0.5), ("my order", 0.5))]
    adapted = la.adapt(tiny(name), "regression")
    adapted.fit(records * 8, epochs=12, batch_tokens=12, args={"disable_tqdm": True})
    low, high = adapted.predict(["hello", "my order"])
    assert low < high
    assert abs((low + high) / 2 - 3 * unit) < 0.4 * unit
    adapted.save(tmp_path / "saved")
    assert la.load(tmp_path / "saved").predict(["hello", "my order"]) == [low, high]
    merged = adapted.merge()
    batch = adapted.runner.collate(adapted.runner.encode(adapted.task.parse(adapted.task.read(records)), targets=False))
    assert merged(**batch).logits[0].item() == pytest.approx(low, rel=1e-3)


def test_an_error_in_validation_data_says_so(tiny, messages):
    adapted = la.adapt(tiny("bert"), "classification", labels=messages)
    with pytest.raises(la.DataError, match=r"Record 0 \(validation data\): label 'z'"):
        adapted.fit(messages, validation=[{"text": "a", "label": "z"}])


def test_a_passage_of_multiple_choice_is_read():
    task = la.MultipleChoice()
    record = {"context": "The sky is blue.", "question": "The sky?", "choices": ["blue", "red"], "answer": "A"}
    (example,) = task.parse(task.read([record]))
    assert example.question == "The sky is blue. The sky?"
    assert example.answer == 0
