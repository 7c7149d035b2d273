"""What a model is made of, whatever its name: blocks, projections, norms, embeddings and the head."""

from lightadapt.anatomy.dry_run import DryRun, KeyValues, dry_run
from lightadapt.anatomy.module_tree import outermost
from lightadapt.anatomy.parts import Anatomy, Attention, Block, Family, FeedForward, Layers
from lightadapt.anatomy.reading import family_of, positions_of, read_anatomy, read_instance
from lightadapt.anatomy.structure import describe

__all__ = [
    "Anatomy",
    "Attention",
    "Block",
    "DryRun",
    "Family",
    "FeedForward",
    "KeyValues",
    "Layers",
    "describe",
    "dry_run",
    "family_of",
    "outermost",
    "positions_of",
    "read_anatomy",
    "read_instance",
]
