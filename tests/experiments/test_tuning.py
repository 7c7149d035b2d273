"""A search begins with the defaults, keeps to its budget, goes on where it stopped, and keeps what the best learned."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import lightadapt as la
from lightadapt import sample
from lightadapt.adapted import Adapted
from lightadapt.cli import app
from lightadapt.methods.ranges import Choice, Span
from lightadapt.training.finite import NotFiniteError

optuna = pytest.importorskip("optuna")

from lightadapt.experiments.tuning import budget, running, search, starting  # noqa: E402
from lightadapt.experiments.tuning import trial as child  # noqa: E402
from lightadapt.experiments.tuning.pruning import ENOUGH, AtCheckpoints  # noqa: E402
from lightadapt.experiments.tuning.results import trials_of  # noqa: E402
from lightadapt.experiments.tuning.space import Dimension, Found, make_space  # noqa: E402
from lightadapt.experiments.tuning.store import Store, this_process  # noqa: E402

TRAIN, DEV = sample.records("train")[:60], sample.records("validation")[:30]
SEARCH = {"method": ["lora", "ia3"], "epochs": [2], "method.rank": [2, 4, 8]}


def in_this_process(function, arguments, *, threads=None, seconds=None):
    """What `call_apart` gives, without another process."""
    return json.loads(json.dumps(function(**json.loads(json.dumps(arguments)))))


@pytest.fixture
def near(monkeypatch):
    """Trials run in this process; the list has the job of each."""
    jobs = []

    def call(function, arguments, **options):
        jobs.append(arguments["job"])
        return in_this_process(function, arguments, **options)

    monkeypatch.setattr(starting, "call_apart", call)
    return jobs


@pytest.fixture
def no_trial(monkeypatch):
    """Running a trial fails the test."""
    monkeypatch.setattr(starting, "call_apart", lambda *_, **__: pytest.fail("a trial was run"))


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """A study of five trials."""
    folder = tmp_path_factory.mktemp("studies") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starting, "call_apart", in_this_process)
        run(tiny, folder, trials=5)
    return folder


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of the study, to be changed."""
    import shutil

    return shutil.copytree(folder, tmp_path / "copy")


def run(tiny, storage, **options):
    options = {"search": SEARCH, "storage": storage, "device": "cpu", **options}
    return la.tune(tiny("bert"), "classification", TRAIN, DEV, **options)


@pytest.fixture
def study(tiny, folder):
    return run(tiny, folder, trials=5)


# ---- what comes of it


def test_the_first_trial_is_the_default(study, tiny):
    first = study.trials[0]
    assert first.default
    assert first.settings["method"] == "lora"
    adapted = la.adapt(tiny("bert"), "classification", labels=TRAIN, device="cpu")
    history = adapted.fit(TRAIN, DEV, epochs=2, args={"disable_tqdm": True})
    assert dict(first.scores) == pytest.approx(history.best_scores, abs=1e-6)
    used = {name: first.settings[name] for name in ("learning_rate", "head_learning_rate", "batch_tokens")}
    assert used == {name: history.settings[name] for name in used}
    assert study.score >= first.score
    assert study.default_trial is first


def test_the_best_settings_are_as_adapt_and_fit_take_them(study, tiny):
    settings = dict(study.best)
    task, method = settings.pop("task"), settings.pop("method")  # weights of classes are tried: some are rare here
    adapted = la.adapt(tiny("bert"), task, method, device="cpu")
    history = adapted.fit(TRAIN, DEV, **settings)
    assert history.best_scores["accuracy"] == pytest.approx(study.score, abs=1e-6)
    again = study.retrain(TRAIN, DEV)
    assert again.method == method
    assert again.history.best_scores == history.best_scores


def test_what_the_best_learned_is_kept_alone(study, folder):
    assert study.adapted.evaluate(DEV)["accuracy"] == pytest.approx(study.score, abs=1e-6)
    assert [each.name for each in (folder / "artifacts").iterdir()] == [f"trial-{study.best_trial.number}"]


def test_settings_stay_in_their_ranges_and_belong_to_their_method(study):
    assert len(study.trials) == 5
    for each in study.trials:
        assert ("method.rank" in each.settings) == (each.settings["method"] == "lora")
        assert each.settings.get("method.rank", 4) in (2, 4, 8)
        assert each.settings["epochs"] == 2
        default = {"lora": la.LoRA, "ia3": la.IA3}[each.settings["method"]].learning_rate
        assert default / 5.001 <= each.settings["learning_rate"] <= default * 5.001


