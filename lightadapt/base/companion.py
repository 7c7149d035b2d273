"""A model of another task on weights that are in memory already, for a head that the checkpoint brings along."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from transformers import PreTrainedModel

from lightadapt.base.backbone import Backbone
from lightadapt.base.blueprint import make_blueprint
from lightadapt.base.source import Source, tensor_names
from lightadapt.base.weights import Base, output_layer_of
from lightadapt.tasks import Task


class Companion:
    """A model of another task around the modules of a base, made when it is first asked for.

    It belongs to no adaptation, so nothing of it is trained or saved.
    """

    def __init__(self, base: Base, task: Task) -> None:
        """Note what is to be made."""
        self.base = base
        self.task = task

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model; of the checkpoint only what the base lacks, such as the head, is read.

        Raises:
            LightAdaptError: the checkpoint does not have it.
        """
        design = self.base.design
        blueprint = make_blueprint(design.blueprint.source, self.task)
        return Backbone(self.base).join(replace(design, blueprint=blueprint, head=None)).model


def has_output_layer(source: Source) -> bool:
    """Whether a checkpoint has the output layer of a language model, or shares it with the embedding.

    One that is not in safetensors may have it; that is seen when it is read.
    """
    layer = output_layer_of(source.config)
    if layer is None or source.config.get_text_config().tie_word_embeddings:
        return layer is not None
    names = set(source.instance.state_dict()) if source.instance is not None else tensor_names(source)
    return not names or any(name.endswith(f"{layer}.weight") for name in names)
