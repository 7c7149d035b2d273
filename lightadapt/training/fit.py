"""The recipe of `Adapted.fit`: data is read and checked, the run is set up, and only then does the model change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any

from lightadapt.adaptation.calibrating import calibrate_on, check_calibrates, check_enough
from lightadapt.adaptation.history import History, LastRun
from lightadapt.adaptation.manifest import save
from lightadapt.adaptation.runner import Prepared, Runner
from lightadapt.data import Data, Records
from lightadapt.data.skipping import BadRecords
from lightadapt.errors import LightAdaptError, warn
from lightadapt.stream.summary import keep_summary
from lightadapt.tasks import Task
from lightadapt.tasks.losses.objective import Objective
from lightadapt.training.checks import GradientWatch, check_learning_rate, check_targets, check_weights
from lightadapt.training.few_shot import (
    Start,
    choose_recipe,
    few_shot_objective,
    few_shot_rates,
    find_start,
    is_of_tags,
    take_start,
)
from lightadapt.training.frozen import FrozenBase
from lightadapt.training.given import check_callbacks
from lightadapt.training.held_out import hold_out, is_share
from lightadapt.training.job import Job, Validation
from lightadapt.training.process import left_as_it_was
from lightadapt.training.rates import usual_rates
from lightadapt.training.recipe import FEW_SHOT, Recipe
from lightadapt.training.resuming import digests_of, go_back
from lightadapt.training.run import Run
from lightadapt.training.seen import some_of_each
from lightadapt.training.self_training import Unlabelled, joined
from lightadapt.training.settings import Settings
from lightadapt.training.tag_rows import start_tags

FEW = 8
"""Validation records that show what the metrics are called."""


@left_as_it_was()
def fit(
    runner: Runner,
    train: Data,
    validation: Data | float | None,
    settings: Settings,
    *,
    unlabelled: Data | None,
    columns: Mapping[str, str | int] | None,
    callbacks: Sequence[Any],
    on_error: str,
    summary: bool = True,
    calibrates: bool = False,
) -> History:
    """Train an adaptation, and return the record of the run; see `Adapted.fit`.

    Raises:
        DataError: a record cannot be used; before training starts.
        LightAdaptError: the settings contradict each other, or the loss is no longer finite.
    """
    watchers, method = check_callbacks(callbacks), runner.adaptation.design.method
    if calibrates:
        check_calibrates(runner.task, "fit(calibrate=True)")
        if validation is None:
            raise LightAdaptError(
                "fit(calibrate=True) finds the temperature on validation data, and there is none. Give validation=…, "
                "such as 0.1 for a tenth of the training data."
            )
    check_weights(runner)
    check_learning_rate(settings.learning_rate, method.learning_rate, method.name)
    bad, unseen, plain = BadRecords(on_error), BadRecords(on_error), BadRecords(on_error)
    learned = runner.prepare(train, columns=columns, bad=bad)
    runner.check_legible(learned.examples, refuse=True)
    count, seed = len(learned.examples), runner.adaptation.design.seed
    kept: dict[str, Any] = {}
    checked, held_out = None, None
    if is_share(validation):
        kept["validation"] = float(validation)
        learned, checked, held_out = hold_out(learned, float(validation), seed)
    elif validation is not None:
        checked = runner.read(validation, learned.task, "validation", columns=columns, bad=unseen)
    texts = None if unlabelled is None else Unlabelled(runner, unlabelled, columns, plain)
    if calibrates and checked is not None:
        check_enough(*checked)
    bad.tell(count)
    unseen.tell(0 if checked is None else len(checked[0]))
    plain.tell(0 if texts is None else len(texts.examples))
    if bad.skips:
        kept["skipped"] = {"train": bad.count, "validation": unseen.count}
    recipe = choose_recipe(runner, learned, settings.recipe)
    start = (
        find_start(runner, learned)
        if recipe.name == FEW_SHOT.name and runner.adaptation.head.prototypes is None
        else None
    )
    lesson = usual_lesson(runner, learned, recipe, start)
    history = learn(runner, lesson, checked, settings, watchers=watchers, kept=kept, held_out=held_out or [])
    if texts is not None:
        examples, records = texts.labelled_by(runner)
        kept["unlabelled"] = {"given": len(texts.examples), "learned": len(examples)}
        more = usual_lesson(runner, joined(learned, examples, records), recipe, start)
        history = learn(runner, more, checked, settings, watchers=watchers, kept=kept, held_out=held_out or [])
    seen = some_of_each(learned.task, learned.examples, learned.records, seed)
    runner.past = replace(runner.past, seen=seen, statistics={})
    if calibrates and checked is not None:
        history.settings["calibration"] = calibrate_on(runner, *checked)._asdict()
    if summary:
        keep_summary(runner, learned.examples, None if checked is None else checked[0])
    return history


@dataclass(frozen=True)
class Lesson:
    """What is learned in one run, and how."""

    learned: Prepared
    features: Sequence[Any]
    recipe: Recipe
    objective: Objective | None
    """The loss; None: the model's own."""
    begin: Callable[[], None]
    """Makes the model ready for it, when nothing can be refused any more."""
    rates: tuple[float, float]
    """The usual learning rates, of the method and of the head."""
    title: str = ""
    """Stands before the progress bar, behind the names of task and method."""
    call: str = "fit"
    """What it is a part of. Whoever calls puts the model back when it does not end well, unless it is `fit`."""


