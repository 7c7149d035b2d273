"""A comparison as a table: for a terminal, and as Markdown for documents."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from lightadapt.experiments import markdown
from lightadapt.experiments.comparison.results import Comparison, Measured, Row
from lightadapt.experiments.machine import as_text as machine_text
from lightadapt.metrics import LOWER_IS_BETTER

COSTS = ("trained", "of all", "seconds", "tokens/s", "peak MiB", "saved MiB")
"""The columns behind the method and its score, which decide and so are in sight on a small screen, too."""
INTERVAL = "95% interval"
"""Where the score may be on other test records."""
NAMES = {"f1": "F1", "bleu": "BLEU", "chrf": "chrF", "rougeL": "ROUGE-L", "rouge1": "ROUGE-1", "rouge2": "ROUGE-2"}


def metric_name(metric: str) -> str:
    """The metric as people write it."""
    return NAMES.get(metric, metric.replace("_", " ").replace("f1", "F1"))


def as_table(comparison: Comparison, metric: str | None = None) -> Table:
    """The comparison for a terminal; why methods have no result stands below, where there is room for it.

    Raises:
        LightAdaptError: the runs have no such metric.
    """
    problems = _reasons(comparison)
    below = Text("\n".join(problems))
    table = Table(
        title=comparison.title,
        caption=below if problems else None,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("method", no_wrap=True)
    table.add_column(_score_column(comparison, metric).replace(", ", "\n"), no_wrap=True)
    for name in COSTS:
        heading = name.replace(" ", "\n").replace("/", "\n/")  # narrow, to fit into 80 letters
        table.add_column(heading, justify="right", no_wrap=True)
    for method, score, interval, *costs in _rows_of(comparison, metric):
        below_score = f"\n{interval}" if interval else ""  # beside it there is no room
        table.add_row(*map(Text, [method, f"{score}{below_score}", *costs]))
    return table


def as_markdown(comparison: Comparison, metric: str | None = None) -> str:
    """The comparison as a Markdown table, with why methods have no result, and below it what was compared, and where.

    Raises:
        LightAdaptError: the runs have no such metric.
    """
    rows = [["method", _score_column(comparison, metric), INTERVAL, *COSTS], *_rows_of(comparison, metric)]
    if not any(row.interval for row in comparison.rows(metric)):  # as in what earlier versions kept
        rows = [[method, score, *costs] for method, score, _, *costs in rows]
    table = markdown.as_table(rows[0], rows[1:])
    return "\n\n".join([table, *_reasons(comparison), describe_setting(comparison)])


def describe_setting(comparison: Comparison) -> str:
    """What was compared and on which machine, in two sentences."""
    setting = comparison.setting
    seeds = max((row.seeds for row in comparison.rows()), default=0)
    parts = [f"{setting.train:,} training and {setting.test:,} test records"]
    parts += [as_epochs(setting.epochs)] if setting.epochs else []
    parts += [f"layers {setting.layers}"] if setting.layers is not None else []
    parts += [f"{seeds} seeds, ± their standard deviation" if seeds > 1 else "1 seed"]
    told = ""
    if any(row.interval for row in comparison.rows()):
        told = f" Intervals: what other test records would give, by the bootstrap{', mean of the seeds' * (seeds > 1)}."
    return f"{', '.join(parts)}.{told} Machine: {machine_text(comparison.machine, setting.threads)}."


def as_epochs(epochs: float) -> str:
    """`1 epoch`, `2.5 epochs`."""
    return f"{epochs:g} {'epoch' if epochs == 1 else 'epochs'}"


def _reasons(comparison: Comparison) -> list[str]:
    """Why methods have no result, a line each; in a cell it would make its column too wide for the others."""
    return [f"{method}: {problem}" for method, problem in comparison.problems().items()]


def _score_column(comparison: Comparison, metric: str | None) -> str:
    name = metric or comparison.headline
    return (metric_name(name) or "score") + (", lower is better" if name in LOWER_IS_BETTER else "")


def _rows_of(comparison: Comparison, metric: str | None) -> list[list[str]]:
    """The cells of every method, in the order of the methods."""
    rows = comparison.rows(metric)
    digits = 1 if any(row.score.mean >= 10 for row in rows) else 3
    cells = {row.method: _cells(row, digits) for row in rows}
    empty = [""] * (1 + len(COSTS))
    cells |= {method: [method, problem.partition(":")[0], *empty] for method, problem in comparison.problems().items()}
    return [cells[method] for method in comparison.methods]


def _cells(row: Row, digits: int) -> list[str]:
    return [
        row.method,
        as_text(row.score, digits),
        "" if row.interval is None else "–".join(f"{end:.{digits}f}" for end in row.interval),
        f"{row.trained:,}",
        f"{100 * row.share:.3g}%",
        as_text(row.seconds, 1 if row.seconds.mean < 100 else 0),
        f"{row.tokens_per_second.mean:,.0f}",
        f"{row.peak_memory.mean / 2**20:,.0f}",
        f"{row.saved / 2**20:.2f}",
    ]


def as_text(figure: Measured, digits: int) -> str:
    """`0.893 ± 0.004`, or the mean alone of a single seed."""
    spread = "" if figure.spread is None else f" ± {figure.spread:,.{digits}f}"
    return f"{figure.mean:,.{digits}f}{spread}"
