"""Seven methods side by side on three data sets: parameters, seconds, memory, size and score over seeds.

python benchmarks/compare.py --data FOLDER [--only conll,banking77,e2e] [--methods full,lora] [--seeds N] [--threads N]
python benchmarks/compare.py --write

FOLDER holds the files that `DATA_SETS` names, such as `ner/conll2003/train.conll`, and for the generation of texts a
small decoder, `models/stories260k-llama`. The encoder is the MiniLM of `lightadapt[demo]`. A run takes the first
records of a shuffle that is always the same.

Results are kept in benchmarks/results as each run ends, with a description of the machine, and a run that is there is
not repeated; results of another machine or version have to be deleted first. `--write` renews the tables of
docs/compare.md and the plots in docs/results from those files alone; it needs `lightadapt[plot]`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from data_sets import ENCODER, PAIR, DataSet, choose, find_model

import lightadapt as la
from lightadapt.errors import LightAdaptError
from lightadapt.experiments.comparison import (
    USUAL_METHODS,
    Comparison,
    Run,
    as_markdown,
    compare,
    draw_plots,
    read_comparison,
)
from lightadapt.tasks import LabelledTask, give_labels

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "compare.md"
PLOTS = ROOT / "docs" / "results"
START, END = "<!-- results -->", "<!-- end of results -->"


@dataclass(frozen=True, kw_only=True)
class Work(DataSet):
    """What is compared on one data set."""

    model: str = ENCODER
    also: tuple[str, ...] = ()
    """Further metrics that the page tells."""


DATA_SETS = {
    "conll": Work(
        title="CoNLL-2003",
        task=la.NER(),
        train="ner/conll2003/train.conll",
        test="ner/conll2003/test.conll",
        records=400,
        tests=300,
        epochs=3,
    ),
    "banking77": Work(
        title="Banking77",
        task=la.Classification(),
        train="classification/banking77/train.jsonl",
        test="classification/banking77/test.jsonl",
        records=462,
        tests=308,
        epochs=4,
        balanced=True,
    ),
    "e2e": Work(
        title="E2E NLG",
        task=la.Generation(columns=PAIR, max_new_tokens=80),
        train="generation/e2e_nlg/train.jsonl",
        test="generation/e2e_nlg/dev.jsonl",
        records=80,
        tests=40,
        epochs=3,
        model="stories260k-llama",
        also=("bleu",),
    ),
}


def measure(name: str, folder: Path, methods: list[str], *, seeds: int, threads: int) -> Comparison:
    """The comparison on one data set, going on from what benchmarks/results holds."""
    data_set = DATA_SETS[name]
    train, test = (list(data_set.task.read(folder / part)) for part in (data_set.train, data_set.test))
    task = data_set.task
    if isinstance(task, LabelledTask):
        task = give_labels(task, train)  # the records that are chosen may lack a label
    columns = {field: field for field in task.columns or ()}  # they were renamed when they were read
    return compare(
        find_model(data_set.model, folder),
        task,
        methods,
        train=choose(train, data_set.records, balanced=data_set.balanced),
        test=choose(test, data_set.tests, balanced=data_set.balanced),
        seeds=seeds,
        epochs=data_set.epochs,
        columns=columns,
        threads=threads,
        path=RESULTS / f"compare-{name}.json",
        title=f"{data_set.title}, {data_set.model}",
        on_run=tell,
    )


def tell(run: Run) -> None:
    """Print a line for a run."""
    score = next(iter(run.scores.items()), run.reason)
    print(run.method, run.seed, run.status, score, f"{run.seconds:.1f} s", flush=True)


# ---- the page


def write_page() -> None:
    """Renew the plots, and the tables of docs/compare.md between its two marks."""
    parts = []
    for name, data_set in DATA_SETS.items():
        file = RESULTS / f"compare-{name}.json"
        if file.is_file():
            parts.append(section(name, data_set, in_order(read_comparison(file))))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text("\n\n".join([f"{before}{START}", *parts, f"{END}{after}"]), encoding="utf-8")


def in_order(found: Comparison) -> Comparison:
    """The comparison with the usual methods first, in their order."""
    others = [method for method in found.methods if method not in USUAL_METHODS]
    return found.only([*USUAL_METHODS, *others], {run.seed for run in found.runs})


def section(name: str, data_set: Work, found: Comparison) -> str:
    """The heading, the table and the plots of one data set."""
    plots = draw_plots(found, PLOTS, prefix=f"compare-{name}-")
    images = [f"![{found.title}: score against {plot.stem.rpartition('-')[2]}](results/{plot.name})" for plot in plots]
    others = [further(found, metric) for metric in data_set.also]
    return "\n\n".join([f"### {found.title}", as_markdown(found), *others, *images])


def further(found: Comparison, metric: str) -> str:
    """Another metric of every method, in a sentence."""
    figures = [
        f"{row.method} {row.score.mean:.1f}" + (f" ± {row.score.spread:.1f}" if row.score.spread is not None else "")
        for row in found.rows(metric)
    ]
    return f"{metric.upper()}: {', '.join(figures)}."


def main() -> int:
    """Run what is missing, or write the page; 1 when the data is not there or a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with ner/, classification/ and so on")
    parser.add_argument("--only", default=",".join(DATA_SETS), help="default: %(default)s")
    parser.add_argument("--methods", default=",".join(USUAL_METHODS), help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="cores that a run computes on")
    parser.add_argument("--write", action="store_true", help="renew docs/compare.md and its plots from the results")
    options = parser.parse_args()
    if options.write:
        write_page()
        return 0
    only = options.only.split(",")
    unknown = [name for name in only if name not in DATA_SETS]
    if unknown:
        parser.error(f"--only {unknown[0]}: choose among {', '.join(DATA_SETS)}")
    if not (options.data and all((options.data / DATA_SETS[name].train).is_file() for name in only)):
        print(f"skipped: {options.data} does not hold the data sets (see --help)")
        return 1
    failed = False
    try:
        for name in only:
            methods = options.methods.split(",")
            found = measure(name, options.data, methods, seeds=options.seeds, threads=options.threads)
            failed |= any(run.status == "failed" for run in found.runs)
            print(f"\n{as_markdown(found)}\n")
    except LightAdaptError as error:
        parser.error(str(error))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
