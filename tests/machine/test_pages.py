"""Freed memory that is kept for the next step: it is not asked for again, and goes back at the end."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")

COUNT = """
import resource

import psutil
import torch

from lightadapt.machine import pages


def step():
    tensors = [torch.ones(2**18) for _ in range(128)]  # 128 MiB in blocks of 1 MiB, freed at the end
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def asked_for():
    step()
    before = step()
    return step() - before


def resident():
    return psutil.Process().memory_info().rss >> 20


{body}
"""


def printed(body: str, **environment: str) -> list[int]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", COUNT.format(body=body)],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(each) for each in done.stdout.split()]


def test_inside_the_block_no_page_is_asked_for_twice_and_behind_it_all_are_given_back():
    inside, held, after = printed(
        "with pages.pages_kept():\n    print(asked_for(), resident())\nprint(resident())",
    )
    assert inside < 3_000  # of 32,768
    assert after < held - 100


def test_a_prediction_of_a_few_tens_of_mebibytes_finds_its_pages_again():
    body = """
def small():
    tensors = [torch.ones(2**18) for _ in range(32)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

pages.keep_pages()
small()
before = small()
print(small() - before)
"""
    assert printed(body)[0] < 1_600  # of 8,192


@pytest.mark.parametrize(
    "told", [{"MALLOC_TRIM_THRESHOLD_": "65536"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=65536"}]
)
def test_what_was_set_from_outside_stays(told):
    assert printed("with pages.pages_kept():\n    print(int(pages._glibc() is None))", **told) == [1]


def test_other_tunables_of_glibc_are_nothing_of_ours():
    assert printed("print(int(pages._glibc() is None))", GLIBC_TUNABLES="glibc.cpu.x86_shstk=off") == [0]
