"""How the tiny models of zoo.py are cut: what is no text model, the sizes by the name of a field, and exceptions."""

from __future__ import annotations

from typing import Any

VOCAB, LABELS = 211, 3
PAD, BOS, EOS, OTHER = 0, 1, 2, 3  # OTHER stands for image, mask and other special tokens; batches hold ids from 5 on

NOT_TEXT = {
    "needs audio: in the mapping for speech to text": "audioflamingo3 glmasr granite_speech granite_speech_plus "
    "moss_transcribe_diarize musicflamingo nemo_speechlm qwen2_audio qwen3_asr vibevoice_asr voxtral voxtral_realtime",
    "needs audio": "whisper",
    "needs audio codes": "moshi",
    "makes audio codes": "musicgen musicgen_melody",
    "a wrapper around two models of other types": "encoder-decoder",
    "a draft head that reads the states of another model": "gemma4_assistant gemma4_unified_assistant",
    "needs an image: its loss leaves out as many positions as an image has": "git",
    "needs the image of the page": "layoutlmv2",
    "needs the features of an image": "lxmert",
}
"""Model types that are not tried, by the reason."""

CANNOT = {
    "gemma3n": "its image tower needs the packages timm and pillow; gemma3n_text is the same text model",
    "mra": "its attention is a CUDA kernel, fetched from the Hub; without it the attention gives zeros",
}
NOT_TRIED = {*CANNOT, *" ".join(NOT_TEXT.values()).split()}

# (what the whole name of a field must match, its tiny value); the first match counts. A field whose default is None,
# 0 or not an integer keeps its default, and so does a size of 1.
SIZES: list[tuple[str, int]] = [
    # tokens
    (r"num_hash_buckets", 64),
    (r"type_vocab_size", 2),
    (r"vocab_size|\w+_vocab_size|vocab_size_per_layer_input", VOCAB),
    (r"pad_token_id", PAD),
    (r"bos_token_id", BOS),
    (r"(forced_)?eos_token_id|sep_token_id|decoder_start_token_id", EOS),
    (r"\w+_token_(id|index)", OTHER),
    # layers
    (r"num_dense_layers|first_k_dense_replace|moe_layer_(start|end)_index", 1),
    (r"n_layers?|num_(hidden_)?layers|\w+_layers|depth|num_blocks", 2),
    # attention
    (r"qk_rope_head_dim|qk_nope_head_dim|rotary_dim", 8),
    (r"(num_|n_)?(key_value|kv)_heads|kv_n_heads|swa_num_key_value_heads|linear_num_key_heads|index_n_heads", 2),
    (r"mamba_n_heads|mamba_num_heads|n_mamba_heads", 8),
    (r"n_heads?|num_heads|(\w+_)?attention_heads|linear_num_(value_)?heads", 4),
    (r"(\w+_)?head_dim|d_kv|d_head|dim_head|kv_channels|attention_head_size|query_pre_attn_scalar", 16),
    (r"q_lora_rank|o_lora_rank", 24),
    (r"kv_lora_rank|laurel_rank|adapter_rank|hc_lowrank", 16),
    (r"sliding_window(_size)?|window_size|attention_window(_size)?|local_attention(_window_len)?", 8),
    (r"attention_chunk_size|keep_window_size", 8),
    (r"index_topk", 4),
    # mixtures of experts
    (r"num_experts|n_routed_experts|num_local_experts|moe_num_experts", 4),
    (r"num_experts_per_tok|moe_topk|moe_top_k|moe_k|n_group|topk_group", 2),
    (r"num_shared_experts|n_shared_experts|moe_num_shared_experts|(en|de)coder_sparse_step", 1),
    # widths
    (r"(\w+_)?(intermediate_size|ffn_dim|ffn_hidden_size)|intermediate_size_mlp", 48),
    (r"d_ff|dim_ff|dff|d_inner|hidden_dim|feed_forward_size", 48),
    (r"(\w+_)?embedding_size|embedding_dim|hidden_size_per_layer_input", 32),
    (r"(\w+_)?hidden_size|hidden_size_global|d_model|n_embd|dim|emb_dim|embed_dim|ple_embed_dim", 64),
    (r"word_embed_proj_dim|lru_width", 64),
    (r"\w+_embed_dim", 32),
    # recurrent layers
    (r"state_size|ssm_state_size|mamba_d_state", 8),
    (r"mamba_d_head", 16),
    (r"mamba_d_ssm", 128),
    (r"mamba_n_groups|n_groups", 2),
    (r"(mamba_)?chunk_size|block_size", 8),
    # positions
    (r"max_position_embeddings|\w+_position_embeddings|n_positions|n_ctx|max_seq_len|context_length", 128),
    (r"max_source_positions", 128),
    # pictures
    (r"image_size", 32),
]

