"""Every public method from eight threads at once: each gives what it gives alone, whatever the others do."""

from __future__ import annotations

import random
import threading

import pytest
import torch
from learned import trainable

import lightadapt as la

TEXTS = ["where is my parcel", "hello " * 60, "a"]
THREADS = 8


def make(tiny, messages):
    """One base with two trained adaptations, which nobody changes; and what they predict."""
    adapted = la.adapt(tiny("bert"), "classification", labels=messages)
    adapted.add("fields", task="ner", labels=["PER", "LOC"], method="bottleneck")
    torch.manual_seed(0)
    for name in adapted.names:
        with torch.no_grad():
            for parameter in trainable(adapted.use(name).model).values():
                parameter += torch.randn_like(parameter) * 0.3
    adapted.use("default")
    return adapted, {name: adapted.predict(TEXTS, scores=name == "default", adapter=name) for name in adapted.names}


class Worker:
    """What one thread does: with the adaptations that all have, and with one of its own."""

    def __init__(self, number, adapted, expected, messages, folder):
        self.adapted, self.expected, self.messages = adapted, expected, messages
        self.own, self.folder = f"own-{number}", folder / str(number)
        self.draw = random.Random(number)
        self.scores = adapted.evaluate(messages[:8])
        adapted.add(self.own, method="ia3", task="classification", labels=messages)

    def run(self, rounds):
        for _ in range(rounds):
            for action in self.draw.sample(ACTIONS, len(ACTIONS)):
                action(self)

    def mine(self):
        return self.adapted.use(self.own)

    def predict(self):
        name = self.draw.choice(list(self.expected))
        assert self.adapted.predict(TEXTS, scores=name == "default", adapter=name) == self.expected[name]

    def predict_by_name(self):
        names = self.draw.choices(list(self.expected), k=len(TEXTS))
        found = self.adapted.predict(TEXTS, adapter=names)
        assert all(isinstance(each, list) == (name == "fields") for each, name in zip(found, names, strict=True))

    def predict_in_use(self):
        assert self.adapted.use("default").predict(TEXTS, scores=True) == self.expected["default"]

    def evaluate(self):
        assert self.adapted.use("default").evaluate(self.messages[:8]) == self.scores

    def fit(self):
        history = self.mine().fit(self.messages[:8], epochs=1, args={"disable_tqdm": True})
        assert history.steps > 0
        assert self.mine().history is history

    def check(self):
        assert self.mine().check(self.messages[:4])

    def add_labels(self):
        labels = self.mine().labels
        self.mine().add_labels([f"new {len(labels)}"])
        assert self.mine().labels == [*labels, f"new {len(labels)}"]

    def save_and_load(self):
        self.adapted.use("fields").save(self.folder)
        name = f"{self.own}-again"
        la.load(self.folder, onto=self.adapted, name=name)
        assert self.adapted.predict(TEXTS, adapter=name) == self.expected["fields"]
        self.adapted.rename(name, f"{name}-renamed")
        self.adapted.remove(f"{name}-renamed")

    def merge(self):
        merged = self.adapted.use("default").merge()
        inputs = self.adapted.tokenizer(TEXTS[0], return_tensors="pt")
        with torch.no_grad():
            probabilities = merged(**inputs).logits.softmax(-1)[0].tolist()
        expected = self.expected["default"][0]
        assert sorted(probabilities) == pytest.approx(sorted(expected.values()), abs=1e-4)

    def look(self):
        self.mine().preview(self.messages, n=1)
        assert f"in use     {self.own};" in str(self.mine())
        assert self.own in self.adapted.names

    def disable(self):
        with self.adapted.use("default").disable():
            pass


ACTIONS = [
    Worker.predict,
    Worker.predict_by_name,
    Worker.predict_in_use,
    Worker.evaluate,
    Worker.fit,
    Worker.check,
    Worker.add_labels,
    Worker.save_and_load,
    Worker.merge,
    Worker.look,
    Worker.disable,
]


def test_every_method_beside_every_other(tiny, messages, tmp_path):
    adapted, expected = make(tiny, messages)
    workers = [Worker(number, adapted, expected, messages, tmp_path) for number in range(THREADS)]
    problems = []

    def work(worker):
        try:
            worker.run(rounds=2)
        except BaseException as error:  # also of `assert`, which a thread would keep for itself
            problems.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    adapted.use("default")
    assert {n: adapted.predict(TEXTS, scores=n == "default", adapter=n) for n in expected} == expected
    assert not adapted.model.training
