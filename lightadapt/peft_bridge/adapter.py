"""Interim."""

from __future__ import annotations

from lightadapt import peft_bridge as pb


class Adapter:
    def __init__(self, model, name):
        self.model, self.name = model, name

    @property
    def modules(self):
        return pb.adapted_modules(self.model, self.name)

    @property
    def parameters(self):
        return pb.adapter_parameters(self.model, self.name)

    def tensors(self):
        return pb.adapter_tensors(self.model, self.name)

    def load_tensors(self, tensors):
        pb.load_adapter_tensors(self.model, tensors, self.name)

    def write_config(self, path, modules, base, revision):
        pb.write_config(path, self.model, self.name, modules, base, revision)

    def check_foldable(self, *, onto_these):
        pb.check_foldable(self.model, self.name, onto_these=onto_these)

    def fold(self):
        pb.fold(self.model, self.name)

    def folded_if_it_pays(self, tokens):
        return pb.folded_if_it_pays(self.model, self.name, tokens)

    def remove(self):
        raise NotImplementedError

    def rename(self, new):
        raise NotImplementedError


def activate(model, names):
    pb.use(model, names[0] if names else None)