def usual_lesson(runner: Runner, learned: Prepared, recipe: Recipe, start: Start | None) -> Lesson:
    """What `fit` does with data that has been read.

    Args:
        start: where prototypes start, where the head has none before.

    Raises:
        DataError: a record cannot be encoded.
        LightAdaptError: there is nothing to learn.
    """
    task = learned.task
    features = runner.encode(learned.examples, learned.records, targets=True, task=task)
    check_targets(features, task, learned.view)
    few = recipe.name == FEW_SHOT.name

    def begin() -> None:
        runner.settle(task)
        if start is not None and runner.adaptation.head.prototypes is None:
            take_start(runner, start)
        fresh = runner.adaptation.head.is_fresh
        runner.adaptation.head.start(task.first_outputs(learned.examples, runner.view))
        if few and fresh and is_of_tags(learned):
            start_tags(runner, features)

    return Lesson(
        learned,
        features,
        recipe,
        few_shot_objective(learned, start) if few else task.objective(learned.examples, learned.view),
        begin,
        few_shot_rates(runner.adaptation.design.method, start) if few else usual_rates(runner, learned),
        title="few-shot recipe" if few else "",
    )


def learn(
    runner: Runner,
    lesson: Lesson,
    checked: tuple[Sequence[Any], Records] | None,
    settings: Settings,
    *,
    watchers: Sequence[Any],
    kept: Mapping[str, Any] | None = None,
    held_out: Sequence[int] = (),
) -> History:
    """Run a lesson, and return its record.

    Args:
        checked: validation examples, by which the best weights are chosen, and their records; None: there are none.
        watchers: callbacks of Trainer.
        kept: what the history is to say of records that were left out or held out.
        held_out: which were held out for validation.

    Raises:
        LightAdaptError: the settings ask for what cannot be had, or the loss is no longer finite.
    """
    learned, task = lesson.learned, lesson.learned.task
    frozen, noted = FrozenBase(runner.adaptation, dropout=settings.base_dropout), dict(kept or {})
    scored = None if checked is None else _validation(runner, task, *checked)
    run = Run(
        job=_job_of(runner, learned, lesson.features, frozen, scored, lesson.objective),
        settings=settings,
        recipe=lesson.recipe,
        title=", ".join(filter(None, [task.name, runner.adaptation.design.method.name, lesson.title])),
        default_rates=lesson.rates,
        call=lesson.call,
        seed=runner.adaptation.design.seed,
    )
    run.check()  # from here on the model changes
    lesson.begin()
    data = {} if settings.folder is None else digests_of(lesson.features, None if checked is None else checked[0])
    runner.last_run = LastRun({**run.used, "records": len(learned.examples), **run.job.size, **data, **noted})
    with frozen:
        run.train(watchers, partial(_keep, runner, noted, list(held_out), has_scores=not runner.task.tunes))
    if checked is not None and (runner.task.tunes or runner.task.looks_back):
        _tune(runner, *checked)
    assert runner.last_run.history is not None
    return runner.last_run.history


def _keep(
    runner: Runner, kept: Mapping[str, Any], held_out: list[int], history: History, ended: bool, *, has_scores: bool
) -> None:
    """Keep the record of a run, also of one that did not come to its end.

    Args:
        kept: what the history is to say of records that were left out or held out.
        held_out: which were held out for validation.
        has_scores: whether the scores of its best evaluation are those of its weights alone; else something is tuned
            for them when the run has ended.
    """
    took = {"steps": history.steps, "seconds": round(history.seconds, 1)}
    history.settings |= kept
    history.held_out = held_out
    metrics = history.best_scores if ended or has_scores else {}
    runner.last_run = LastRun({**runner.last_run.settings, **took}, metrics, history)


def _job_of(
    runner: Runner,
    learned: Prepared,
    features: Sequence[Any],
    frozen: FrozenBase,
    validation: Validation | None,
    objective: Objective | None,
) -> Job:
    """What the run is given to do."""
    adaptation, task = runner.adaptation, learned.task
    return Job(
        model=runner.model,
        blocks=adaptation.blocks,
        first_stack=adaptation.first_stack,
        trains_base=bool(adaptation.design.plan.unfrozen),
        head=adaptation.learned_head,
        features=features,
        place=lambda row: learned.records.place(features[row].example),
        collate=partial(runner.collate, few_widths=True),
        objective=objective,
        weigh=task.weigher(learned.examples, learned.view),
        validation=validation,
        rest=frozen.rest,
        before_step=GradientWatch(adaptation).look,
        save=lambda path, write, metrics: save(runner, path, write, metrics=metrics),
        load=lambda path: go_back(runner, path),
    )


def _validation(runner: Runner, task: Task, examples: Sequence[Any], records: Records) -> Validation:
    """How the model is scored within the run on these examples, which are encoded once.

    Args:
        task: the one that is settled before the first score.
    """
    features = task.validation_features(runner.encode(examples, records, targets=True, task=task))

    def score() -> dict[str, float]:
        predictions = runner.decode(examples, features, shared=True)
        tuned = runner.task.tune_on_validation(examples, predictions) if runner.task.tunes else runner.task
        return tuned.score(examples, predictions)[0]

    def names() -> list[str]:
        few = examples[:FEW]
        of_them = list(takewhile(lambda feature: feature.example < len(few), features))
        return list(runner.task.score(few, runner.decode(few, of_them))[0])

    return Validation(score=score, names=names, headline=task.headline, greater_is_better=task.greater_is_better)


def _tune(runner: Runner, examples: Sequence[Any], records: Records) -> None:
    """Tune on validation examples what the task does not learn by gradient, score them with it, and say what is odd."""
    predictions = runner.decode(examples, runner.encode(examples, records, targets=False))
    tuned = runner.task.tune_on_validation(examples, predictions) if runner.task.tunes else runner.task
    if tuned != runner.task:
        runner.task = tuned
        runner.last_run = replace(runner.last_run, metrics=tuned.score(examples, predictions)[0])
    for remark in tuned.remarks(examples, predictions):
        warn(f"On the validation data {remark}")
