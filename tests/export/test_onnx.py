"""ONNX: the graph gives what the model gives, and is used without torch and transformers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch
from task_records import RECORDS
from tiny_models import build_tokenizer

import lightadapt as la
from lightadapt.adaptation.placing import EXPORT_NAME
from lightadapt.export import Onnx

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

HEAVY = ["torch", "transformers", "peft", "datasets", "pandas", "sklearn", "scipy", "pyarrow", "huggingface_hub"]
LONG = "where is the parcel of my friend, and who has it? " * 12


def given(task):
    """The records of a task without their answers."""
    return [{name: value for name, value in each.items() if name in FIELDS[task]} for each in RECORDS[task]]


FIELDS = {
    "classification": ("text", "text_pair"),
    "ner": ("text",),
    "qa": ("question", "context"),
    "relation": ("text", "head", "tail"),
    "multiple-choice": ("question", "premise", "choices"),
}
CELLS = [
    ("roberta", "ner", "lora"),
    ("distilbert", "qa", "bottleneck"),
    ("electra", "relation", "prompt"),
    ("bert", "multiple-choice", "prefix"),
]


def rounded(value):
    """An answer with its probabilities to four digits."""
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task", "method"), CELLS)
def test_graph_of_every_kind_of_task_gives_the_same(moved, tmp_path, name, task, method):
    adapted = moved(name, task, method)
    exported = adapted.export(tmp_path / "out", "onnx", check=RECORDS[task])
    assert exported.difference < 1e-5
    assert exported.equal == 1.0
    model = la.load_onnx(tmp_path / "out", threads=1)
    records = given(task)
    for chosen in (records, records[:1], records * 3):  # batches and lengths of other sizes than the traced one
        assert rounded(model.predict(chosen, batch_tokens=64)) == rounded(adapted.predict(chosen))
    assert dict(model.evaluate(RECORDS[task])) == pytest.approx(dict(adapted.evaluate(RECORDS[task])), abs=1e-4)


@pytest.mark.slow
def test_calibrated_probabilities_are_exported(tiny, messages, tmp_path):
    adapted = la.adapt(tiny("bert"), "classification", labels=messages, dtype="float32")
    with torch.no_grad():
        adapted.model.classifier.weight.mul_(30)
    raw = adapted.predict(["my order is late"], scores=True)
    assert adapted.calibrate(messages).temperature != pytest.approx(1, rel=0.1)
    adapted.export(tmp_path / "out", "onnx")
    model, texts = la.load_onnx(tmp_path / "out", threads=1), [each["text"] for each in messages]
    assert rounded(model.predict(texts, scores=True)) == rounded(adapted.predict(texts, scores=True))
    assert rounded(model.predict(["my order is late"], scores=True)) != rounded(raw)
    found, expected = model.evaluate(messages, confidence=0.9), adapted.evaluate(messages, confidence=0.9)
    assert found.calibration_error == pytest.approx(expected.calibration_error, abs=1e-3)
    assert found.intervals.keys() == expected.intervals.keys()


@pytest.fixture(scope="module")
def pair(tiny, messages, tmp_path_factory):
    """A classifier and the folder of its export, made once."""
    adapted = la.adapt(tiny("bert"), la.MultiLabel(labels=["a", "b"], overflow="windows"), dtype="float32")
    with torch.no_grad():
        adapted.model.classifier.weight.mul_(30)
    folder = tmp_path_factory.mktemp("onnx") / "out"
    adapted.export(folder, "onnx")
    return adapted, folder


def test_runtime_answers_without_torch_and_transformers(pair):
    adapted, folder = pair
    texts = ["my order is late", LONG, "hello"]
    script = (
        "import json, sys\n"
        f"sys.modules.update(dict.fromkeys({HEAVY!r}))\n"  # as if none of them were installed
        "import lightadapt as la\n"
        f"model = la.load_onnx({str(folder)!r}, threads=1)\n"
        f"print(json.dumps(model.predict({texts!r}, scores=True)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert rounded(json.loads(done.stdout)) == rounded(adapted.predict(texts, scores=True))


def test_runtime_takes_what_predict_takes(pair, write):
    adapted, folder = pair
    model = la.load_onnx(folder, threads=1)
    assert model.labels == ["a", "b"]
    assert "multilabel, 2 labels" in str(model)
    file = write("in.csv", "sentence\nhello\nmy order\n")
    columns = {"text": "sentence"}
    assert model.predict(str(file), columns=columns) == adapted.predict(str(file), columns=columns)
    assert model.predict(["hello"], threshold=0.0001) == [["a", "b"]]
    assert model.predict([]) == []
    with pytest.warns(UserWarning, match="1 of 2"):
        assert model.predict(["hello", {"text": 3}], on_error="skip")[1] is None
    with pytest.raises(la.DataError, match="takes a list"):
        model.predict("hello")


def test_runtime_scores_as_evaluate_does(pair):
    adapted, folder = pair
    records = RECORDS["multilabel"]
    scores = la.load_onnx(folder, threads=1).evaluate(records)
    assert scores == pytest.approx(adapted.evaluate(records), abs=1e-4)
    assert str(scores.report)


@pytest.mark.slow
def test_eight_bits_are_smaller_and_their_loss_can_be_refused(moved, tmp_path):
    adapted = moved("bert", "classification")
    whole = adapted.export(tmp_path / "whole", Onnx(opset=20))
    small = adapted.export(tmp_path / "out", "onnx", quantize="int8")
    assert small.size < whole.size
    assert 1e-4 < small.difference < 1
    assert json.loads((tmp_path / "out" / EXPORT_NAME).read_text())["settings"] == {"quantize": "int8"}
    assert sorted(each.name for each in (tmp_path / "out").glob("*.onnx*")) == ["model.onnx"]
    assert len(la.load_onnx(tmp_path / "out").predict(["hello"])) == 1


@pytest.mark.parametrize(
    ("options", "phrase"),
    [({"quantize": "int4"}, "Did you mean 'int8'"), ({"quantize": "fp16"}, "knows 'int8'"), ({"opset": 9}, "opset=9")],
    ids=str,
)
def test_options_are_checked(options, phrase):
    with pytest.raises(la.LightAdaptError, match=phrase):
        Onnx(**options)


def test_a_quantized_base_is_refused(tiny, messages, tmp_path):
    pytest.importorskip("bitsandbytes")
    adapted = la.adapt(tiny("bert"), "classification", labels=messages, quantize="8bit")
    with pytest.raises(la.LightAdaptError, match=r"8bit weights .* quantize='none'"):
        adapted.export(tmp_path / "out", "onnx")


def test_a_folder_that_is_none_or_damaged_says_so(pair, classifier, tmp_path):
    _, folder = pair
    with pytest.raises(la.ArtifactError, match="holds no exported model"):
        la.load_onnx(tmp_path)
    with pytest.raises(la.ArtifactError, match=r"nowhere does not exist. Give the folder that an export"):
        la.load_onnx(tmp_path / "nowhere")
    with pytest.raises(la.ArtifactError, match=r"path=None does not name a folder. Give a folder, such as 'my-onnx'"):
        la.load_onnx(None)
    classifier().save(tmp_path / "saved")
    with pytest.raises(la.ArtifactError, match="is a saved adaptation"):
        la.load_onnx(tmp_path / "saved")
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(la.ArtifactError, match="cannot be used"):
        la.load_onnx(tmp_path / "copy", verify=False)
    content = json.loads((folder / EXPORT_NAME).read_text())
    for changed, phrase in (
        ({**content, "runtime": {**content["runtime"], "schema": 9}}, "Upgrade"),
        ({**content, "runtime": {"schema": 1}}, "cannot be used"),
        ({"format": "merged"}, "format 'merged'"),
    ):
        (tmp_path / "copy" / EXPORT_NAME).write_text(json.dumps(changed))
        with pytest.raises(la.ArtifactError, match=phrase):
            la.load_onnx(tmp_path / "copy", verify=False)


def test_a_file_that_changed_after_the_export_is_noticed(pair, tmp_path):
    """Three bytes in the middle of the weights leave a graph that loads, and answers something else."""
    _, folder = pair
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    graph = copy / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3] = b"\x01\x02\x03"
    graph.write_bytes(content)
    with pytest.raises(la.ArtifactError, match=r"model\.onnx is damaged .* SHA-256 .* verify=False"):
        la.load_onnx(copy)
    graph.write_bytes((folder / "model.onnx").read_bytes())
    la.load_onnx(copy)
    (copy / "tokenizer.json").unlink()
    with pytest.raises(la.ArtifactError, match=r"incomplete: tokenizer\.json is missing"):
        la.load_onnx(copy)


@pytest.mark.parametrize(
    ("providers", "message"),
    [
        ("CPUExecutionProvider", r"'CPUExecutionProvider': give a list, such as .'CPUExecutionProvider'.. Here are: "),
        (5, "providers=5: give a list"),
        (["Bogus"], "providers holds 'Bogus', which is unknown. Here are: .*CPUExecutionProvider"),
        (["CPUExecutionProvidr"], "Did you mean 'CPUExecutionProvider'"),
        ([None], "providers holds None"),
        (["RknpuExecutionProvider"], "not on this machine. Here are: .*CPUExecutionProvider"),
    ],
)
def test_providers_that_are_not_there_are_refused(pair, providers, message):
    with pytest.raises(la.LightAdaptError, match=message):
        la.load_onnx(pair[1], providers=providers)


def test_of_several_providers_those_that_are_there_compute(pair):
    providers = ["RknpuExecutionProvider", ("CPUExecutionProvider", {})]
    assert la.load_onnx(pair[1], providers=providers).predict(["hello"])


@pytest.mark.parametrize("options", [5, {"top_p": 1}, ["a"]])
def test_options_of_what_writes_nothing_are_refused(pair, options):
    with pytest.raises(la.LightAdaptError, match="generates no text, so it takes no options"):
        la.load_onnx(pair[1]).predict(["hello"], options=options)


TEXTS = ["Hello, world", "", "a  b\tc", "Zażółć 北京 🙂", LONG]


@pytest.mark.parametrize("kind", ["word", "byte", "metaspace", "gpt2", "t5"])
def test_tokenizer_gives_what_that_of_transformers_gives(tmp_path, kind):
    from lightadapt.runtime.tokenizer import FACTS, RuntimeTokenizer

    theirs = build_tokenizer(kind)
    theirs.save_pretrained(tmp_path)
    ours = RuntimeTokenizer(tmp_path, {name: getattr(theirs, name) for name in FACTS})
    cut = {"max_length": 20, "return_overflowing_tokens": True, "return_offsets_mapping": True}
    calls = [
        ((TEXTS,), {}),
        ((TEXTS[0],), {}),
        ((TEXTS[0], TEXTS[3]), {"return_special_tokens_mask": True}),
        ((TEXTS, TEXTS[::-1]), {"add_special_tokens": False}),
        ((TEXTS[4],), {"truncation": True, "max_length": 12}),
        ((TEXTS[4], LONG[10:]), {"truncation": "longest_first", "max_length": 12}),
        ((TEXTS,), {"truncation": True, "stride": 3, **cut}),
        ((["who", "what"], [LONG, "it"]), {"truncation": "only_second", "stride": 5, **cut}),
        ((TEXTS[4],), {"truncation": True, "stride": 3, **cut}),
    ]
    for words, options in calls:
        one, two = ours(*words, **options), theirs(*words, **options)
        assert dict(one) == dict(two)
        assert [one.sequence_ids(row) for row in range(len(one.encodings))] == [
            two.sequence_ids(row) for row in range(len(two.encodings))
        ]
    assert ours.num_special_tokens_to_add(pair=True) == theirs.num_special_tokens_to_add(pair=True)
    assert ours.tokenize("Hello") == theirs.tokenize("Hello")
    assert ours.get_vocab() == theirs.get_vocab()
    ids = ours("Hello")["input_ids"]
    assert ours.convert_ids_to_tokens(ids) == theirs.convert_ids_to_tokens(ids)
    whole = ours(LONG)["input_ids"]
    with pytest.raises(Exception, match="too short"):
        ours("a", LONG, truncation="only_first", max_length=5)
    assert ours(LONG)["input_ids"] == whole  # what went wrong leaves nothing cut
