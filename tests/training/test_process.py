"""A run leaves its process as it was, and is the same run whatever state it finds."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
import torch
from learned import assert_equal, state_of
from transformers import TrainerCallback
from transformers.utils import logging

ARGS = {"disable_tqdm": True, "log_level": "error"}


def snapshot():
    numpy_state = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (numpy_state[0], numpy_state[1].tolist(), *numpy_state[2:]),
        "torch": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "verbosity": logging.get_verbosity(),
        "exact": torch.are_deterministic_algorithms_enabled(),
        "environment": dict(os.environ),
    }


class Disturb(TrainerCallback):
    """Changes what a careless library would."""

    def on_train_end(self, args, state, control, **kwargs):
        os.environ["LEFT_BEHIND"] = "1"
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        logging.set_verbosity_debug()


def test_the_process_is_left_as_it_was(classifier, messages):
    runs = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        adapted = classifier(seed=5)
        before = snapshot()
        adapted.fit(messages, messages[:5], epochs=2, args=ARGS, callbacks=[Disturb()])
        after = snapshot()
        assert {name for name in before if before[name] != after[name]} == set()
        runs.append(state_of(adapted))
    assert_equal(*runs)


def test_also_by_a_run_that_fails(classifier, messages):
    class Fail(Disturb):
        def on_step_end(self, args, state, control, **kwargs):
            self.on_train_end(args, state, control)
            raise RuntimeError("as a callback may")

    adapted = classifier()
    before = snapshot()
    with pytest.raises(RuntimeError, match="as a callback may"):
        adapted.fit(messages, epochs=1, args=ARGS, callbacks=[Fail()])
    assert snapshot() == before
