"""What a run changes in its process and puts back: random numbers, threads, formats, levels, environment."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from transformers.utils import logging

from lightadapt.machine.quiet import verbosity


@contextmanager
def left_as_it_was() -> Iterator[None]:
    """The time after which all of this is again as it was before."""
    own, arrays, tensors = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    threads, dtype, level = torch.get_num_threads(), torch.get_default_dtype(), verbosity()
    exact, only_warns = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    environment = dict(os.environ)
    try:
        yield
    finally:
        random.setstate(own)
        np.random.set_state(arrays)
        torch.set_rng_state(tensors)
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        logging.set_verbosity(level)
        torch.use_deterministic_algorithms(exact, warn_only=only_warns)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        _put_back(environment)


def _put_back(environment: dict[str, str]) -> None:
    """Let the environment's variables be these."""
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
