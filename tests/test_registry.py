"""Methods and tasks are found by the names that they declare: ours, a script's own, and those of installed packages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pytest
from sealed import rewrite

import lightadapt as la
from lightadapt import registry
from lightadapt.methods import METHODS, NAMES, Method, method_of_json, resolve_method
from lightadapt.methods.method import KNOWN_METHODS
from lightadapt.tasks import TASKS, resolve_task, task_of_json
from lightadapt.tasks.task import KNOWN_TASKS

DESIGN = Path(la.__file__).parent.parent / "docs" / "design.md"
RECORDS = [{"text": "It is late.", "share": 0.25}, {"text": "It came on time.", "share": 1.0}] * 4
LOAD = """
import json, sys
import lightadapt as la

folder, modules, texts = json.loads(sys.argv[1])
try:
    la.load(folder)
except la.ArtifactError as error:
    refused = str(error)
for module in modules:
    __import__(module)
adapted = la.load(folder)
print(json.dumps({"refused": refused, "found": adapted.predict(texts), "text": str(adapted)}))
"""


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Both registries are after a test what they were before it."""
    for each in (KNOWN_METHODS, KNOWN_TASKS):
        monkeypatch.setattr(each, "_classes", dict(each._classes))
        monkeypatch.setattr(each, "_names", dict(each._names))


def of_design(section: str) -> str:
    """The first example of a section of docs/design.md."""
    text = DESIGN.read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text[text.index(f"## {section}\n") :], re.DOTALL)[0]


@pytest.fixture
def modules(tmp_path, monkeypatch) -> list[str]:
    """The examples of docs/design.md as modules of a user."""
    monkeypatch.syspath_prepend(tmp_path)
    found = {"hadamard": of_design("Adding a method"), "share": of_design("Adding a task")}
    for name, code in found.items():
        assert len(code.splitlines()) < 45
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
    return list(found)


def declare(monkeypatch, **values):
    """Entry points of an installed package, both groups at once."""
    groups = {"hadamard": "lightadapt.methods", "share": "lightadapt.tasks"}
    found = [EntryPoint(name, value, groups.get(name, "lightadapt.methods")) for name, value in values.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: [each for each in found if each.group == group])


# ---- what a user brings


@pytest.mark.usefixtures("plain_processor")
def test_own_classes_train_and_are_loaded_by_another_process_that_imports_them(tiny, modules, tmp_path, capsys):
    for module in modules:
        __import__(module)
    assert type(resolve_method("Hadamard-Wide")).__module__ == "hadamard"
    assert resolve_method("hadamard-wide").settings() == {"rank": 16}
    adapted = la.adapt(tiny("bert"), "share", "hadamard")
    first = adapted.evaluate(RECORDS)["error"]
    adapted.fit(RECORDS, epochs=20)
    scores = adapted.evaluate(RECORDS)
    assert scores["error"] < first
    errors = scores.errors(8)
    assert [each["error"] for each in errors] == sorted((each["error"] for each in errors), reverse=True)
    assert (errors[0]["text"], errors[0]["expected"]) in {(each["text"], each["share"]) for each in RECORDS}
    assert [axes.get_title() for axes in scores.plot().axes] == ["metrics"]
    adapted.preview(RECORDS[:1])
    assert "label: [0.25]" in capsys.readouterr().out
    adapted.save(tmp_path / "saved")
    texts = [record["text"] for record in RECORDS[:2]]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps([str(tmp_path / "saved"), modules, texts])],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(DESIGN.parent.parent)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert "The task 'share' is not known here. Import the module that defines it before load" in told["refused"]
    assert told["text"] == str(adapted)
    assert told["found"] == pytest.approx(adapted.predict(texts), abs=1e-5)


def test_an_artifact_imports_nothing_that_it_names(tiny, modules, tmp_path, monkeypatch):
    __import__("share")
    la.adapt(tiny("bert"), "share").save(tmp_path / "saved")
    other = {"name": "hadamard:Hadamard", "settings": {}}
    rewrite(tmp_path / "saved", "lightadapt.json", lambda manifest: manifest.update(method=other))
    with pytest.raises(la.ArtifactError, match="method 'hadamard:Hadamard' is not known here"):
        la.load(tmp_path / "saved")
    assert "hadamard" not in sys.modules


def test_an_entry_point_is_looked_up_for_an_unknown_name(modules, monkeypatch):
    declare(monkeypatch, hadamard="hadamard:Hadamard", share="share:Share")
    assert resolve_method("hadamard").settings() == {"rank": 4}
    assert method_of_json({"name": "hadamard", "settings": {"rank": 2}}).rank == 2
    task = task_of_json({"name": "share", "settings": {"columns": None}, "fitted": {}})
    assert type(task).__module__ == "share"
    assert resolve_task("share") == task


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:Hadamard", "cannot be imported"),
        ("hadamard:NoSuchClass", "cannot be imported"),
        ("share:Share", "no method there has that name"),
    ],
)
def test_an_entry_point_that_holds_no_such_method_is_refused(modules, monkeypatch, value, message):
    declare(monkeypatch, hadamard=value)
    with pytest.raises(la.LightAdaptError, match=message):
        resolve_method("hadamard")


