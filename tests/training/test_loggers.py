"""`report_to` writes what a run noted to each logger that is installed, offline."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOMS = {
    "tensorboard": {"TENSORBOARD_LOGGING_DIR": "{}"},
    "wandb": {"WANDB_MODE": "offline", "WANDB_DIR": "{}", "WANDB_SILENT": "true"},
    "mlflow": {"MLFLOW_TRACKING_URI": "file://{}/new", "MLFLOW_ALLOW_FILE_STORE": "true"},
}
"""The loggers of which people ask most, and the environment in which each writes to a folder."""


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("name", sorted(ROOMS))
def test_a_logger_gets_the_losses(name, classifier, messages, tmp_path, monkeypatch):
    pytest.importorskip(name)
    for variable, value in ROOMS[name].items():
        monkeypatch.setenv(variable, value.format(tmp_path))
    monkeypatch.chdir(tmp_path)
    history = classifier().fit(messages, args={"report_to": [name], "max_steps": 2, "disable_tqdm": True})
    assert history.steps == 2
    files = [Path(folder, name) for folder, _, names in os.walk(tmp_path) for name in names]
    written = b"".join(file.read_bytes() for file in files if file.is_file()).decode("utf-8", "replace")
    names = " ".join(map(str, files))  # MLflow keeps a metric in a file of its name
    for noted in ("loss", "learning_rate"):
        assert noted in written + names
