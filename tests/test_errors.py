"""Warnings name the line of the caller, however deep in lightadapt their reason is found."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings

import pytest

from lightadapt.errors import DataError, RecordError, listed, nearest, shown, warn

DEEP = """
import contextlib
from lightadapt.errors import DataError, RecordError, listed, nearest, shown, warn

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


class Odd:
    def __repr__(self):
        raise RuntimeError("no repr")


def itself() -> list:
    """A list that holds itself."""
    found: list = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        ([1, "b", None], "[1, 'b', None]"),
        ((1,), "(1,)"),
        ({"a": [1]}, "{'a': [1]}"),
        ((), "()"),
        (set(), "set()"),
        (itself(), "[[[[…]]]]"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, …]"),
        ("z" * 10**7, f"'{'z' * 78}…"),
        (-(10**5_000), "a whole number of about 4,983 digits"),
        (Odd(), "a Odd that cannot be shown"),
        ([Odd()], "a list that cannot be shown"),
        ("a\ud800", "'a\\ud800'"),
    ],
    ids=range(13),
)
def test_a_value_is_shown_in_short_whatever_it_is(value, text):
    assert shown(value) == text


def test_a_value_of_a_class_with_half_a_character_can_be_printed():
    class Half:
        def __repr__(self):
            return "\ud800"

    assert shown(Half()) == "\\ud800"


def test_messages_can_be_printed_and_are_short():
    error = DataError("begin \ud800" + "x" * 10**6 + " end")
    assert str(error).startswith("begin \\ud800")
    assert str(error).endswith(" end")
    assert len(str(error)) == 1_000
    assert pickle.loads(pickle.dumps(error)).args == error.args
    assert len(str(RecordError(3, "y" * 10**6).at("Record 3"))) == 1_000


def test_many_names_are_listed_in_short():
    assert listed(["a", 5, "z" * 100]) == f"a, 5, '{'z' * 38}…"
    assert listed(map(str, range(100)), 2) == "0, 1, … (100 in all)"
    assert nearest("text", [5, None, "texts", "x" * 10**6]) == "Did you mean 'texts'? "
    assert nearest("x" * 10**6, ["x"]) == ""
