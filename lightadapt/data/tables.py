"""Tables in memory: data sets and frames of any library, told by what they can do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from lightadapt.data.files import rows_of_table
from lightadapt.data.records import Record
from lightadapt.data.stored import Stored
from lightadapt.errors import DataError, listed, shown

EXCHANGED = ("__arrow_c_stream__", "__arrow_c_array__", "__dataframe__", "to_pandas", "toPandas")
"""How a table can be had of any library: Arrow's interface, the dataframe interchange protocol, or by way of pandas."""
LATER = ("collect", "compute")
"""What computes a frame that is only planned so far."""
SPLITS = {"train": ("train", "training"), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""What data is for, and how splits for it are called, the usual name first."""
Namer: TypeAlias = Callable[[Any], Any]


def is_table(source: Any) -> bool:
    """Whether the source is a data set, or a frame with columns, of any library."""
    if _is_dataset(source) or _is_pandas(source) or _is_splits(source) or callable(_ability(source, "to_dicts")):
        return True
    # A series of texts can be exchanged, too, but it has no columns.
    can = any(callable(_ability(source, name)) for name in (*EXCHANGED, *LATER))
    return can and any(_ability(source, name) is not None for name in ("columns", "column_names", "schema"))


def read_rows(source: Any, split: str = "train") -> Sequence[Record]:
    """The rows of a table as dicts, with class numbers replaced by their names; those of a stream in a file.

    Args:
        split: what the data is for, by which one of several splits is chosen.

    Raises:
        DataError: it is no table yet, a row cannot be read, or no split is called as what it is for.
    """
    if _is_splits(source):
        name = next((name for name in SPLITS.get(split, (split,)) if name in source), None)
        if name is None:
            raise DataError(
                f"This is a dictionary of splits ({listed(source)}), none of which is called {split!r}. Choose "
                f"one, such as data[{shown(next(iter(source)))}]."
            )
        source = source[name]
    if _is_dataset(source):
        rows = _dataset_rows(source)
        return list(rows) if hasattr(source, "__len__") else Stored(rows)
    if _is_pandas(source):
        return _frame_rows(source)
    kind = f"{type(source).__module__}.{type(source).__name__}"
    if not any(callable(_ability(source, name)) for name in ("to_dicts", *EXCHANGED)):
        way = next(name for name in LATER if callable(_ability(source, name)))
        raise DataError(f"Data is a {kind}, which is not computed yet. Give what its {way}() returns.")
    try:
        return _exchanged_rows(source)
    except DataError:
        raise
    except Exception as error:  # of any library
        raise DataError(
            f"Data is a {kind}, which cannot be read ({type(error).__name__}: {error}). Convert it to a pandas frame, "
            "or to a list of dicts."
        ) from error


def _ability(source: Any, name: str) -> Any:
    """An attribute of an object of any library; None where there is none, or where asking for it fails."""
    try:
        return getattr(source, name, None)
    except Exception:  # a property of a foreign class
        return None


def _is_dataset(source: Any) -> bool:
    return callable(_ability(source, "with_format")) and hasattr(source, "features")


def _is_splits(source: Any) -> bool:
    return isinstance(source, Mapping) and bool(source) and all(map(_is_dataset, source.values()))


def _is_pandas(source: Any) -> bool:
    pandas = sys.modules.get("pandas")  # who has a frame has imported it
    return pandas is not None and isinstance(source, pandas.DataFrame)


# ---- frames


def _frame_rows(frame: Any) -> list[Record]:
    """The rows of a pandas frame, with missing cells (NaN, NA, NaT) as None."""
    import pandas

    def cell(key: Any, value: Any) -> Any:
        if pandas.api.types.is_scalar(value) and pandas.isna(value):
            return None
        return int(value) if key in made_floats else value

    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"The frame has two columns named {shown(twice)}. Rename one of them.")
    made_floats = {name for name in frame.columns if _is_of_whole_numbers(frame[name])}
    return [{key: cell(key, value) for key, value in row.items()} for row in frame.to_dict("records")]


def _is_of_whole_numbers(column: Any) -> bool:
    """Whether these are whole numbers that pandas made floats of, since some are missing."""
    if getattr(column.dtype, "kind", "") != "f" or not column.hasnans:
        return False
    there = column.dropna()
    return bool(len(there) and (abs(there) < 2**53).all() and (there % 1 == 0).all())


def _exchanged_rows(source: Any) -> list[Record]:
    """The rows of a frame of any library that gives its content in one of the usual ways."""
    import pyarrow
    from pyarrow import interchange

    if callable(_ability(source, "to_dicts")):
        return list(source.to_dicts())
    if callable(_ability(source, "__arrow_c_stream__")) or callable(_ability(source, "__arrow_c_array__")):
        return rows_of_table(pyarrow.table(source), "data")
    if callable(_ability(source, "__dataframe__")):
        return rows_of_table(interchange.from_dataframe(source), "data")
    way = _ability(source, "to_pandas") or source.toPandas
    return _frame_rows(way())


# ---- data sets


def _dataset_rows(data: Any) -> Iterator[Record]:
    """The rows of a data set as plain values, whatever format it gives them in; class numbers become names."""
    namers = {column: namer for column, feature in (data.features or {}).items() if (namer := _namer(feature))}
    rows = iter(data.with_format(None))
    index = 0
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:  # decoding images or sound, a broken file of a stream, …
            raise DataError(
                f"Record {index} cannot be read from the data set ({type(error).__name__}: {error}). Leave out the "
                "columns that are not needed, with data.select_columns([…])."
            ) from error
        for column, namer in namers.items():
            try:
                row[column] = namer(row[column])
            except IndexError as error:
                raise DataError(
                    f"Record {index}: {column} holds {error}. Correct the number, or its feature."
                ) from error
        yield row
        index += 1


def _namer(feature: Any) -> Namer | None:
    """What replaces the class numbers in a value of this feature, however deep they are; None where there are none."""
    if hasattr(feature, "int2str") and hasattr(feature, "names"):
        return partial(_name_class, names=list(feature.names or []))
    if isinstance(feature, Mapping):
        inner = {key: namer for key, each in feature.items() if (namer := _namer(each))}
        return partial(_name_in_fields, namers=inner) if inner else None
    of_items = feature[0] if isinstance(feature, (list, tuple)) and feature else getattr(feature, "feature", None)
    namer = None if of_items is None else _namer(of_items)
    return partial(_name_in_list, namer=namer) if namer else None


def _name_in_fields(value: Any, *, namers: Mapping[str, Namer]) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: namers[key](each) if key in namers else each for key, each in value.items()}


def _name_in_list(value: Any, *, namer: Namer) -> Any:
    return [namer(each) for each in value] if isinstance(value, list) else namer(value)


def _name_class(value: Any, *, names: Sequence[str]) -> Any:
    if isinstance(value, list):  # a list of dicts may come as a dict of lists
        return [_name_class(each, names=names) for each in value]
    if not isinstance(value, int) or value < 0:  # -1 is how the hub's data sets say "not labelled"
        return None
    if value >= len(names):
        raise IndexError(f"the class number {value}, but its ClassLabel has the numbers 0 to {len(names) - 1}")
    return names[value]
