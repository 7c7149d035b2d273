"""Charts with a row for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lightadapt.display.charts import Chart, Margins
from lightadapt.display.class_names import FEW, MOST, font, room_for, row_height, shorten
from lightadapt.display.figures import BLUE, GREY, ORANGE, clear

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Matrix(Chart):
    """Which class is taken for which: shades are shares of the true class, numbers are counts."""

    title: ClassVar[str] = "true class (row), predicted (column)"
    labels: Sequence[str]
    counts: np.ndarray
    """`(K, K)`."""

    @property
    def chosen(self) -> list[int]:
        """The classes that are drawn, in their order: of too many, those that are confused most."""
        wrong = self.counts.sum(0) + self.counts.sum(1) - 2 * self.counts.diagonal()
        return sorted(sorted(range(len(self.labels)), key=lambda place: -wrong[place])[:MOST])

    @property
    def body(self) -> tuple[float, float]:
        side = max(1.2, len(self.chosen) * row_height(len(self.chosen)))
        return side, side

    @property
    def margins(self) -> Margins:
        room = room_for(self.labels, len(self.chosen))
        return Margins(max(room, 1.3 - self.body[0] / 2), max(0.3, 1.3 - self.body[0] / 2), room)

    def draw(self, axes: Axes) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        places = self.chosen
        count = len(places)
        counts = self.counts[places][:, places]
        shares = counts / self.counts[places].sum(1, keepdims=True).clip(min=1)
        axes.imshow(shares, cmap=LinearSegmentedColormap.from_list("blues", ["white", BLUE]), vmin=0, vmax=1)
        names = [shorten(self.labels[place]) for place in places]
        axes.set_xticks(range(count), names, rotation=90, fontsize=font(count))
        axes.set_yticks(range(count), names, fontsize=font(count))
        axes.tick_params(length=2)
        axes.set_xticks([place - 0.5 for place in range(1, count)], minor=True)
        axes.set_yticks([place - 0.5 for place in range(1, count)], minor=True)
        axes.grid(which="minor", color="#e4e4e4", linewidth=0.5)
        axes.tick_params(which="minor", length=0)
        if count <= FEW:
            size = min(8.5, 26 / max(3, len(str(counts.max()))))
            for row, column in zip(*counts.nonzero(), strict=True):
                colour = "white" if shares[row, column] > 0.55 else "black"
                value = str(counts[row, column])
                axes.text(column, row, value, ha="center", va="center", fontsize=size, color=colour)


@dataclass(frozen=True)
class ClassChart(Chart):
    """A chart with a row for each class."""

    labels: Sequence[str]

    @property
    def body(self) -> tuple[float, float]:
        return 2.9, max(1.2, len(self.labels) * row_height(len(self.labels)))

    @property
    def margins(self) -> Margins:
        return Margins(room_for(self.labels, len(self.labels)), 0.55, 0.95)

    def start(self, axes: Axes) -> range:
        """Name the rows, and give their places, the first one at the top."""
        count = len(self.labels)
        clear(axes)
        axes.grid(visible=False, axis="y")
        axes.set_yticks(range(count), [shorten(label) for label in self.labels], fontsize=font(count))
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(count - 0.4, -0.6)
        return range(count)

    def key(self, axes: Axes, columns: int) -> None:
        """Say below the chart what its colours mean."""
        below = -0.35 / self.body[1]
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, below),
            ncols=columns,
            fontsize=8,
            frameon=False,
            columnspacing=1,
            handletextpad=0.4,
            borderaxespad=0.0,
        )


@dataclass(frozen=True)
class Bars(ClassChart):
    """F1 of each class as a bar, its precision and recall as marks, and at the right how many records it has."""

    title: ClassVar[str] = "F1 per class, and how many there are"
    f1: Sequence[float]
    precision: Sequence[float]
    recall: Sequence[float]
    support: Sequence[int]

    @classmethod
    def of(cls, rows: Sequence[dict[str, float | str]]) -> Bars:
        """Of the rows of a report: of too many, those with the lowest F1."""
        worst = sorted(range(len(rows)), key=lambda place: rows[place]["f1"])[:MOST]
        columns = [
            [rows[place][name] for place in sorted(worst)]
            for name in ("label", *cls.__annotations__)
            if name != "title"
        ]
        return cls(*columns)  # type: ignore[arg-type]

    def draw(self, axes: Axes) -> None:
        places = self.start(axes)
        small = len(places) > FEW
        axes.barh(places, self.f1, height=0.7, color=BLUE, alpha=0.75, label="F1")
        for values, mark, name in ((self.precision, "|", "precision"), (self.recall, "x", "recall")):
            colour = "black" if mark == "|" else ORANGE
            axes.plot(values, places, mark, color=colour, markersize=4 if small else 6, label=name, clip_on=False)
        for place, support in zip(places, self.support, strict=True):
            axes.text(1.04, place, f"{support:,}", va="center", fontsize=font(len(places)), color="#555555")
        axes.set_xlim(-0.03, 1)  # the marks of 0 stay off the names
        self.key(axes, 3)


@dataclass(frozen=True)
class Outcomes(ClassChart):
    """Of labels that hold or not: how often each is given rightly, missed, or given where it does not hold."""

    title: ClassVar[str] = "records per label"
    right: Sequence[int]
    missed: Sequence[int]
    spurious: Sequence[int]

    @classmethod
    def of(cls, labels: Sequence[str], counts: np.ndarray) -> Outcomes:
        """Of counts `(K, 2, 2)`, `[[absent, too many], [missed, right]]`: of too many labels the worst ones."""
        wrong = counts[:, 1, 0] + counts[:, 0, 1]
        places = sorted(sorted(range(len(labels)), key=lambda place: -wrong[place])[:MOST])
        cells = [counts[places, row, column].tolist() for row, column in ((1, 1), (1, 0), (0, 1))]
        return cls([labels[place] for place in places], *cells)

    def draw(self, axes: Axes) -> None:
        places = self.start(axes)
        done = [0] * len(places)
        for name, counts, colour in (
            ("right", self.right, BLUE),
            ("missed", self.missed, GREY),
            ("too many", self.spurious, ORANGE),
        ):
            axes.barh(places, counts, left=done, height=0.7, color=colour, label=name)
            done = [before + count for before, count in zip(done, counts, strict=True)]
        axes.locator_params(axis="x", integer=True, nbins=5)
        self.key(axes, 3)
