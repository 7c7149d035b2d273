"""Updates of weights as LoRA-GGUF, run as a program: `python -m lightadapt.export.gguf_adapter FOLDER FILE KIND RANK`.

llama.cpp's converter names each weight of a model as llama.cpp does and brings it into the order that is read there;
some it splits. All this is linear, so that it is done to the updates as a whole, and what comes out is a product of
the same rank, which is found again (Halko, Martinsson and Tropp, 2011). What is written is what llama.cpp's
`convert_lora_to_gguf.py` writes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def product_of(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors `(rank, inputs)` and `(outputs, rank)` of a matrix of at most that rank."""
    whole = matrix.double()
    generator = torch.Generator().manual_seed(0)
    probes = torch.randn(whole.shape[1], min(rank, *whole.shape), generator=generator, dtype=torch.float64)
    basis, _ = torch.linalg.qr(whole @ probes)
    more = rank - basis.shape[1]
    up = torch.nn.functional.pad(basis, (0, more))
    down = torch.nn.functional.pad(basis.T @ whole, (0, 0, 0, more))
    return down.float().contiguous(), up.float().contiguous()


def main(folder: str, file: str, kind: str, rank: str) -> None:
    """Write the updates in a folder, whose config says which model they are of."""
    import gguf
    from conversion import ModelBase, get_model_architecture, get_model_class
    from conversion.base import ModelType

    facts = ModelBase.load_hparams(Path(folder), False)
    known: Any = get_model_class(get_model_architecture(facts, ModelType.TEXT))

    def set_type(self: Any) -> None:
        self.gguf_writer.add_type(gguf.GGUFType.ADAPTER)
        self.gguf_writer.add_string(gguf.Keys.Adapter.TYPE, "lora")

    def set_parameters(self: Any) -> None:
        self.gguf_writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(rank))  # the products hold their scale

    def modify(self: Any, tensor: Tensor, name: str, block: int | None) -> Iterable[tuple[str, Tensor]]:
        for new, part in known.modify_tensors(self, tensor, name, block):
            down, up = product_of(part, int(rank))
            yield f"{new}.lora_a", down.T.contiguous() if "token_embd.weight" in new else down
            yield f"{new}.lora_b", up

    adapter = type(
        "Adapter",
        (known,),
        {
            "model_arch": known.model_arch,
            "set_type": set_type,
            "set_gguf_parameters": set_parameters,
            "set_vocab": lambda self: None,
            "generate_extra_tensors": lambda self: (),
            "modify_tensors": modify,
        },
    )
    form = {"f32": gguf.LlamaFileType.ALL_F32, "f16": gguf.LlamaFileType.MOSTLY_F16}[kind]
    with torch.inference_mode():
        adapter(Path(folder), form, Path(file), eager=True, hparams=facts).write()


if __name__ == "__main__":
    main(*sys.argv[1:])
