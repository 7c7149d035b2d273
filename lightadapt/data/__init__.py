"""Records in: every accepted form of data, read, checked and named."""

from lightadapt.data.reading import CONLL_SUFFIXES, TABLE_SUFFIXES, Data, Record, Records, is_collection, read

__all__ = ["CONLL_SUFFIXES", "TABLE_SUFFIXES", "Data", "Record", "Records", "is_collection", "read"]