def test_it_shows_itself(study, tmp_path):
    lines = str(study).splitlines()
    assert lines[0].split()[:3] == ["trial", "accuracy", "end"]
    assert lines[1].startswith(f"{study.best_trial.number} ")
    assert "on the same 30 validation records is optimistic" in lines[-1]
    assert repr(study) == f"Study(5 trials, best accuracy {study.score:.4f})"
    frame = study.to_pandas()
    assert list(frame["number"]) == [each.number for each in study.trials]
    assert frame["score"].max() == study.score
    files = study.plot(tmp_path / "plots")
    assert {each.name for each in files} >= {"progress.png", "settings.png"}
    assert all(each.stat().st_size > 5_000 for each in files)


def test_a_loss_is_the_better_the_smaller(tiny, tmp_path, near):
    pairs = [{"prompt": each["text"], "completion": each["label"]} for each in TRAIN[:16]]
    options = {"search": {"epochs": [1]}, "trials": 7, "storage": tmp_path, "device": "cpu", "method": "lora"}
    found = la.tune(tiny("gpt2"), "generation", pairs, 0.25, **options)
    assert (found.setting["train"], found.setting["validation"]) == (12, 4)
    scores = [each.score for each in found.trials if each.end == "done"]
    assert len(set(scores)) > 1
    assert found.score == min(scores)
    assert sum(found.importances().values()) == pytest.approx(1)
    assert "learning_rate" in found.importances()
    assert (tmp_path / "plots" / "importance.png") in found.plot(tmp_path / "plots")


def test_records_that_no_trial_is_scored_on_say_what_the_best_is_worth(tiny, tmp_path, near):
    options = {"search": {"epochs": [1]}, "trials": 1, "method": "probe", "unseen": 0.4}
    found = run(tiny, tmp_path, **options)
    assert (found.setting["validation"], len(found.unseen)) == (18, 12)
    assert found.unseen_scores == found.adapted.evaluate(list(found.unseen))
    assert str(found).splitlines()[-1].startswith("On 12 records on which no trial was scored, it has ")


def test_one_value_is_that_of_every_trial(tiny, tmp_path, near):
    found = run(tiny, tmp_path, trials=4, search={**SEARCH, "method": ["ia3", "lora"], "method.rank": [2]})
    assert found.default_trial.settings["method"] == "ia3"
    assert {job["method"]["settings"].get("rank") for job in near if job["method"]["name"] == "lora"} <= {2}
    assert {job["fit"]["epochs"] for job in near} == {2}


# ---- going on


def test_trials_that_have_ended_are_not_repeated(tiny, copied, near):
    known = run(tiny, copied, trials=5)
    assert near == []
    told = []
    more = run(tiny, copied, trials=6, on_trial=told.append)
    assert len(near) == 1
    assert more.trials[:5] == known.trials
    assert told == [more.trials[5]]
    assert more.trials[5].settings not in [each.settings for each in known.trials]


def test_a_trial_that_is_interrupted_is_tried_again(tiny, copied, near, monkeypatch):
    def interrupt(function, arguments, **options):
        near.append(arguments["job"])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(starting, "call_apart", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(tiny, copied, trials=7)
    found = run(tiny, copied, trials=6)
    assert len(near) == 2
    assert [near[0][name] for name in ("method", "fit", "args")] == [
        near[1][name] for name in ("method", "fit", "args")
    ]
    assert len(found.trials) == 6


def test_a_trial_of_a_process_that_is_gone_is_tried_again(tiny, copied, near):
    kept = Store.at(copied, "study", copied).load(seed=9)
    asked = kept.ask()
    asked.set_user_attr("process", this_process().rsplit(":", 2)[0] + ":999999999:1.0")
    params = {"method": "lora", "lora: method.rank": 4}
    for name, value in params.items():
        choices = ["lora", "ia3"] if name == "method" else [json.dumps(each) for each in (2, 4, 8)]
        kept._storage.set_trial_param(
            asked._trial_id,
            name,
            choices.index(str(value)),
            optuna.distributions.CategoricalDistribution(choices),
        )
    found = run(tiny, copied, trials=6)
    assert len(near) == 1
    assert found.trials[-1].settings["method.rank"] == 4


def test_a_trial_of_a_process_that_runs_is_left_alone(tiny, copied, no_trial):
    kept = Store.at(copied, "study", copied).load(seed=9)
    kept.ask().set_user_attr("process", this_process())
    assert len(run(tiny, copied, trials=6).trials) == 5  # the sixth is the one that runs elsewhere


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"search": {**SEARCH, "epochs": [3]}}, r"search {'epochs': \[2\], .*now it is {'epochs': \[3\],"),
        ({"search": {**SEARCH, "method": ["lora"]}}, "methods"),
        ({"seed": 1}, "seed"),
        ({"layers": "last:1"}, "layers"),
    ],
)
def test_a_study_of_something_else_is_refused(tiny, folder, no_trial, changed, name):
    with pytest.raises(la.LightAdaptError, match=f"holds a study with {name} .* Choose another storage"):
        run(tiny, folder, trials=9, **changed)


