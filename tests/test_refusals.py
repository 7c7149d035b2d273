"""What cannot work is refused with the reason and the way out, before a weight is loaded."""

from __future__ import annotations

import numpy
import pandas
import peft
import pytest
import torch
from learned import as_learned
from transformers import AutoConfig, AutoModel, PreTrainedModel

import lightadapt as la

DECODER = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


BAD_CALLS = [
    (("NER",), {}, "Unknown task 'NER'. Did you mean 'ner'? Tasks: classification, multilabel, "),
    (("summarisation",), {}, "Unknown task 'summarisation'. Did you mean 'summarization'?"),
    (("ner", "lorra"), {}, "Unknown method 'lorra'. Did you mean 'lora'? Methods: lora, dora, rslora, prefix, "),
    (("ner",), {"layers": "last:9"}, "layers='last:9': the model has 3 blocks; choose 1 to 3"),
    (("ner",), {"layers": "top:1"}, "write 'last:2', 'first:2', or a list of indices"),
    (("ner",), {"layers": [3]}, "layers=[3]: 3 is not a block; the model has 3, numbered 0 to 2"),
    (("ner",), {"layers": []}, "it names no block"),
    (("ner",), {"layers": 2}, "layers=2: write 'last:2'"),
    (("ner",), {"tokenizer": 5}, "tokenizer is a int"),
    (("ner",), {"seed": "x"}, "seed='x': give a whole number"),
    (("ner",), {"seed": -1}, "seed=-1: give a whole number from 0"),
    (("ner",), {"device": "meta"}, "device='meta' cannot be used"),
    (("classification",), {"labels": ["a", ""]}, "labels holds an empty name"),
    (("classification",), {"labels": ["a", None]}, "labels holds values of type NoneType, str"),
    (
        ("ner", peft.PromptEncoderConfig(num_virtual_tokens=4)),
        {},
        "P_TUNING does not work inside a model but around it",
    ),
    (("ner", peft.LoraConfig(target_modules=["query", "nothing"])), {}, "the target 'nothing' matches no module"),
    (("ner", [la.LoRA(), la.Probe()]), {}, "method is a list: one adaptation has one method"),
    (
        ("ner", la.LoRA(targets=["querry"])),
        {},
        "'querry' is not a linear projection of the adapted blocks. Did you mean 'query'?",
    ),
    (("ner", la.LoRA(targets=["query", "nothing"])), {}, "'nothing' is not a linear projection"),
    (("ner", la.LoRA(rank=33)), {}, "LoRA(rank=33): "),
    (("ner", "verra"), {}, "Did you mean 'vera'?"),
    (("ner", "c3a"), {}, "C3AConfig does not fit this model"),
    (("ner", peft.LoraConfig(bias="all")), {}, "bias='all' is not supported here"),
    (("ner", peft.LoraConfig(r=40)), {}, "r=40 is above the smaller side"),
    (("ner", peft.LoraConfig(target_modules=["classifier"])), {}, "classifier is the head, which is trained anyway"),
    (
        ("ner", peft.LoraConfig(modules_to_save=["zzz"])),
        {},
        "modules_to_save names 'zzz', which is not a module of the model",
    ),
    (
        ("ner", peft.LoraConfig(target_modules=["dense"], modules_to_save=["dense"])),
        {},
        "is in target_modules and in modules_to_save. Choose one",
    ),
    (("ner", peft.LoraConfig(target_modules="(")), {}, "is not a regular expression"),
    (("ner", peft.LoraConfig(layers_to_transform=[9])), {}, "Write adapt(…, layers=[…])"),
    (("ner", peft.LoraConfig(init_lora_weights="eva")), {}, "init_lora_weights='eva' is not supported here"),
    (("ner", "full"), {"quantize": "4bit"}, "Method Full() changes the weights themselves, which 4bit weights cannot"),
    (("ner",), {"quantize": "4-bit"}, "quantize='4-bit' is unknown. Did you mean '4bit'?"),
    (("ner",), {"dtype": "float61"}, "dtype='float61' is unknown. Did you mean 'float16'?"),
    (("ner", "full"), {"dtype": "bfloat16"}, "this method trains the base itself, which needs float32"),
    (("ner",), {"device": "gpu"}, "device='gpu' is unknown"),
    (("ner",), {"labels": []}, "labels is empty"),
    (("ner",), {"labels": {}}, "labels is empty"),
    (("classification",), {"labels": {"a": 5, "b": "x"}}, "labels holds 5 for 'a'. Give names with what they mean"),
    (("ner",), {"labels": "nowhere.conll"}, "nowhere.conll does not exist"),
]


