"""Regular expressions of modules: matched as PEFT matches them, and none takes long, wherever it comes from."""

from __future__ import annotations

import json
import re
import shutil

import peft
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from peft.utils.other import get_pattern_key
from sealed import rewrite

import lightadapt as la
from lightadapt.peft_bridge.patterns import paths_of, values_of

PATHS = [f"encoder.layer.{block}.attention.self.{name}" for block in range(12) for name in ("query", "value")]
HOSTILE = [
    r"(\w+\.?)+!",
    r"(.*)*(.*)*(.*)*!",
    "((a{0,20}){0,20}|(.?){0,90})*!",
    "(.{1000}){1000}!",
    "a" * 2_000,
    "(?:(?:(?:a{1000}){1000}){1000}){1000}",
]


@given(
    st.lists(
        st.sampled_from(["query", "0.*", r"\.1\.", "[0-3]", "(self|x)", r"\d+", "layer.", ".*", "$", "^"]), max_size=4
    )
)
@example([r"\.1\.", ".*", "query"])
def test_patterns_mean_what_they_mean_to_peft(parts):
    pattern = "".join(parts)
    assert paths_of(pattern, PATHS) == [path for path in PATHS if re.fullmatch(pattern, path)]
    patterns = {pattern: 1, ".*query": 2}
    found = values_of(patterns, PATHS)
    for path in PATHS:
        key = get_pattern_key(patterns, path)
        assert found.get(path) == patterns.get(key)


@pytest.mark.parametrize("pattern", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize(
    "read", [paths_of, lambda pattern, paths: values_of({pattern: 1}, paths)], ids=["whole", "end"]
)
def test_no_pattern_takes_long(pattern, read):
    """It would not come back otherwise."""
    try:
        assert not read(pattern, ["a" * 200, *PATHS])
    except la.LightAdaptError as error:
        assert "takes too long to match" in str(error)  # noqa: PT017, either is right


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """An artifact whose method and adapter hold patterns of the user."""
    folder = tmp_path_factory.mktemp("patterns") / "saved"
    config = peft.LoraConfig(r=4, target_modules=r".*\.(query|value)", rank_pattern={r"0\..*query": 2, "1.*": 3})
    la.adapt(tiny("bert"), "classification", config, labels=["no", "yes"]).save(folder)
    return folder


def test_peft_sees_the_paths_that_a_pattern_matches(whole, tiny):
    saved = json.loads((whole / "adapter_config.json").read_text())
    assert isinstance(saved["target_modules"], list)
    assert {key.replace("\\", ""): rank for key, rank in saved["rank_pattern"].items()} == {
        "bert.encoder.layer.0.attention.self.query": 2,
        "bert.encoder.layer.1.attention.self.query": 3,
        "bert.encoder.layer.1.attention.self.value": 3,
    }
    again = la.load(whole)
    assert again.method.config["target_modules"] == r".*\.(query|value)"
    ranks = {name: layer.shape[0] for name, layer in again.model.named_parameters() if "lora_A" in name}
    assert sorted(ranks.values()) == [2, 3, 3, 4, 4, 4]


@pytest.mark.parametrize("pattern", HOSTILE[:3], ids=range(3))
@pytest.mark.parametrize(
    "field", ["target_modules", "exclude_modules", "rank_pattern", "alpha_pattern", "layers_pattern"]
)
@pytest.mark.parametrize("file", ["adapter_config.json", "lightadapt.json"])
def test_a_hostile_pattern_in_a_folder_is_refused(whole, tmp_path, file, field, pattern):
    """It would not come back otherwise."""
    folder = shutil.copytree(whole, tmp_path / "saved")
    value = {pattern: 2} if field in ("rank_pattern", "alpha_pattern") else pattern

    def change(content):
        config = content if file == "adapter_config.json" else content["method"]["settings"]["config"]
        config[field] = value
        if field == "layers_pattern":
            config["layers_to_transform"] = [0]

    rewrite(folder, file, change)
    try:
        la.load(folder)
    except la.LightAdaptError as error:
        assert len(str(error)) <= 1_000  # noqa: PT017, a pattern that matches nothing may be refused or without effect


def test_patterns_of_methods_are_tried_on_for_syntax_and_for_time(tiny):
    for options, message in [
        ({"rank_pattern": {r"(\w+\.?)+!": 2}}, "matches none of|takes too long"),
        ({"rank_pattern": {"(": 2}}, "is not a regular expression"),
    ]:
        with pytest.raises(la.LightAdaptError, match=message):
            la.adapt(tiny("bert"), "classification", la.LoRA(**options), labels=["a", "b"])
    with pytest.raises(la.LightAdaptError, match="is not a regular expression"):
        la.adapt(tiny("bert"), "classification", peft.LoraConfig(rank_pattern={"(": 2}), labels=["a", "b"])
    config = peft.FourierFTConfig(n_frequency=4, n_frequency_pattern={".*query": 2})
    with pytest.raises(la.LightAdaptError, match="takes names of modules here, and no regular expressions"):
        la.adapt(tiny("bert"), "classification", config, labels=["a", "b"])