def test_a_study_of_other_data_or_another_model_is_refused(tiny, folder, no_trial):
    options = {"search": SEARCH, "storage": folder, "trials": 9, "device": "cpu"}
    with pytest.raises(la.LightAdaptError, match="holds a study with data "):
        la.tune(tiny("bert"), "classification", TRAIN, DEV[::-1], **options)
    with pytest.raises(la.LightAdaptError, match="holds a study with model "):
        la.tune(tiny("roberta"), "classification", TRAIN, DEV, **options)


def test_storages(tiny, tmp_path, near, monkeypatch):
    options = {"trials": 1, "search": {"epochs": [1], "method": ["probe"]}}
    url = f"sqlite:///{tmp_path / 'all.db'}"
    monkeypatch.chdir(tmp_path)
    for storage in (tmp_path / "my.journal", url, None):
        found = run(tiny, storage, **options)
        assert found.adapted.labels
        run(tiny, storage, **options)
    assert len(near) == 3
    assert (tmp_path / "my.journal").is_file()
    assert (tmp_path / "my.journal.artifacts" / "trial-0").is_dir()
    (default,) = (tmp_path / "lightadapt-tune").glob("*/study.journal")
    assert default.parent.name.startswith("classification-")
    (tmp_path / "none.journal").write_text("no journal\n")
    with pytest.raises(la.LightAdaptError, match=r"none.journal is no journal of a study"):
        run(tiny, tmp_path / "none.journal", **options)
    with pytest.raises(la.LightAdaptError, match=r"no://where.* cannot be opened as a storage of Optuna"):
        run(tiny, "no://where", **options)


def optunas(folder, **options):
    """The URL of a database with a study that Optuna was asked for by somebody else."""
    url = f"sqlite:///{folder / 'optuna.db'}"
    optuna.create_study(storage=url, study_name="study", **options)
    return url


def foreign(folder):
    """The URL of a database that has a table of the name of one of Optuna's."""
    with closing(sqlite3.connect(folder / "other.db")) as database:
        database.execute("create table studies(number int)")
    return f"sqlite:///{folder / 'other.db'}"


def journal(folder, content):
    (folder / "odd.journal").write_text(content)
    return folder / "odd.journal"


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        (lambda folder: journal(folder, "{nope\n"), "odd.journal' cannot be opened as a storage of Optuna"),
        (lambda folder: journal(folder, '{"a": 1}\n'), "odd.journal' cannot be opened as a storage of Optuna"),
        (foreign, "other.db' cannot be opened as a storage of Optuna"),
        (lambda folder: optunas(folder, directions=["minimize", "maximize"]), "holds a study 'study' that is not of"),
        (lambda folder: optunas(folder, direction="minimize"), "holds a study 'study' that is not of tune"),
        (lambda folder: str(folder / "a\0b"), "cannot be written: .*null"),
        (lambda folder: str(folder / "\ud800"), r"storage=.*ud8.* cannot be written"),
        (lambda folder: str(folder / ("x" * 300)), "cannot be written: .*too long"),
    ],
)
def test_what_is_no_storage_of_ours_is_refused_before_any_trial(tiny, tmp_path, no_trial, storage, message):
    with pytest.raises(la.LightAdaptError, match=message):
        run(tiny, storage(tmp_path), trials=1)


def test_a_line_that_was_cut_by_a_kill_does_no_harm(tiny, copied, near):
    with open(copied / "study.journal", "a") as file:
        file.write('{"op_code": 8, "worker_id": "half a li')
    for trials in (6, 7):
        assert len(run(tiny, copied, trials=trials).trials) == trials