def test_a_name_of_ours_cannot_be_taken():
    for names in ({"name": "lora"}, {"name": "mine", "aliases": {"houlsby": {}}}):
        with pytest.raises(la.LightAdaptError, match="which is that of lightadapt's own"):
            type("Mine", (Method,), names)
    with pytest.raises(la.LightAdaptError, match="which is that of lightadapt's own NER"):
        type("Mine", (la.Classification,), {"name": "ner"})
    with pytest.raises(la.LightAdaptError, match=r"has the name 5\. Give a text"):
        type("Mine", (Method,), {"name": 5})
    assert METHODS["lora"] is la.LoRA
    assert resolve_method("houlsby") == la.Bottleneck(placement="houlsby")


def test_a_class_may_be_defined_again_and_another_takes_its_name_with_a_warning(recwarn):
    def define(bottom: str) -> type[Method]:
        return type(bottom, (Method,), {"name": "again", "__qualname__": bottom, "__module__": "notebook"})

    define("Mine")
    newest = define("Mine")
    assert not recwarn.list
    assert KNOWN_METHODS.find("again") == (newest, {})
    with pytest.warns(UserWarning, match=r"'again' is notebook\.Other from here on, no longer notebook\.Mine") as told:
        other = define("Other")
    assert told[0].filename == __file__
    assert KNOWN_METHODS.find("again") == (other, {})


def test_a_class_without_a_name_of_its_own_is_refused_before_it_is_lost():
    @dataclass(frozen=True, kw_only=True)
    class Narrow(la.LoRA):
        rank: int = 1

    @dataclass(frozen=True)
    class Plain(la.Classification):
        pass

    for resolve, mine in ((resolve_method, Narrow()), (resolve_method, Narrow), (resolve_task, Plain())):
        with pytest.raises(la.LightAdaptError, match="so load could not find it again"):
            resolve(mine)


def test_settings_without_a_default_and_settings_that_json_does_not_hold_are_refused():
    @dataclass(frozen=True, kw_only=True)
    class Needs(la.Probe):
        name: ClassVar[str] = "needs"
        number: object

    with pytest.raises(la.LightAdaptError, match=r"Needs has no default for number. Pass method=Needs\(…\)"):
        resolve_method("needs")
    assert resolve_method(Needs(number=1)).number == 1
    with pytest.raises(la.LightAdaptError, match=r"Needs\(number=\{1\}\) cannot be saved"):
        resolve_method(Needs(number={1}))
    with pytest.raises(la.LightAdaptError, match="Did you mean 'needs'"):
        resolve_method("need")


# ---- what is ours


def test_every_method_and_task_of_ours_is_public_and_listed_in_the_usual_order():
    expected = ["lora", "dora", "rslora", "prefix", "bottleneck", "pfeiffer", "houlsby", "parallel", "ia3", "bitfit"]
    assert list(NAMES) == [*expected, "layernorm", "prompt", "probe", "full"]
    assert list(METHODS) == [name for name in NAMES if name in METHODS] + ["peft"]
    ours = [*METHODS.values(), *TASKS.values()]
    assert len(ours) == 21
    for each in ours:
        if each.__name__ != "PeftMethod":
            assert la.HOMES[each.__name__] == each.__module__.removeprefix("lightadapt.")
            assert getattr(la, each.__name__) is each


@pytest.mark.parametrize("name", [*NAMES, "vera"])
def test_methods_come_back_from_json(name):
    method = resolve_method(name)
    assert method_of_json(json.loads(json.dumps(method.as_json()))) == method


@pytest.mark.parametrize("name", TASKS)
def test_tasks_come_back_from_json(name):
    labels = ["a", "b"] if hasattr(TASKS[name], "with_labels") else None
    task = TASKS[name](columns={TASKS[name].fields[0]: "other"}, **({"labels": labels} if labels else {}))
    assert task_of_json(json.loads(json.dumps(task.as_json())), labels) == task


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({}, "describes no method"),
        ({"name": "lora", "settings": None}, "describes no method"),
        ({"name": "lorra", "settings": {}}, "method 'lorra' is not known here. Import the module that defines it"),
        ({"name": "lora", "settings": {"shine": 1}}, "this version of lightadapt does not know"),
        ({"name": "lora", "settings": {"rank": 0}}, "LoRA(rank=0): give a whole number of at least 1"),
    ],
)
def test_what_cannot_come_back_says_so(saved, message):
    with pytest.raises(la.LightAdaptError) as caught:
        method_of_json(saved)
    assert message in str(caught.value)
