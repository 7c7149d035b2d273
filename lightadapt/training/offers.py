"""Whether there is what a run's arguments name: its optimizer, schedule, loggers and metric, before the first step."""

from __future__ import annotations

from collections.abc import Collection

import torch
from transformers import PreTrainedModel, Trainer, TrainingArguments, get_scheduler
from transformers.integrations import get_reporting_integration_callbacks
from transformers.training_args import OptimizerNames
from transformers.utils import is_liger_kernel_available

from lightadapt.errors import LightAdaptError, nearest


def check_offers(arguments: TrainingArguments, model: PreTrainedModel, steps: int) -> None:
    """Make each of them once, to see that it can be made.

    Raises:
        LightAdaptError: naming what cannot, the reason, and what to do.
    """
    _check_optimizer(arguments, model)
    _check_schedule(arguments, steps)
    _check_loggers(arguments)
    if arguments.use_liger_kernel and not is_liger_kernel_available():
        raise LightAdaptError("args holds use_liger_kernel=True, which needs `pip install liger-kernel`. Leave it out.")


def _check_optimizer(arguments: TrainingArguments, model: PreTrainedModel) -> None:
    name = OptimizerNames(arguments.optim).value
    try:
        Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    except Exception as error:  # whatever transformers raises for the package that it needs
        options = f" with optim_args={arguments.optim_args!r}" if arguments.optim_args else ""
        raise LightAdaptError(
            f"The optimizer {name}{options} cannot be used here: {error} Install what it needs, or leave it out."
        ) from error


def _check_schedule(arguments: TrainingArguments, steps: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=arguments.learning_rate)
    try:
        get_scheduler(
            arguments.lr_scheduler_type,
            optimizer=optimizer,
            num_warmup_steps=arguments.get_warmup_steps(steps),
            num_training_steps=steps,
            scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
        )
    except Exception as error:  # whatever the schedule raises for options that it lacks
        name = getattr(arguments.lr_scheduler_type, "value", arguments.lr_scheduler_type)
        raise LightAdaptError(
            f"lr_scheduler_type={name!r} with lr_scheduler_kwargs={arguments.lr_scheduler_kwargs} cannot be used: "
            f"{error} Give what it needs in lr_scheduler_kwargs, or leave it out."
        ) from error


def _check_loggers(arguments: TrainingArguments) -> None:
    for name in arguments.report_to:
        try:
            for logger in get_reporting_integration_callbacks([name]):
                logger()
        except Exception as error:  # each has errors of its own for the package that it needs
            raise LightAdaptError(
                f"Trainer does not accept these arguments: {error} This is about report_to={name!r}: install what it "
                "needs, or leave it out."
            ) from error


def check_metric(name: str, known: Collection[str]) -> None:
    """Raise when a metric is not among those that the validation data is scored by.

    Raises:
        LightAdaptError: naming those that are.
    """
    plain = name.removeprefix("eval_")
    if plain not in known:
        raise LightAdaptError(
            f"metric_for_best_model={name!r} is not among the metrics of an evaluation. {nearest(plain, known)}Known: "
            f"{', '.join(known)}."
        )
