"""A saved adaptation in the place of another of its kind answers as it does alone, under whatever names."""

from __future__ import annotations

import pytest
from learned import stir, trainable

import lightadapt as la
from lightadapt.adaptation.slots import read_known

TEXTS = ["I want my money back", "Where is the parcel?", "hello", "my card was charged twice"]


@pytest.fixture
def kept(tiny, tmp_path):
    """Folders of adaptations of one kind by name, with what each says to the texts."""
    found = {}
    for number, name in enumerate("abcd"):
        adapted = la.adapt(tiny("bert"), "classification", labels=["no", "yes"], dtype="float32")
        stir(trainable(adapted.model).values(), size=0.3, seed=number)
        adapted.save(tmp_path / name)
        found[name] = tmp_path / name, adapted.predict(TEXTS, scores=True)
    assert len({round(answers[0]["yes"], 3) for _, answers in found.values()}) == len(found)
    return found


def check(adapted, kept, names):
    """Each answers alone and beside the others as it did when it was saved."""
    assert sorted(adapted.names) == sorted(names)
    for name in names:
        answers = adapted.predict(TEXTS, adapter=name, scores=True)
        assert [each["yes"] for each in answers] == pytest.approx([each["yes"] for each in kept[name][1]], abs=1e-4)
    asked = (names * len(TEXTS))[: len(TEXTS)]
    beside = adapted.predict(TEXTS, adapter=asked, scores=True)
    alone = [kept[name][1][place]["yes"] for place, name in enumerate(asked)]
    assert [each["yes"] for each in beside] == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("dedicated", [False, True])
def test_names_go_round_among_the_places(kept, tmp_path, dedicated):
    adapted = la.load(kept["a"][0])
    adapted.rename("default", "a")
    la.load(kept["b"][0], onto=adapted, name="b")
    if dedicated:
        adapted.dedicate()
    check(adapted, kept, ["a", "b"])
    places = {name: adapted.slot(name, read_known(kept[name][0])[0]) for name in "ab"}
    for old, new in (("a", "c"), ("b", "a"), ("c", "b"), ("b", "c")):  # a name is in the layers of another by then
        place = places.pop(old)
        place.refill(new, *read_known(kept[new][0]))
        places[new] = place
        check(adapted, kept, list(places))
    la.load(kept["b"][0], onto=adapted, name="b")  # whose name an adapter has in the layers that is called otherwise
    check(adapted, kept, [*places, "b"])
    adapted.rename("b", "d")
    adapted.rename("a", "b")
    adapted.rename("b", "a")
    adapted.rename("d", "b")
    check(adapted, kept, [*places, "b"])
    adapted.use("c").save(tmp_path / "again")
    assert la.load(tmp_path / "again").predict(TEXTS) == adapted.predict(TEXTS, adapter="c")