# ---- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Give budget='30min', a time, or trials=30"),
        ({"budget": "soon"}, "budget='soon': give a time such as '30min'"),
        ({"budget": -1}, "budget=-1: give a time"),
        ({"trials": 0}, "trials=0: give a whole number of at least 1"),
        ({"trials": 2, "search": {"learning_rat": [1e-3]}}, "not a setting. Did you mean 'learning_rate'"),
        ({"trials": 2, "search": {"rank": [1]}}, "not a setting. Did you mean 'method.rank'"),
        ({"trials": 2, "search": {"args.weight_decy": [1]}}, "Did you mean 'weight_decay'"),
        ({"trials": 2, "search": {"method.rank": []}}, r"search\['method.rank'\]=\[\] is empty"),
        ({"trials": 2, "search": {"epochs": (3, 3)}}, "is empty: the low end must be below"),
        ({"trials": 2, "search": {"learning_rate": (0, 1, "log")}}, "the low end must be above 0"),
        ({"trials": 2, "search": {"learning_rate": (0.1, 1, "linear")}}, "a range is"),
        ({"trials": 2, "search": {"epochs": 3}}, "give a list of choices"),
        ({"trials": 2, "search": {"method.rank": [4, 0]}}, r"holds 0: LoRA\(rank=0\)"),
        ({"trials": 2, "search": {"method.rank": [4, 4000]}}, "holds 4000: LoRA"),
        ({"trials": 2, "search": {"epochs": [-1]}}, "holds -1: epochs=-1"),
        ({"trials": 2, "search": {"task.overflow": ["cut"]}}, "holds 'cut'"),
        ({"trials": 2, "search": {"method": ["lorra"]}}, "Did you mean 'lora'"),
        ({"trials": 2, "search": {"method": []}}, "give a list of methods"),
        ({"trials": 2, "method": "lora", "search": {"method": ["ia3"]}}, "give one of them"),
        ({"trials": 2, "search": ["rank"]}, "give a dict"),
        ({"trials": 2, "workers": 0}, "workers=0"),
        ({"trials": 2, "on_trial": 5}, "on_trial=5 cannot be called"),
        ({"trials": 2, "storage": 3}, "storage=3: give a folder"),
    ],
)
def test_bad_input_is_said_before_any_trial(tiny, tmp_path, no_trial, options, message):
    options = {"search": None, "storage": tmp_path / "study", **options}
    with pytest.raises(la.LightAdaptError, match=message):
        run(tiny, options.pop("storage"), **options)


def test_a_budget_that_is_too_small_for_one_run_is_refused(tiny, tmp_path, near):
    start = time.time()
    with pytest.raises(la.LightAdaptError, match=r"budget=1 h is too small for one run: .* about .* h\. Give more"):
        run(tiny, tmp_path / "long", budget="1h", search={"epochs": [10_000_000]})
    with pytest.raises(la.LightAdaptError, match="too small for one run"):
        run(tiny, tmp_path / "short", budget=0.01)
    assert time.time() - start < 60
    assert len(near) == 2


def test_default_settings_that_cannot_be_trained_are_an_error(tiny, tmp_path, near):
    with pytest.raises(la.LightAdaptError, match="The run with the default settings refused: learning_rate=1e"):
        run(tiny, tmp_path / "study", trials=3, search={"learning_rate": [1e30], "epochs": [2], "method": ["full"]})
    assert len(near) == 1


def test_a_trial_that_diverges_is_one_of_the_worst(tiny, copied, near, monkeypatch):
    def fit(*_, **__):
        raise NotFiniteError("The loss is nan.")

    monkeypatch.setattr(Adapted, "fit", fit)
    found = run(tiny, copied, trials=6)
    assert (found.trials[-1].end, found.trials[-1].score) == ("diverged", None)
    state = Store.at(copied, "study", copied).load().get_trials()[-1].state
    assert state == optuna.trial.TrialState.PRUNED  # a sampler learns from those, and not from those that failed
    assert found.best_trial.end == "done"


# ---- budgets


def test_no_trial_begins_that_cannot_end_in_time(tiny, copied, no_trial, monkeypatch):
    monkeypatch.setattr(running.Search, "_expected", lambda self, settings: 1e6)
    assert len(run(tiny, copied, budget="1h").trials) == 5


def test_the_time_of_earlier_calls_counts(tiny, copied, near):
    spent = max(each.elapsed for each in run(tiny, copied, trials=5).trials)
    assert len(run(tiny, copied, budget=spent).trials) == 5
    assert near == []
    clock = budget.Clock(start=time.time(), budget=60, spent=50)
    assert 9 < clock.left <= 10
    assert 11 < clock.patience <= 12
    assert budget.Clock(start=0, budget=None).left == float("inf")


