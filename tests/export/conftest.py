"""What tests of exports share."""

from __future__ import annotations

import pytest
import torch

from lightadapt.export.format import KNOWN_FORMATS


@pytest.fixture
def moved(settled):
    """A settled adaptation whose adapter and head do something, in float32."""

    def make(name, task, method="lora", **options):
        adapted, _ = settled(name, task, method=method, dtype="float32", **options)
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in sorted(adapted.runner.adaptation.all_trained):  # a set has another order in each process
                place = adapted.model.get_parameter(parameter)
                place += 0.1 * torch.randn_like(place)
        return adapted

    return make


@pytest.fixture
def formats_of_users(monkeypatch):
    """Formats that are defined in a test are forgotten behind it."""
    monkeypatch.setattr(KNOWN_FORMATS, "_classes", dict(KNOWN_FORMATS._classes))
    monkeypatch.setattr(KNOWN_FORMATS, "_names", dict(KNOWN_FORMATS._names))
