"""Silence is that of the blocks: it ends with the last one, whatever thread that is in."""

from __future__ import annotations

from threading import Event, Thread

from transformers.utils import logging

from lightadapt.machine.quiet import quiet, verbosity


def test_blocks_of_two_threads_end_as_they_began():
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    entered, leave = Event(), Event()

    def other():
        with quiet():
            entered.set()
            leave.wait(30)

    thread = Thread(target=other)
    with quiet():
        thread.start()
        assert entered.wait(30)
    assert logging.get_verbosity() == logging.ERROR  # the other one is still inside
    assert verbosity() == before[0]
    leave.set()
    thread.join()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert verbosity() == before[0]