def test_what_a_trial_will_take_is_told_by_those_before(tiny, copied, near):
    kept = Store.at(copied, "study", copied).load(seed=1)
    clock = budget.Clock(time.time(), None)
    search_ = running.Search(None, None, kept, clock, None, copied)
    once, twice = (search_._expected({"method": "lora", "epochs": epochs}) for epochs in (2, 4))
    mine = [each for each in trials_of(kept) if each.settings["method"] == "lora"]
    assert once < twice < 2.01 * once
    assert once == pytest.approx(max(each.seconds for each in mine), rel=1)


def test_a_trial_that_is_late_is_ended(tiny, copied, near, monkeypatch):
    job = {}

    def late(function, arguments, **options):
        arguments["job"]["deadline"] = time.time() - 1
        job.update(arguments["job"])
        return in_this_process(function, arguments)

    monkeypatch.setattr(starting, "call_apart", late)
    found = run(tiny, copied, trials=6).trials[-1]
    assert (found.end, found.score, found.passes < 1) == ("late", None, True)


def test_a_process_that_dies_is_a_trial_that_failed(tiny, copied, monkeypatch):
    def die(*_, **__):
        raise starting.ChildError("Traceback\nRuntimeError: no more memory", 1)

    monkeypatch.setattr(starting, "call_apart", die)
    found = run(tiny, copied, trials=99).trials[5:]  # not for ever
    assert [each.end for each in found] == ["failed"] * running.BROKEN
    assert found[0].reason == "RuntimeError: no more memory"


def test_two_trials_at_a_time(tiny, tmp_path, monkeypatch):
    running_now, most, lock = [0], [0], threading.Lock()
    default = in_this_process

    def fake(function, arguments, **options):
        job = arguments["job"]
        if job["number"] is None:
            return default(function, arguments)
        with lock:
            running_now[0] += 1
            most[0] = max(most[0], running_now[0])
        time.sleep(0.3)
        with lock:
            running_now[0] -= 1
        took = {"points": [], "seconds": 1.0, "fit_seconds": 1.0, "passes": 1.0}
        return {"end": "done", "reason": "", "score": 0.0, "scores": {"accuracy": 0.0}, **took}

    monkeypatch.setattr(starting, "call_apart", fake)
    found = run(tiny, tmp_path / "study", trials=6, workers=2, search={"epochs": [1], "method": ["probe"]})
    assert len(found.trials) == 6
    assert most == [2]


# ---- checkpoints


def study_of(*trials):
    """A study in memory with trials of these points."""
    found = optuna.create_study(direction="maximize")
    for points in trials:
        found.add_trial(optuna.trial.create_trial(value=max(points.values()), intermediate_values=points))
    return found


@pytest.mark.parametrize(
    ("points", "pruned"),
    [
        ({10: 0.1}, False),  # before the first rung
        ({10: 0.0, 30: 0.1}, True),
        ({30: 0.95}, False),
        ({30: 0.95, 60: 0.5}, False),  # it was good before, and its weights are kept
        ({30: 0.5, 60: 0.55}, True),
        ({100: 0.1}, False),  # it is at its end
    ],
)
def test_trials_are_compared_at_checkpoints(points, pruned):
    others = [{25: 0.6, 50: 0.7, 100: 0.8}, {33: 0.7, 67: 0.8, 100: 0.9}, {50: 0.8, 100: 0.8}]
    assert len(others) == ENOUGH
    trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, intermediate_values=points)
    trial.number = 99
    assert AtCheckpoints().prune(study_of(*others), trial) == pruned
    assert not AtCheckpoints().prune(study_of(*others[:2]), trial)


def test_a_trial_that_is_behind_ends_on_its_full_schedule(tiny, tmp_path, near, monkeypatch):
    options = {"search": {"epochs": [4], "method": ["probe"]}, "trials": 1}
    run(tiny, tmp_path, **options)
    kept = Store.at(tmp_path, "study", tmp_path).load(seed=1)
    best = {25: 2.0, 50: 2.0, 75: 2.0, 100: 2.0}  # no accuracy is as good
    for _ in range(ENOUGH):
        kept.add_trial(optuna.trial.create_trial(value=2.0, intermediate_values=best))
    steps = []
    original = child.Watch.on_evaluate
    monkeypatch.setattr(
        child.Watch,
        "on_evaluate",
        lambda self, args, state, *a, **k: steps.append(state.max_steps) or original(self, args, state, *a, **k),
    )
    found = run(tiny, tmp_path, **{**options, "trials": 2}).trials[-1]
    assert found.end == "pruned"
    assert [step for step, *_ in found.points] == [25]
    whole = la.adapt(tiny("bert"), "classification", "probe", labels=TRAIN, device="cpu").fit(TRAIN, **near[1]["fit"])
    assert steps == [whole.steps]
    assert found.score < 2