@pytest.mark.parametrize(("positional", "options", "message"), BAD_CALLS, ids=[text[:40] for *_, text in BAD_CALLS])
def test_bad_arguments(tiny, no_weights, positional, options, message):
    with pytest.raises(la.LightAdaptError) as caught:
        la.adapt(tiny("bert"), *positional, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("rank", "alpha", "dropout"),
    [(0, 1, 0), (-1, 1, 0), (2.5, 1, 0), (8, 0, 0), (8, 1, 1.0), (8, 1, -0.1), (8, "1", 0)],
)
def test_bad_lora_settings(rank, alpha, dropout):
    with pytest.raises(la.LightAdaptError, match=r"LoRA\("):
        la.LoRA(rank=rank, alpha=alpha, dropout=dropout)


def test_models_that_are_none(tmp_path, tiny, no_weights):
    (tmp_path / "empty").mkdir()
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    for model, message in [
        (str(tmp_path / "nowhere"), "does not exist"),
        ("./nowhere", "does not exist"),
        ("no-such-model", "There is no such folder here, and no config on the hub for 'no-such-model'"),
        (tmp_path / "empty", "holds no model: it has no config.json"),
        (tmp_path / "adapter", "is a saved adapter, not a base model. Use lightadapt.load"),
        (tmp_path / "broken", "The config of"),
        (tiny("bert") / "config.json", "is a file"),
        ("x" * 300, "There is no such folder here, and no config on the hub for 'xxx"),
        ("a\0b", "The model folder a\\x00b does not exist"),
        (" ", "model is an empty text"),
        (5, "model is a int"),
    ]:
        with pytest.raises(la.LightAdaptError) as caught:
            la.adapt(model, "ner")
        assert message in str(caught.value)


KINDS = {
    "bert": {**DECODER, "intermediate_size": 16},
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2},
    "bart": {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 50},
    "t5": {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 16, "vocab_size": 50},
}
NOT_SERVED = [
    ("bert", "generation", "needs a decoder or an encoder-decoder, but", "(bert) is an encoder"),
    ("bert", "summarization", "needs a decoder or an encoder-decoder, but", "(bert) is an encoder"),
    ("bert", "dialogue", "(bert) is an encoder", "It serves: classification, multilabel, regression, ner, qa"),
    ("bart", "relation", "needs an encoder or a decoder, but", "(bart) is an encoder-decoder"),
    ("t5", "relation", "(t5) is an encoder-decoder", "It serves: classification, multilabel, regression, ner, qa"),
    ("bart", "ner", "transformers has no model ForTokenClassification", "It serves: classification, multilabel"),
]


@pytest.mark.parametrize(
    ("kind", "task", "reason", "way_out"),
    NOT_SERVED,
    ids=[f"{kind}-{task}" for kind, task, *_ in NOT_SERVED],
)
def test_a_task_that_the_architecture_cannot_serve_is_refused(tmp_path, no_weights, kind, task, reason, way_out):
    AutoConfig.for_model(kind, **KINDS[kind]).save_pretrained(tmp_path)
    with pytest.raises(la.LightAdaptError) as caught:
        la.adapt(tmp_path, task)
    assert reason in str(caught.value)
    assert way_out in str(caught.value)


def test_a_decoder_of_an_encoder_architecture_is_a_decoder(tmp_path, no_weights):
    AutoConfig.for_model("bert", **KINDS["bert"], is_decoder=True).save_pretrained(tmp_path)
    with pytest.raises(la.LightAdaptError, match="No tokenizer in"):
        la.adapt(tmp_path, "generation")


