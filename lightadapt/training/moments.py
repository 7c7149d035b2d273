"""When a run evaluates and saves, and by which metric its best weights are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightadapt.errors import LightAdaptError

LESS_IS_BETTER = ("loss", "perplexity", "mae", "mse", "rmse")
"""How the names of metrics end of which the least is the best."""


def moments_of(
    given: Mapping[str, Any],
    *,
    headline: str | None,
    greater_is_better: bool,
    keeps: bool,
    every: int,
    usual: str = "epoch",
) -> dict[str, Any]:
    """Trainer's arguments for evaluations, checkpoints and the best weights, where the user does not give them.

    Saving follows the evaluations, since the best weights are those of a checkpoint.

    Args:
        given: the arguments of Trainer that the user gave.
        headline: the metric of the task; None: there is no validation data.
        greater_is_better: of the headline.
        keeps: whether checkpoints are kept after the run.
        every: steps between evaluations by steps, unless they are given.
        usual: by what evaluations come, `"epoch"` or `"steps"`, unless it is given.

    Raises:
        LightAdaptError: what was given does not go together, and what would.
    """
    when, saved = _name(given.get("eval_strategy")), _name(given.get("save_strategy"))
    if headline is None:
        _check_without_validation(given, when)
        return {"eval_strategy": "no", "save_strategy": "epoch" if keeps else "no", "load_best_model_at_end": False}
    when = when or ("steps" if given.get("eval_steps") else usual)
    best = bool(given.get("load_best_model_at_end", when != "no"))
    if best and when == "no":
        raise LightAdaptError(
            "args holds load_best_model_at_end=True and eval_strategy='no': the best weights are those of an "
            "evaluation. Leave one of them out."
        )
    follows = when if best else "epoch" if keeps else "no"
    if best and saved not in (None, when, "best"):
        raise LightAdaptError(_apart(saved, when))
    metric = str(given.get("metric_for_best_model") or headline).removeprefix("eval_")
    chosen = {
        "eval_strategy": when,
        "save_strategy": saved or follows,
        "load_best_model_at_end": best,
        "metric_for_best_model": f"eval_{metric}",
        "greater_is_better": greater_is_better if metric == headline else not metric.endswith(LESS_IS_BETTER),
    }
    return chosen | _steps(given, chosen, every)


def _apart(saved: str, when: str) -> str:
    """What is said when saving and evaluating are to be at other moments."""
    if saved == "no":
        return (
            "These training arguments do not fit together: save_strategy='no', but the best weights are those of a "
            "checkpoint. Leave it out, or give load_best_model_at_end=False, too."
        )
    return (
        f"These training arguments do not fit together: save_strategy={saved!r}, but evaluations come by "
        f"eval_strategy={when!r}, and the best weights are kept at evaluations. Leave save_strategy out (with "
        f"output_dir, save_minutes=… saves in between), give eval_strategy={saved!r}, too, or give "
        "load_best_model_at_end=False."
    )


def _steps(given: Mapping[str, Any], chosen: Mapping[str, Any], every: int) -> dict[str, Any]:
    """The steps between evaluations, and between checkpoints; the same where one of them is given."""
    if chosen["eval_strategy"] != "steps":
        return {}
    evaluated = given.get("eval_steps") or given.get("logging_steps")
    if chosen["save_strategy"] != "steps":
        return {"eval_steps": evaluated or every}
    either = evaluated or given.get("save_steps") or every
    return {"eval_steps": either, "save_steps": given.get("save_steps") or either}


def _check_without_validation(given: Mapping[str, Any], when: str | None) -> None:
    names = ("load_best_model_at_end", "metric_for_best_model", "eval_steps", "eval_on_start")
    wanting = [name for name in names if given.get(name)]
    wanting += ["eval_strategy"] if when not in (None, "no") else []
    wanting += ["save_strategy"] if _name(given.get("save_strategy")) == "best" else []
    if wanting:
        value = given[wanting[-1]]
        raise LightAdaptError(
            f"args holds {wanting[-1]}={_name(value)!r}, which needs validation data: fit(train, validation=…, args=…)."
        )


def _name(value: Any) -> Any:
    """A strategy as a word; transformers has enumerations for them, too."""
    return getattr(value, "value", value)
