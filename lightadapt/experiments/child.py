"""The other side of `call_apart`: `python child.py JOB.json` calls the function that the job names.

It is run as a file and needs torch and transformers alone, so that an interpreter without lightadapt can run it, too.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from importlib import import_module
from pathlib import Path

import torch
from transformers.utils import logging


def main() -> None:
    """Do the job of the file that the first argument names; of several processes the first writes the result."""
    if Path(sys.path[0]).resolve() == Path(__file__).parent.resolve():
        del sys.path[0]  # the files beside this one are modules of lightadapt, and of no other name
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if job["threads"]:
        torch.set_num_threads(job["threads"])
    result = getattr(import_module(job["module"]), job["function"])(**job["arguments"])
    if os.environ.get("RANK", "0") == "0":
        Path(job["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
