"""Records in: every accepted form of data, read, checked and named."""

from lightadapt.data.reading import Data, Record, Records, Wanted, is_collection, names_data, read

__all__ = ["Data", "Record", "Records", "Wanted", "is_collection", "names_data", "read"]
