"""What is found in models of every kind, against what their authors wrote; and exact sizes from configs alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import (
    AlbertConfig,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)

import lightadapt as la
from lightadapt.anatomy import Anatomy, read_anatomy

SMALL = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
SPECIALS = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0)
WITHOUT_INNER = {name: value for name, value in SMALL.items() if name != "intermediate_size"}
SMALL_S2S = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
}


def anatomy_of(auto, kind: str, **options) -> Anatomy:
    config = AutoConfig.for_model(kind, **options)
    found = auto._model_mapping[type(config)]
    return read_anatomy(found[0] if isinstance(found, tuple) else found, config)


def test_bert():
    anatomy = anatomy_of(AutoModelForTokenClassification, "bert", **SMALL)
    assert anatomy.traced
    assert anatomy.head == {"classifier.weight", "classifier.bias"}
    block = anatomy.blocks[1]
    (attention,), (feed_forward,) = block.attentions, block.feed_forwards
    inside = "bert.encoder.layer.1"
    assert attention.query == (f"{inside}.attention.self.query",)
    assert attention.output == (f"{inside}.attention.output.dense",)
    assert attention.core == f"{inside}.attention.self"
    assert (attention.key_values.heads, attention.key_values.key_width) == (4, 8)
    assert feed_forward.up == (f"{inside}.intermediate.dense",)
    assert feed_forward.down == (f"{inside}.output.dense",)
    assert feed_forward.path is None  # its two halves hang on the block itself
    assert block.width == 32
    assert anatomy.embedding == "bert.embeddings.word_embeddings"
    assert anatomy.trunk == "bert"
    assert not anatomy.causal


def test_llama_has_grouped_keys_and_a_gated_feed_forward():
    anatomy = anatomy_of(AutoModelForCausalLM, "llama", **SMALL, num_key_value_heads=2)
    (attention,), (feed_forward,) = anatomy.blocks[0].attentions, anatomy.blocks[0].feed_forwards
    assert attention.key_values.heads == 2
    assert attention.key_values.interface
    assert [path.rpartition(".")[2] for path in feed_forward.up] == ["gate_proj", "up_proj"]
    assert feed_forward.path == "model.layers.0.mlp"
    assert anatomy.causal


def test_t5_has_two_stacks_and_attention_across():
    anatomy = anatomy_of(
        AutoModelForSeq2SeqLM,
        "t5",
        vocab_size=99,
        d_model=32,
        num_layers=2,
        num_decoder_layers=3,
        num_heads=4,
        d_kv=8,
        d_ff=48,
        decoder_start_token_id=0,
    )
    assert anatomy.stacks == ("encoder.block", "decoder.block")
    assert [len(block.attentions) for block in anatomy.blocks] == [1, 1, 2, 2, 2]
    assert [attention.across for attention in anatomy.blocks[-1].attentions] == [False, True]
    assert anatomy.reader == "decoder"
    assert "decoder.embed_tokens.weight" in anatomy.ties
    last = anatomy.choose_blocks("last:1")
    assert [block.path for block in last] == ["encoder.block.1", "decoder.block.2"]
    with pytest.raises(la.LightAdaptError, match=r"stacks of 2, 3 blocks; choose 1 to 3"):
        anatomy.choose_blocks("last:4")


@pytest.mark.parametrize(
    ("auto", "kind", "options", "fused"),
    [
        (AutoModelForCausalLM, "gpt2", {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4}, "attn.c_attn"),
        (AutoModelForTokenClassification, "modernbert", {**SMALL, **SPECIALS}, "attn.Wqkv"),
        (AutoModelForSequenceClassification, "deberta", SMALL, "attention.self.in_proj"),
        (
            AutoModelForCausalLM,
            "falcon",
            {k: v for k, v in SMALL.items() if k != "intermediate_size"},
            "query_key_value",
        ),
    ],
)
def test_fused_projections(auto, kind, options, fused):
    (attention,) = anatomy_of(auto, kind, **options).blocks[0].attentions
    assert [path.endswith(fused) for path in attention.fused] == [True]
    assert not attention.query
    assert len(attention.output) == 1
    assert attention.key_values is not None


def test_low_rank_queries_and_keys():
    anatomy = anatomy_of(
        AutoModelForCausalLM,
        "deepseek_v3",
        **SMALL,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_nope_head_dim=8,
        qk_rope_head_dim=8,
        v_head_dim=8,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        moe_intermediate_size=24,
        first_k_dense_replace=1,
    )
    (attention,) = anatomy.blocks[0].attentions
    names = [path.rpartition(".")[2] for path in (*attention.query, *attention.key)]
    assert names == ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj"]
    assert attention.output[0].endswith("o_proj")
    dense, experts = (block.feed_forwards[0] for block in anatomy.blocks)
    assert (dense.mixture, experts.mixture) == (False, True)
    assert [name.rpartition(".")[2] for name in experts.experts] == ["gate_up_proj", "down_proj"]
    assert experts.path == "model.layers.1.mlp"


def test_albert_shares_one_block():
    anatomy = anatomy_of(AutoModelForSequenceClassification, "albert", **SMALL, embedding_size=16)
    assert len(anatomy.blocks) == 1
    assert len(anatomy.blocks[0].linears) == 6


def test_xlm_keeps_attentions_and_feed_forwards_in_lists_of_their_own():
    anatomy = anatomy_of(AutoModelForTokenClassification, "xlm", vocab_size=99, emb_dim=32, n_layers=3, n_heads=4)
    assert len(anatomy.blocks) == 3
    for number, block in enumerate(anatomy.blocks):
        assert block.paths[:2] == (f"transformer.attentions.{number}", f"transformer.ffns.{number}")
        assert len(block.attentions) == 1
        assert block.feed_forwards[0].down == (f"transformer.ffns.{number}.lin2",)


def test_what_is_never_called_is_not_adapted():
    longformer = anatomy_of(
        AutoModelForTokenClassification, "longformer", **SMALL, attention_window=[8, 8], max_position_embeddings=64
    )
    assert longformer.traced
    linears = [path for block in longformer.blocks for path in block.linears]
    assert linears
    assert not any("global" in path for path in linears)
    mamba = anatomy_of(AutoModelForCausalLM, "mamba", vocab_size=99, hidden_size=32, num_hidden_layers=2)
    assert {path.rpartition(".")[2] for path in mamba.blocks[0].linears} == {"in_proj", "x_proj"}
    big_bird = anatomy_of(AutoModelForTokenClassification, "big_bird", **SMALL)
    assert {"bert.pooler.weight", "bert.pooler.bias"} <= big_bird.idle


def test_blocks_come_in_the_order_in_which_they_run():
    anatomy = anatomy_of(AutoModelForSeq2SeqLM, "bart", **SMALL_S2S)
    assert [block.path.split(".")[1] for block in anatomy.blocks] == ["encoder"] * 2 + ["decoder"] * 3
    assert anatomy.trunk == "model.encoder"
    assert anatomy.reader == "model.decoder"


def test_a_dry_run_leaves_no_trace():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    config = BertConfig(**SMALL)
    before = config.to_dict()
    read_anatomy(AutoModel._model_mapping[BertConfig], config)
    assert torch.equal(torch.rand(3), expected)
    assert config.to_dict() == before


class Unheard(PreTrainedModel):
    """An architecture that nobody has named, with a forward that no dry run can finish."""

    config_class = PretrainedConfig
    base_model_prefix = "core"

    def __init__(self, config):
        super().__init__(config)
        self.core = nn.Module()
        self.core.tower = nn.ModuleList(
            nn.ModuleDict({"one": nn.Linear(8, 12), "two": nn.Linear(12, 8)}) for _ in range(2)
        )
        self.post_init()

    def forward(self, input_ids, **_):
        raise RuntimeError("not without values")


def test_an_unknown_architecture_is_read_from_its_modules():
    anatomy = read_anatomy(Unheard, PretrainedConfig())
    assert not anatomy.traced
    assert [block.path for block in anatomy.blocks] == ["core.tower.0", "core.tower.1"]
    assert anatomy.blocks[0].linears == ("core.tower.0.one", "core.tower.0.two")
    with pytest.raises(la.LightAdaptError, match=r"Prefix: no attention of tokens to their own text was seen"):
        la.Prefix().plan(anatomy, None)
    with pytest.raises(la.LightAdaptError, match=r"Prompt: no embedding was seen"):
        la.Prompt().plan(anatomy, None)


QV = {"targets": ["query", "value"]}
LLAMA_QV = {"targets": ["q_proj", "v_proj"]}
LLAMA_3 = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}
LLAMA_32_3B = {
    "hidden_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 8192,
    "vocab_size": 128256,
}
LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
XXL = {"hidden_size": 1536, "num_hidden_layers": 48, "num_attention_heads": 24, "intermediate_size": 6144}
GPT_3 = {"n_embd": 12288, "n_layer": 96, "n_head": 96}

PUBLISHED = [
    (BertConfig(), la.LoRA(**QV), 294_912),
    (RobertaConfig(), la.LoRA(**QV), 294_912),
    (RobertaConfig(**LARGE), la.LoRA(**QV), 786_432),
    (DebertaV2Config(**XXL), la.LoRA(rank=16, targets=["query_proj", "value_proj"]), 4_718_592),
    (DistilBertConfig(), la.LoRA(targets=["q_lin", "v_lin"]), 147_456),
    (ModernBertConfig(), la.LoRA(targets=["Wqkv"]), 540_672),
    (GPT2Config(), la.LoRA(targets=["c_attn"]), 294_912),
    (LlamaConfig(), la.LoRA(**LLAMA_QV), 4_194_304),
    (LlamaConfig(), la.LoRA(), 19_988_480),
    (LlamaConfig(), la.LoRA(rank=16), 39_976_960),
    (LlamaConfig(**LLAMA_3), la.LoRA(**LLAMA_QV), 3_407_872),
    (LlamaConfig(**LLAMA_3), la.LoRA(rank=16), 41_943_040),
    (LlamaConfig(**LLAMA_32_3B), la.LoRA(rank=32, **LLAMA_QV), 9_175_040),
    (LlamaConfig(**LLAMA_32_3B), la.Prefix(length=50), 2_867_200),
    (LlamaConfig(**LLAMA_32_3B), la.Prefix(length=200), 11_468_800),
    (LlamaConfig(**LLAMA_32_3B), la.IA3(), 286_720),
    (BertConfig(), la.Prefix(length=20), 368_640),
    (BertConfig(), la.Prefix(length=30), 552_960),
    (BertConfig(), la.Bottleneck(width=48), 894_528),
    (BertConfig(), la.Bottleneck(width=64), 1_189_632),
    (BertConfig(), la.Bottleneck(width=48, placement="houlsby"), 1_789_056),
    (BertConfig(), la.Bottleneck(width=64, placement="houlsby"), 2_379_264),
    (RobertaConfig(**LARGE), la.Bottleneck(width=8, placement="houlsby"), 835_968),
    (GPT2Config(n_embd=1024, n_layer=24, n_head=16), la.Bottleneck(width=7), 368_808),
    (BertConfig(), la.BitFit(), 102_144),
    (BertConfig(**LARGE), la.BitFit(), 271_360),
    (BertConfig(), la.IA3(), 55_296),
    (BertConfig(), la.Prompt(length=20), 20 * 768),
    (BertConfig(), la.LayerNorm(), 25 * 2 * 768),
    (AlbertConfig(num_hidden_layers=12), la.Bottleneck(width=8), 8 * 4096 * 2 + 8 + 4096),
]
"""Configurations with the parameters that their papers, or arithmetic, give."""


@pytest.mark.parametrize(
    ("config", "method", "count"), PUBLISHED, ids=[f"{c.model_type}-{m.name}-{n}" for c, m, n in PUBLISHED]
)
def test_published_sizes(config, method, count):
    assert la.inspect(config, method=method).trainable == count


@pytest.mark.parametrize(("rank", "count"), [(8, 37_748_736)])
def test_the_size_for_gpt_3(rank, count):
    # GPT-3 projects query and value apart, in the shapes that OPT has at this width.
    config = AutoConfig.for_model(
        "opt",
        hidden_size=12288,
        num_hidden_layers=96,
        num_attention_heads=96,
        ffn_dim=4 * 12288,
        word_embed_proj_dim=12288,
    )
    assert la.inspect(config, method=la.LoRA(rank=rank, **LLAMA_QV)).trainable == count


@pytest.mark.parametrize(
    ("config", "head"), [(BertConfig(), 1_538), (RobertaConfig(), 592_130), (DistilBertConfig(), 592_130)]
)
def test_sizes_of_heads(config, head):
    assert la.inspect(config, task=la.Classification(labels=["yes", "no"])).head == head


def test_inspect_prints_blocks_and_methods(tmp_path):
    config = BertConfig(**SMALL)
    text = str(la.inspect(config))
    assert "encoder.layer: 2 blocks, width 32" in text
    assert "query          attention.self.query (32 -> 32)" in text
    assert "  prefix" in text
    config.save_pretrained(tmp_path)
    assert la.inspect(tmp_path).total == la.inspect(tmp_path / "config.json").total == la.inspect(config).total
    chosen = la.inspect(config, method="lora", layers="last:1")
    assert "1 of 2 blocks" in str(chosen)
    assert chosen.trainable * 2 == la.inspect(config, method="lora").trainable


def test_inspect_says_why_a_method_is_refused():
    config = AutoConfig.for_model("mamba", vocab_size=99, hidden_size=32, num_hidden_layers=2)
    inspection = la.inspect(config)
    assert inspection.methods["prefix"].startswith("Prefix: no attention of tokens to their own text was seen")
    assert inspection.methods["lora"] == la.inspect(config, method="lora").trainable > 0
    assert "refused: Prefix" in str(inspection)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("no-such-model", {}, "There is no such folder here, and no config on the hub"),
        (BertConfig(**SMALL), {"method": "lorra"}, "Did you mean 'lora'?"),
        (BertConfig(**SMALL), {"layers": "last:3"}, "the model has 2 blocks; choose 1 to 2"),
        (BertConfig(**SMALL), {"quantize": "4bits"}, "Did you mean '4bit'?"),
        (PretrainedConfig(), {}, "transformers has no model for the architecture"),
    ],
)
def test_inspect_refuses(model, options, message):
    with pytest.raises(la.LightAdaptError) as caught:
        la.inspect(model, **options)
    assert message in str(caught.value)


def test_qa_models_whose_backbone_has_another_name():
    anatomy = anatomy_of(AutoModelForQuestionAnswering, "qwen2", **SMALL, num_key_value_heads=2)
    assert anatomy.blocks[0].path == "transformer.layers.0"
    assert anatomy.head == {"qa_outputs.weight", "qa_outputs.bias"}
