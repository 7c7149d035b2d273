"""Records in: every accepted form of data, read, checked and named."""

from lightadapt.data.reading import UNNAMED, Called, Data, Record, Records, Wanted, is_collection, names_data, read

__all__ = ["UNNAMED", "Called", "Data", "Record", "Records", "Wanted", "is_collection", "names_data", "read"]