def test_a_tokenizer_that_does_not_fit_is_refused(tiny, no_weights, tokenizers, tmp_path):
    AutoConfig.for_model("bert", **{**DECODER, "intermediate_size": 16}).save_pretrained(tmp_path)
    with pytest.raises(la.LightAdaptError, match=r"The tokenizer has \d+ entries but the model only 50 embeddings"):
        la.adapt(tmp_path, "ner", tokenizer=tokenizers("word"))
    with pytest.raises(la.LightAdaptError, match=r"Pass tokenizer="):
        la.adapt(tmp_path, "ner")


def test_predict_wants_a_list(tiny):
    adapted = la.adapt(tiny("bert"), "classification", labels=["a", "b"])
    assert adapted.predict([]) == []
    with pytest.raises(la.DataError, match=r"Write predict\(\['hello'\]\)"):
        adapted.predict("hello")
    with pytest.raises(la.DataError, match="predict takes a list"):
        adapted.predict("hello " * 200)
    with pytest.raises(la.DataError, match=r"File missing.jsonl does not exist"):
        adapted.predict("missing.jsonl")
    with pytest.raises(la.DataError, match="Record 1: text is empty"):
        adapted.predict(["a", ""])
    with pytest.raises(la.DataError, match="Record 0: text is 5"):
        adapted.predict([{"text": 5}])
    with pytest.raises(la.DataError, match="Record 0 is a int"):
        adapted.predict([5])
    assert len(adapted.predict([("a", "b"), "c", {"text": "d"}])) == 3
    assert len(adapted.predict(pandas.Series(["a", "b"]))) == len(adapted.predict(x for x in "ab")) == 2
    assert la.adapt(tiny("bert"), "classification", labels=numpy.array([0, 1])).labels == [0, 1]
    named = la.adapt(tiny("bert"), la.Classification(labels=["a", "b"], columns={"text": "sentence", "label": "y"}))
    assert len(named.predict(["a"])) == len(named.predict([{"sentence": "a"}])) == 1
    assert la.adapt(tiny("bert"), "classification", labels={"b", "a"}).labels == ["a", "b"]


TEXTS = [{"text": "where is it", "label": "no"}, {"text": "thanks", "label": "yes"}]
OTHER = [{"text": "where is it", "label": "maybe"}]
SEVERAL_DATA = {
    "validation data holds no records": lambda adapted: adapted.fit(TEXTS, []),
    "validation data holds no records.": lambda adapted: adapted.extend(TEXTS, validation=[]),
    "Record 0 (validation data): ": lambda adapted: adapted.fit(TEXTS, OTHER),
    "Record 1 (unlabelled) is a int, not a dict": lambda adapted: adapted.fit(TEXTS, unlabelled=["a", 5]),
    "Record 0 (reference) is a int, not a dict": lambda adapted: adapted.drift(["a"] * 30, reference=[5] * 60),
    "Record 0 (labelled) is a int, not a dict": lambda adapted: adapted.choose(["a", "b"], 1, labelled=[5]),
    "unlabelled takes a list of inputs. Write fit(train, unlabelled=['hello']).": lambda adapted: adapted.fit(
        TEXTS, unlabelled="hello"
    ),
    "reference takes a list of inputs. Write drift(texts, reference=['hello']).": lambda adapted: adapted.drift(
        ["a"] * 30, reference="hello"
    ),
    "labelled takes a list of inputs. Write choose(texts, 1, labelled=['hello']).": lambda adapted: adapted.choose(
        ["a"], 1, labelled="hello"
    ),
    "predict_all takes a list of inputs. Write predict_all(['hello']).": lambda adapted: adapted.predict_all("hello"),
    "Reference is a int. Accepted: ": lambda adapted: adapted.drift(["a"] * 30, reference=5),
    "drift takes a list of inputs. Write drift(['hello']).": lambda adapted: adapted.drift("hello"),
    "choose takes a list of inputs. Write choose(['hello'], 1).": lambda adapted: adapted.choose("hello", 1),
}


@pytest.mark.parametrize("message", SEVERAL_DATA)
def test_an_error_names_the_data_that_it_is_about(tiny, message):
    adapted = as_learned(la.adapt(tiny("bert"), "classification", labels=["no", "yes"]))
    with pytest.raises(la.DataError) as caught:
        SEVERAL_DATA[message](adapted)
    assert message in str(caught.value)


