"""bitsandbytes is not imported before something is quantized, and PEFT finds it then."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
import lightadapt as la
for method in ("lora", "ia3", "dora", "vera", "adalora", "bottleneck"):
    la.adapt(sys.argv[1], "classification", method, labels=["a", "b"])
assert "peft" in sys.modules
assert "bitsandbytes" not in sys.modules
adapted = la.adapt(sys.argv[1], "classification", "lora", labels=["a", "b"], quantize="4bit")
import bitsandbytes
import peft
assert peft.helpers.bnb.functional is bitsandbytes.functional
assert sum(isinstance(each, peft.tuners.lora.bnb.Linear4bit) for each in adapted.model.modules()) > 0
"""


def test_it_is_imported_when_something_is_quantized(tiny):
    pytest.importorskip("bitsandbytes")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT, str(tiny("bert"))], stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()
