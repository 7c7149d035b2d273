"""One job, one process: a function is called in a new Python, so that time and memory are those of this call alone."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from lightadapt.errors import LightAdaptError

CHILD = Path(__file__).with_name("child.py")
STEADY = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Environment that makes glibc give memory back when it is freed, so that the peak is what was in use. Steps may take
twice as long."""


class ChildError(LightAdaptError):
    """A process that ended without a result; the message is all that it said of it."""

    longest: ClassVar[int] = sys.maxsize  # tracebacks are long

    def __init__(self, said: str, code: int) -> None:
        self.reason = (said.strip().splitlines() or [f"the process ended with {code}"])[-1]
        """The last line, which of a traceback is the error itself."""
        super().__init__(said.strip() or self.reason)


def call_apart(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    *,
    threads: int | None = None,
    processes: int = 1,
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
    seconds: float | None = None,
) -> Any:
    """The result of a function that is called with these arguments in a process of its own.

    Args:
        function: of a module, or of the script that runs.
        arguments: by name; JSON must hold them, and the result.
        threads: cores that each process computes on; None: as torch chooses.
        processes: torchrun starts so many; the result is that of the first.
        environment: what is set beside the variables of this process.
        python: another interpreter, which finds the modules beside the function and its own packages alone.
        seconds: after which the process is ended; None: never.

    Raises:
        ChildError: the process ended without a result, or was ended.
    """
    with tempfile.TemporaryDirectory(prefix="lightadapt-job-") as folder:
        job, result = Path(folder) / "job.json", Path(folder) / "result.json"
        module, place = _place_of(function)
        content = {"module": module, "function": function.__name__, "arguments": dict(arguments)}
        job.write_text(json.dumps({**content, "threads": threads, "result": str(result)}), encoding="utf-8")
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        limit = {"OMP_NUM_THREADS": str(threads)} if threads and processes > 1 else {}
        found = sys.path if python == sys.executable else [place]
        try:
            done = subprocess.run(
                [python, *(torchrun if processes > 1 else ()), str(CHILD), str(job)],
                env={**os.environ, **_imports(found), **limit, **(environment or {})},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise ChildError(f"the process was ended after {seconds:.0f} s", -1) from None
        if not result.is_file():
            raise ChildError(done.stderr, done.returncode)
        return json.loads(result.read_text(encoding="utf-8"))


def _place_of(function: Callable[..., Any]) -> tuple[str, str]:
    """The name under which another process imports the function's module, and the folder in which it finds that."""
    file = Path(inspect.getfile(function)).resolve()
    name = file.stem if function.__module__ == "__main__" else function.__module__
    return name, str(file.parents[name.count(".")])


def _imports(path: list[str]) -> dict[str, str]:
    """What makes another Python find these modules, and no file that lies in the current folder."""
    return {"PYTHONPATH": os.pathsep.join(each or os.getcwd() for each in path), "PYTHONSAFEPATH": "1"}
