"""Warnings name the line of the caller, however deep in lightadapt their reason is found."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest

from lightadapt.errors import warn

DEEP = """
import contextlib
from lightadapt.errors import warn

def here():
    warn("it is late", RuntimeWarning)

@contextlib.contextmanager
def around():
    here()
    yield

def deep():
    with around():
        pass

def called_back(action):
    action()
"""


def a_module(name: str, code: str = DEEP) -> dict:
    """What a module of that name defines."""
    defined = {"__name__": name, "__package__": name.rpartition(".")[0]}
    exec(compile(code, f"{name}.py", "exec"), defined)
    return defined


def line_of(action) -> tuple[str, int, type]:
    """Where a warning of an action is said to be, and its kind."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        action()
    assert [str(each.message) for each in told] == ["it is late"]
    return told[0].filename, told[0].lineno, told[0].category


def test_the_line_is_that_of_the_first_code_outside():
    ours, trainer = a_module("lightadapt.training.deep"), a_module("transformers.trainer")
    first = test_the_line_is_that_of_the_first_code_outside.__code__.co_firstlineno
    for number, action in enumerate(
        [
            lambda: ours["here"](),
            lambda: ours["deep"](),
            lambda: ours["called_back"](lambda: ours["deep"]()),
            lambda: trainer["called_back"](ours["deep"]),
        ]
    ):
        assert line_of(action) == (__file__, first + 5 + number, RuntimeWarning)


def test_a_warning_in_the_suite_is_no_error_of_lightadapt():
    with pytest.warns(UserWarning, match="it is late") as told:
        warn("it is late")
    assert told[0].filename == __file__


def test_where_lightadapt_is_what_was_started_the_outermost_line_is_named(tmp_path):
    file = tmp_path / "started.py"
    file.write_text(
        "__package__ = 'lightadapt.experiments'\nfrom lightadapt.errors import warn\n\nwarn('it is late')\n"
    )
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[0] == f"{file}:4: UserWarning: it is late"