# ---- the space


FOUND = Found("standard", 5.0, 1e-3, 5e-3, 400, True)


def space_of(asked=None, *, found=FOUND, uneven=False, refuses=lambda _: "", method=None):
    return make_space({"lora": method or la.LoRA()}, asked or {}, found, uneven=uneven, refuses=refuses)


def test_the_space_is_that_of_method_and_data():
    ranges = {each.key: each.range for each in space_of().of("lora")}
    assert ranges["method.rank"] == Choice(8, 4, 16, 32)
    assert ranges["epochs"] == Span(2, 10, True, True)
    assert ranges["batch_tokens"] == Choice(200, 400, 800)
    assert "task.class_weights" not in ranges
    assert "head_learning_rate" not in {
        each.key for each in space_of(found=replace(FOUND, learns_head=False)).dimensions
    }
    assert "task.class_weights" in {each.key for each in space_of(uneven=True).dimensions}


def test_what_the_user_says_goes_first_and_what_the_model_refuses_is_left_out():
    asked = {"learning_rate": Span(1e-5, 1.0, log=True), "method.rank": Span(2, 6, False, True)}
    ranges = {each.key: each.range for each in space_of(asked).of("lora")}
    assert {key: ranges[key] for key in asked} == asked
    small = {each.key: each.range for each in space_of(refuses=lambda method: "no" * (method.rank > 8)).dimensions}
    assert small["method.rank"] == Choice(8, 4)
    own = {each.key: each.range for each in space_of(method=la.LoRA(rank=5)).dimensions}
    assert 5 in own["method.rank"]


@pytest.mark.parametrize(
    ("dimension", "value"),
    [
        (Dimension("method.targets", Choice("attention", ["query", "value"]), "lora"), ["query", "value"]),
        (Dimension("task.class_weights", Choice(None, "balanced")), None),
        (Dimension("epochs", Span(2, 10, True, True)), 4),
        (Dimension("learning_rate", Span(1e-4, 1e-2, True)), 2e-3),
    ],
)
def test_values_come_back_as_they_were(dimension, value):
    trial = optuna.trial.FixedTrial({dimension.name: dimension.encode(value)})
    assert dimension.suggest(trial) == value
    assert dimension.distribution._contains(dimension.distribution.to_internal_repr(dimension.encode(value)))


# ---- the command


@pytest.mark.slow
def test_the_command_in_processes_of_its_own(tiny, tmp_path):
    for name, records in (("train", TRAIN), ("dev", DEV)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    call = ["tune", str(tiny("bert")), "--task", "classification", "--train", str(tmp_path / "train.jsonl")]
    call += ["--validation", str(tmp_path / "dev.jsonl"), "--trials", "2", "--threads", "1", "--search", "epochs=[1]"]
    call += ["--method", "probe", "--storage", str(tmp_path / "study"), "--out", str(tmp_path / "best")]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    assert "trial 0: accuracy" in done.output
    assert "2 trials in" in done.output
    assert la.load(tmp_path / "best").labels
    again = CliRunner().invoke(app, call)
    assert again.exit_code == 1
    assert "is there already" in again.output


def test_the_command_says_what_is_wrong(tiny, tmp_path):
    call = ["tune", str(tiny("bert")), "--task", "classification", "--train", "none.csv", "--validation", "0.1"]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 1
    assert "Give --budget 30min, a time, or --trials 30" in done.output


def test_without_optuna_the_error_says_what_to_install(tiny, monkeypatch):
    script = (
        "import sys; sys.modules['optuna'] = None; import lightadapt as la; la.tune('m', 'ner', 't', 'v', trials=1)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert 'LightAdaptError: A search needs Optuna. Install it: pip install "lightadapt[tune]"' in done.stderr
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(la.LightAdaptError, match=r'pip install "lightadapt\[tune\]"'):
        search.tune(tiny("bert"), "classification", TRAIN, DEV, trials=1)
