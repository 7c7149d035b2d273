"""Generation: what is learned is shown first, then training, scores and predictions with options.

python examples/generate.py                                        # a small random T5 learns to copy letters, offline
python examples/generate.py --model google/flan-t5-small --data FOLDER   # train.jsonl, dev.jsonl: prompt, completion
python examples/generate.py --model HuggingFaceTB/SmolLM2-135M --data FOLDER --method lora

With a model of your own `--method lora` is the default; the random one has nothing to keep and is trained in full.
"""

import argparse
import random
from pathlib import Path
from typing import Any

import lightadapt as la

LETTERS = "abcdefgh"


def save_small_model(folder: Path) -> Path:
    """Write a T5 with random weights and a tokenizer that reads letters."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    ids = {token: number for number, token in enumerate(["<pad>", "</s>", "<unk>", *LETTERS])}
    core = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 256, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}
    config = T5Config(vocab_size=len(ids), decoder_start_token_id=0, **sizes)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def letter_records(count: int) -> list[dict[str, str]]:
    """Sequences of letters, to be copied."""
    draw = random.Random(0)
    texts = list(dict.fromkeys(" ".join(draw.choices(LETTERS, k=draw.randint(2, 5))) for _ in range(count)))
    return [{"prompt": text, "completion": text} for text in texts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train.jsonl and dev.jsonl (prompt, completion)")
    parser.add_argument("--model", help="hub id or folder of a decoder or an encoder-decoder")
    parser.add_argument("--method", help="default: lora, or full for the random model")
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--max-new-tokens", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("runs/generate"))
    options = parser.parse_args()

    small = options.model is None
    model = save_small_model(Path("runs/small-t5")) if small else options.model
    train: Any = options.data / "train.jsonl" if options.data else letter_records(2500)[200:]
    dev: Any = options.data / "dev.jsonl" if options.data else letter_records(2500)[:200]
    method = options.method or ("full" if small else "lora")

    writer = la.adapt(model, la.Generation(max_new_tokens=options.max_new_tokens), method)
    writer.preview(train, n=2)
    print(writer.fit(train, epochs=options.epochs or (6 if small else 3), learning_rate=1.5e-3 if small else None))
    print({name: round(value, 4) for name, value in writer.evaluate(dev).items()})
    writer.save(options.output)
    asked = [record["prompt"] for record in writer.task.read(dev)][:3]
    answers = la.load(options.output).predict(asked, options={"num_beams": 2})
    for prompt, answer in zip(asked, answers, strict=True):
        print(f"{prompt!r} -> {answer!r}")


if __name__ == "__main__":
    main()
