"""A process that is forked while another thread computes can compute as well."""

from __future__ import annotations

import os
import threading
import time

import pytest

import lightadapt as la
from lightadapt.base import backbone as module

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@pytest.fixture
def held(tiny):
    """A model whose lock another thread holds until it is let go."""
    adapted = la.adapt(tiny("bert"), "classification", labels=["a", "b"])
    lock, taken, free = adapted._several.backbone.lock, threading.Event(), threading.Event()

    def hold():
        with lock:
            taken.set()
            free.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(60)
    yield adapted, free
    free.set()
    thread.join(60)


def lock_in_child(adapted, seconds=10):
    """Whether a forked process gets the lock; one that hangs is ended."""
    child = os.fork()
    if child == 0:
        os._exit(0 if adapted._several.backbone.lock.acquire(timeout=seconds) else 1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def test_a_lock_that_is_held_for_long_is_free_in_the_child(held, monkeypatch):
    adapted, _ = held
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    assert lock_in_child(adapted)
    assert not adapted._several.backbone.lock.acquire(blocking=False)  # here it is still held


def test_a_fork_waits_for_what_computes(held):
    adapted, free = held
    threading.Timer(0.3, free.set).start()
    began = time.monotonic()
    assert lock_in_child(adapted)
    assert 0.2 < time.monotonic() - began < 10
    assert adapted._several.backbone.lock.acquire(timeout=10)  # the parent has given it back
    adapted._several.backbone.lock.release()


def test_a_fork_inside_the_lock_goes_on_in_both(tiny):
    adapted = la.adapt(tiny("bert"), "classification", labels=["a", "b"])
    with adapted._several.backbone.lock:
        assert lock_in_child(adapted)
    assert adapted._several.backbone.lock.acquire(blocking=False)
    adapted._several.backbone.lock.release()
