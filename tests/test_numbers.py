"""Numbers that a caller gives are checked in one way, and errors say what is wanted."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from lightadapt.errors import LightAdaptError
from lightadapt.numbers import check_number, check_positive, check_whole, is_number, is_whole

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("value", "whole", "number"),
    [
        (3, True, True),
        (-3, True, True),
        (np.int64(3), True, True),
        (3.0, False, True),
        (np.float32(3), False, True),
        (Fraction(1, 3), False, True),
        (True, False, False),
        (np.True_, False, False),
        ("3", False, False),
        (None, False, False),
        (3j, False, False),
    ],
)
def test_what_is_a_number(value, whole, number):
    assert is_whole(value) is whole
    assert is_number(value) is number


@pytest.mark.parametrize(
    ("check", "limits", "good", "bad", "message"),
    [
        (check_whole, {}, [1, 9], [0, -1, 1.0, True, "1", None, np.int64(1)], "a whole number of at least 1."),
        (check_whole, {"least": 0}, [0], [-1], "a whole number of at least 0."),
        (check_whole, {"most": 4096}, [1, 4096], [0, 4097], "a whole number from 1 to 4,096."),
        (check_whole, {"wanted": "a whole number above 0"}, [1], [0], "a whole number above 0."),
        (check_number, {"least": 0}, [0, 0.5, 7], [-1, INF, NAN, True, "1", None], "a number of at least 0."),
        (check_number, {"least": 0, "below": 1}, [0, 0.9], [1, -0.1, NAN], "a number from 0 to below 1."),
        (check_positive, {}, [1e-9, 7], [0, -1, INF, NAN, False, "1"], "a number above 0."),
        (check_positive, {"below": 1}, [0.5], [0, 1], "a number above 0 and below 1."),
    ],
)
def test_limits(check, limits, good, bad, message):
    for value in good:
        check("size", value, **limits)
    for value in bad:
        for owner, given in (("", f"size={value!r}"), ("Mine", f"Mine(size={value!r})")):
            with pytest.raises(LightAdaptError) as caught:
                check("size", value, owner=owner, **limits)
            assert str(caught.value) == f"{given}: give {message}"