# Fields that get their tiny value even where the default is None or 0.
_ALSO_NONE = (
    "vocab_size pad_token_id bos_token_id eos_token_id decoder_start_token_id head_dim num_key_value_heads "
    "n_routed_experts n_shared_experts num_experts_per_tok n_group topk_group"
)
ALSO_NONE = set(_ALSO_NONE.split())

# The parts of a model that read pictures or sound stay unused, so they are made still smaller.
SIDES = ("vision_config", "audio_config", "vq_config")
SIDE_SIZES = {2: 1, 32: 16, 48: 16, 64: 16}

# What the rule above does not get right, by type.
SPECIAL: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "bert-generation": {"is_decoder": True},
    "blt": {"use_cache": False, "encoder_hash_byte_group_vocab": 64},
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}}
    },
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "clip_qkv": 8.0}},
    "deepseek_v4": {
        "compress_rates": {"compressed_sparse_attention": 2, "heavily_compressed_attention": 4}  # shorter than the text
    },
    "dots3_note": {
        "audio_config": {"adapter_input_size": 16, "adapter_out_dim": 64, "downsample_hidden_size": 8},
        "vision_config": {"adapter_in_dim": 16, "adapter_out_dim": 64},
    },
    "dots3_note_text": {
        **dict.fromkeys(("swa_num_attention_heads", "swa_num_key_value_heads"), 4),
        **dict.fromkeys(("swa_kv_lora_rank", "swa_head_dim", "swa_v_head_dim"), 16),
        **{"swa_q_lora_rank": 24, "swa_qk_nope_head_dim": 8},
    },
    "esmc": {"num_key_value_heads": 4},
    "flint": {"mlp_only_layers": [0]},
    "funnel": {"block_sizes": [1, 1], "num_decoder_layers": 1},
    "fuyu": {"patch_size": 4},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "activation_sparsity_pattern": [0.95, 0.0, 0.0, 0.0],
    },
    "got_ocr2": {"vision_config": {"output_channels": 8, "mlp_dim": 16}},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"]},
    "hunyuan_v1_moe": {"num_experts": 4, "moe_topk": 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "layoutlmv3": {"coordinate_size": 12, "shape_size": 8, "input_size": 32, "patch_size": 8},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "lilt": {"hidden_size": 96},
    "longcat_flash": {"zero_expert_num": 2},
    "luke": {"entity_vocab_size": 11, "entity_emb_size": 8},
    "mamba2": {"num_heads": 8},
    "markuplm": {"max_depth": 4},
    "perceiver": {"num_latents": 16, "d_latents": 32, "num_self_attends_per_block": 2},
    "phi4_multimodal": {
        "vision_config": {"crop_size": 32},
        "audio_config": {"ext_pw_out_channel": 16, "depthwise_separable_out_channel": 16, "nemo_conv_channels": 16},
    },
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 8,
        "indexer_compress_ratio": 2,
    },
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {
        "axial_pos_embds": False,
        "attn_layers": ["local", "lsh"],
        "local_attn_chunk_length": 4,
        "lsh_attn_chunk_length": 4,
        "hash_seed": 0,
    },
    "squeezebert": {"embedding_size": 64},
    "xlstm": {"embedding_dim": 64, "use_cache": False},  # the cache overwrites what the backward pass needs
    "zamba": {
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
        "num_hidden_layers": 3,
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
    },
}
