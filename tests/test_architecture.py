"""The house rules that a reader relies on: imports go downwards, import is light, names are there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lightadapt

ROOT = Path(lightadapt.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
assert len(FILES) > 90
LAYERS = [
    {"errors"},
    {"numbers", "registry"},
    {"suggestions"},
    {"machine", "sample", "display"},
    {"data", "anatomy"},
    {"heads", "metrics", "peft_bridge"},
    {"tuners"},
    {"methods", "tasks"},
    {"base", "evaluation"},
    {"zero_shot"},
    {"adaptation"},
    {"runtime", "stream"},
    {"training", "export"},
    {"labelling", "continual"},
    {"adapted"},
    {"api"},
    {"demo", "experiments", "serving"},
    {"cli", "comparison"},
    {"__main__"},
]
"""A module imports from layers above it in this list only, or from its own folder."""


def imports_of(file: Path) -> set[str]:
    """The first component below lightadapt of everything a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("lightadapt.")}
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lightadapt"):
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found


def test_imports_go_downwards():
    rank = {name: number for number, names in enumerate(LAYERS) for name in names}
    for file in FILES:
        own = file.relative_to(ROOT).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for other in imports_of(file):
            assert other == own or rank[other] < rank[own], f"{file} imports {other}"


PRIVATE = {
    "_active_adapter",
    "_disable_adapters",
    "_hf_peft_config_loaded",
    "active_adapter",
    "active_adapters",
    "adapter_layer_names",
    "delete_adapter",
    "disable_adapters",
    "enable_adapters",
    "get_base_layer",
    "init_lora_weights",
    "lora_A",
    "lora_B",
    "lora_variant",
    "merged_adapters",
    "other_param_names",
    "set_adapter",
}
"""Attributes of PEFT's layers, of its configs and of the models that it adapts."""
INSIDE_PEFT = {"peft_bridge", "tuners"}


def attributes_of(tree: ast.AST) -> set[str]:
    """The attributes that a file reads, writes or asks for by name."""
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr", "hasattr", "delattr"):
            found |= {part.value for part in node.args[1:2] if isinstance(part, ast.Constant)}
    return found


def test_peft_is_reached_into_in_one_place_only():
    doors = set()
    for file in FILES:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        private = {module for module in modules if module.startswith("peft.")}
        room = file.relative_to(ROOT).parts[0]
        assert not private or room == "peft_bridge", f"{file}: {private}"
        reached = attributes_of(tree) & PRIVATE
        assert not reached or room in INSIDE_PEFT, f"{file}: {reached}"
        doors |= reached
    assert {"_hf_peft_config_loaded", "init_lora_weights", "_active_adapter", "lora_A"} <= doors  # it does see them


def test_tests_mirror_the_package():
    """A folder of tests is named as the room that it tests, and no two files share a name."""
    tests = ROOT.parent / "tests"
    rooms = {file.parent.relative_to(ROOT).as_posix() for file in ROOT.rglob("*.py")} | {"benchmarks"}
    files = [file.relative_to(tests) for file in tests.rglob("test_*.py")]
    strange = {str(file) for file in files if file.parent.as_posix() not in rooms}
    assert len(files) > 30
    assert not strange, f"no room of lightadapt is called so: {sorted(strange)}"
    assert len({file.name for file in files}) == len(files)


def test_import_and_help_are_light():
    heavy = "{'torch', 'transformers', 'peft', 'datasets', 'sklearn', 'pandas'}"
    for statement in ("import lightadapt", "import lightadapt.cli", "from lightadapt import sample"):
        script = f"{statement}\nimport sys\nprint(sorted({heavy} & sys.modules.keys()))"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]", statement


def test_every_public_name_is_there():
    assert {"adapt", "load", "LoRA", "NER"} <= set(lightadapt.__all__)
    for name in lightadapt.__all__:
        assert getattr(lightadapt, name) is not None
    assert set(lightadapt.__all__) <= set(dir(lightadapt))
    with pytest.raises(AttributeError, match="no attribute 'adept'"):
        _ = lightadapt.adept


def test_readers_of_types_see_the_same_public_names():
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == {name: f"lightadapt.{home}" for name, home in lightadapt.HOMES.items()}
    assert set(lightadapt.__all__) == {*seen, "ArtifactError", "DataError", "LightAdaptError"}


def test_errors_are_value_errors():
    assert issubclass(lightadapt.LightAdaptError, ValueError)
    assert issubclass(lightadapt.DataError, lightadapt.LightAdaptError)
    assert issubclass(lightadapt.ArtifactError, lightadapt.LightAdaptError)


def test_every_benchmark_can_be_imported():
    folder = ROOT.parent / "benchmarks"
    names = sorted(file.stem for file in folder.glob("*.py"))
    assert "train_speed" in names
    script = f"import sys\nsys.path.insert(0, {str(folder)!r})\n" + "\n".join(f"import {name}" for name in names)
    subprocess.run([sys.executable, "-c", script], check=True)
