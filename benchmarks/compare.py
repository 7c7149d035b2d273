"""Seven methods side by side on three data sets: parameters, seconds, memory, size and score over seeds.

python benchmarks/compare.py --data FOLDER [--only conll,banking77,e2e] [--methods full,lora] [--seeds N] [--threads N]
python benchmarks/compare.py --write

FOLDER holds the files that `WORK` names, such as `ner/conll2003/train.conll`, and for the generation of texts a
small decoder, `models/stories260k-llama`. The encoder is the MiniLM of `lightadapt[demo]`. A run takes the first
records of a shuffle that is always the same.

Results are kept in benchmarks/results as each run ends, with a description of the machine, and a run that is there is
not repeated; results of another machine or version have to be deleted first. `--write` renews the tables of
docs/compare.md and the plots in docs/results from those files alone; it needs `lightadapt[plot]`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from command import DOCS, command, lacks, names_of, renew
from data_sets import DATA_SETS, Work, find_model

from lightadapt.comparison import USUAL_METHODS, Comparison, Outcome, as_markdown, compare, draw_plots, read_comparison
from lightadapt.errors import LightAdaptError

RESULTS = Path(__file__).parent / "results"
SHORT = replace(DATA_SETS["e2e"].task, max_new_tokens=80)
WORK = {
    "conll": Work(replace(DATA_SETS["conll"], test="test.conll"), 400, 300, 3),
    "banking77": Work(DATA_SETS["banking77"], 462, 308, 4),
    "e2e": Work(replace(DATA_SETS["e2e"], task=SHORT), 80, 40, 3, models=("stories260k-llama",)),
}
ALSO = {"e2e": ("bleu",)}
"""Further metrics that the page tells."""


def measure(name: str, folder: Path, methods: list[str], *, seeds: int, threads: int) -> Comparison:
    """The comparison on one data set, going on from what benchmarks/results holds."""
    work = WORK[name]
    chosen, (model,) = work.read(folder, balanced_tests=True), work.models
    return compare(
        find_model(model, folder),
        chosen.task,
        methods,
        train=chosen.train,
        test=chosen.test,
        seeds=seeds,
        epochs=work.epochs,
        threads=threads,
        path=RESULTS / f"compare-{name}.json",
        title=f"{work.data.title}, {model}",
        on_run=tell,
    )


def tell(run: Outcome) -> None:
    """Print a line for a run."""
    score = next(iter(run.scores.items()), run.reason)
    print(run.method, run.seed, run.status, score, f"{run.seconds:.1f} s", flush=True)


# ---- the page


def write_page() -> None:
    """Renew the plots, and the tables of docs/compare.md."""
    files = {name: RESULTS / f"compare-{name}.json" for name in WORK}
    found = {name: in_order(read_comparison(file)) for name, file in files.items() if file.is_file()}
    renew("compare.md", "results", "\n\n".join(section(name, each) for name, each in found.items()))


def in_order(found: Comparison) -> Comparison:
    """The comparison with the usual methods first, in their order."""
    others = [method for method in found.methods if method not in USUAL_METHODS]
    return found.only([*USUAL_METHODS, *others], {run.seed for run in found.runs})


def section(name: str, found: Comparison) -> str:
    """The heading, the table and the plots of one data set."""
    plots = draw_plots(found, DOCS / "results", prefix=f"compare-{name}-")
    images = [f"![{found.title}: score against {plot.stem.rpartition('-')[2]}](results/{plot.name})" for plot in plots]
    others = [further(found, metric) for metric in ALSO.get(name, ())]
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
    parser = command(__doc__, data=None, only=",".join(WORK), methods=",".join(USUAL_METHODS), threads=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="renew docs/compare.md and its plots from the results")
    options = parser.parse_args()
    if options.write:
        write_page()
        return 0
    only = names_of(parser, options.only, WORK)
    if lacks(options.data, [file for name in only for file in WORK[name].data.files]):
        return 1
    failed = False
    try:
        for name in only:
            found = measure(
                name, options.data, options.methods.split(","), seeds=options.seeds, threads=options.threads
            )
            failed |= any(run.status == "failed" for run in found.runs)
            print(f"\n{as_markdown(found)}\n")
    except LightAdaptError as error:
        parser.error(str(error))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
