"""What tests of exports share."""

from __future__ import annotations

import pytest
import torch


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
