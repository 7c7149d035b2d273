"""Artifacts go to the hub and come from there, through its client; the hub is a stand-in on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hub_stand_in import standing_in

import lightadapt as la
from lightadapt.machine.hub import is_owned_name

PUSH = """
import json, os, sys, warnings
import lightadapt as la
base = sys.argv[1]
warnings.simplefilter("ignore")
model = la.adapt(base, "classification", labels=["no", "yes"])
found = {"address": model.push_to_hub("me/answers", private=True, message="The first")}
again = la.load("me/answers")
found["same"] = again.predict(["hello"], scores=True) == model.predict(["hello"], scores=True)
onto = la.load("me/answers", onto=la.adapt(base, "classification", labels=["no", "yes"]))
found["names"] = onto.names
model.push_to_hub("me/answers", revision="second")
found["of branch"] = la.load("me/answers", revision="second").labels
def refused(call):
    try:
        call()
    except la.ArtifactError as error:
        return str(error)
found["absent"] = refused(lambda: la.load("me/nowhere"))
found["other revision"] = refused(lambda: la.load("me/answers", revision="third"))
found["no artifact"] = refused(lambda: la.load("me/model"))
found["damaged"] = refused(lambda: la.load("me/damaged"))
found["no name"] = refused(lambda: model.push_to_hub("../here"))
os.environ["HF_TOKEN"] = "hf_bad"
found["no token"] = refused(lambda: model.push_to_hub("me/answers"))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def pushed(tiny, tmp_path_factory):
    """What came of it in another process, since the client reads the hub's address once; and the hub."""
    home = tmp_path_factory.mktemp("home")
    artifact = home / "damaged"
    la.adapt(tiny("bert"), "classification", labels=["no", "yes"]).save(artifact)
    files = {file.name: file.read_bytes() for file in artifact.iterdir()}
    with standing_in() as hub:
        hub.commit(
            "me/damaged", "main", {**files, "adapter_model.safetensors": files["adapter_model.safetensors"][:-1]}
        )
        hub.commit("me/model", "main", {"config.json": b"{}"})
        environment = os.environ | {
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(home / "hf"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_TOKEN": "hf_good",
        }
        command = [sys.executable, "-c", PUSH, str(tiny("bert"))]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home, check=False)
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout.splitlines()[-1]), hub


def test_what_is_pushed_is_loaded(pushed):
    found, hub = pushed
    assert found["address"] == f"{hub.address}/me/answers"
    assert found["same"]
    assert found["names"] == ["default", "answers"]
    assert found["of branch"] == ["no", "yes"]
    assert hub.facts[0].get("private") or hub.facts[0].get("visibility") == "private"
    assert hub.facts[1]["summary"] == "The first"
    files = hub.files("me/answers", "main")
    assert {"adapter_config.json", "adapter_model.safetensors", "lightadapt.json", "tokenizer.json"} <= set(files)
    assert b'la.load("me/answers", ' in files["README.md"]
    assert hub.files("me/answers", "second").keys() == files.keys()


def test_weights_are_uploaded_as_large_files(pushed):
    _, hub = pushed
    assert list(hub.large.values()) == [hub.files("me/answers", "main")["adapter_model.safetensors"]]


def test_only_files_of_the_artifact_are_fetched(pushed):
    _, hub = pushed
    fetched = {request.rpartition("/")[2] for request in hub.asked if "me/answers/resolve" in request}
    assert "lightadapt.json" in fetched
    assert ".gitattributes" not in fetched


@pytest.mark.parametrize(
    ("case", "phrases"),
    [
        ("absent", ["There is no folder me/nowhere here", "cannot be loaded from the hub", "RepositoryNotFoundError"]),
        ("other revision", ["at revision 'third'", "RevisionNotFoundError"]),
        ("no artifact", ["me/model", "lightadapt.json"]),
        ("damaged", ["me/damaged on the hub: ", "adapter_model.safetensors is damaged"]),
        ("no name", ["push_to_hub('../here'): give an id on the hub"]),
        ("no token", ["push_to_hub('me/answers') failed", "hf auth login"]),
    ],
)
def test_what_cannot_be_is_an_error_that_names_it(pushed, case, phrases):
    found, _ = pushed
    for phrase in phrases:
        assert phrase in found[case], found[case]


def test_paths_are_never_asked_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: pytest.fail("the hub was asked"))
    for name in ("answers", "./a/b", "runs/best", "/a/b", "a/b/c", "~/a", "a\\b", "a/b.c/", "a b/c", "../a"):
        assert not is_owned_name(name) or name == "a/b.c/", name
        with pytest.raises(la.ArtifactError, match="There is no folder"):
            la.load(name)
    with pytest.raises(la.ArtifactError, match="is not a folder name: File name too long"):
        la.load("x" * 300)
    assert is_owned_name("user/adapter")
    with pytest.raises(la.LightAdaptError, match="revision='main' is for artifacts on the hub, and answers is not one"):
        la.load("answers", revision="main")


def test_a_base_that_others_do_not_have_is_said(tiny, monkeypatch):
    monkeypatch.setattr("lightadapt.adapted.keeping.push", lambda *_, **__: "https://hub/me/answers")
    model = la.adapt(tiny("bert"), "classification", labels=["no", "yes"])
    with pytest.warns(UserWarning, match="its base model is a folder here, so whoever loads it has to say where it is"):
        assert model.push_to_hub("me/answers") == "https://hub/me/answers"