FLAGS = {
    "summary": lambda adapted: adapted.fit([], summary=1),
    "calibrate": lambda adapted: adapted.fit([], calibrate="yes"),
    "resume": lambda adapted: adapted.extend([], resume="no"),
    "keep_weights": lambda adapted: adapted.extend([], keep_weights=0),
    "thorough": lambda adapted: adapted.suspects([], thorough="no"),
    "report": lambda adapted: adapted.evaluate([], report="x"),
    "before": lambda adapted: adapted.evaluate([], before="x"),
    "scores": lambda adapted: adapted.predict(["a"], scores="yes"),
    "unknown": lambda adapted: adapted.predict(["a"], unknown=None),
    "private": lambda adapted: adapted.push_to_hub("me/mine", private="yes"),
    "verify": lambda adapted: la.load("nowhere", verify="no"),
    "trust_remote_code": lambda adapted: la.adapt("nothing", "ner", trust_remote_code=1),
}


@pytest.mark.parametrize("name", FLAGS)
def test_what_is_neither_true_nor_false_is_refused(tiny, name):
    adapted = la.adapt(tiny("bert"), "classification", labels=["no", "yes"])
    with pytest.raises(la.LightAdaptError, match=f"{name}=.*: write True or False"):
        FLAGS[name](adapted)


def test_long_texts_are_cut_with_one_warning(tiny):
    adapted = as_learned(la.adapt(tiny("bert"), "classification", labels=["a", "b"]))
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than 66 tokens") as caught:
        adapted.predict(["word " * 300, "short"])
    assert len(caught) == 1


def test_positions_behind_a_padding_row_are_not_counted(tiny):
    ner = la.adapt(tiny("roberta"), "ner", labels=["PER"])
    assert ner.runner.max_length == 65  # 66 rows, of which RoBERTa leaves those up to the padding's (here row 0) unused
    assert len(ner.predict([["word"] * 500])) == 1


def test_an_architecture_that_nobody_named_works_from_its_structure(tiny, messages, tmp_path):
    class Strange(torch.nn.Module):
        """Two blocks of own make around a mean of embeddings."""

        def __init__(self, config):
            super().__init__()
            self.table = torch.nn.Embedding(config.vocab_size, 16)
            self.stack = torch.nn.ModuleList(
                torch.nn.ModuleDict({"widen": torch.nn.Linear(16, 24), "narrow": torch.nn.Linear(24, 16)})
                for _ in range(2)
            )

        def forward(self, input_ids, attention_mask):
            x = self.table(input_ids)  # (B, T, width)
            for block in self.stack:
                x = x + block["narrow"](torch.relu(block["widen"](x)))
            return (x * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)

    class StrangeForSequenceClassification(PreTrainedModel):
        config_class = type("StrangeConfig", (type(AutoModel.from_pretrained(tiny("bert")).config),), {})
        base_model_prefix = "body"

        def __init__(self, config):
            super().__init__(config)
            self.body = Strange(config)
            self.verdict = torch.nn.Linear(16, config.num_labels)
            self.num_labels = config.num_labels
            self.post_init()

        def forward(self, input_ids, attention_mask, labels=None):
            from transformers.modeling_outputs import SequenceClassifierOutput

            logits = self.verdict(self.body(input_ids, attention_mask))
            loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
            return SequenceClassifierOutput(loss=loss, logits=logits)

    config = StrangeForSequenceClassification.config_class(vocab_size=400, num_labels=2)
    model = StrangeForSequenceClassification(config)
    before = {name: tensor.clone() for name, tensor in model.body.state_dict(prefix="body.").items()}
    adapted = la.adapt(model, "classification", tokenizer=str(tiny("bert")))
    adapted.fit(messages, epochs=1, args={"remove_unused_columns": False})
    assert model.verdict.out_features == 10
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name in trained if "lora" not in name} == {"verdict.weight", "verdict.bias"}
    assert len(trained) == 2 + 2 * 2 * 2
    adapted.save(tmp_path / "saved")
    texts = [record["text"] for record in messages[:4]]
    fresh = StrangeForSequenceClassification(config)
    fresh.load_state_dict(before, strict=False)
    again = la.load(tmp_path / "saved", base=fresh)
    assert again.predict(texts, scores=True) == adapted.predict(texts, scores=True)
