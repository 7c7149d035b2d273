"""What other libraries call tasks, methods and arguments, and what to write for it here.

The names are contracts, so none of these is taken silently: each ends in an error that says what to write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Ways = Mapping[str, str]
"""What to write for each name: an argument, in which `{value}` is what was given, or a sentence of its own."""


def _by_name(groups: Mapping[str, str]) -> Ways:
    """The way for each of several names, from the names with spaces between for each way."""
    return {name: way for way, names in groups.items() for name in names.split()}


TASKS = _by_name(
    {
        "classification": "text-classification sequence-classification seq-cls single-label-classification nli "
        "sentiment-analysis sentiment intent-classification topic-classification pair-classification",
        "multilabel": "multi-label-classification multi-label multilabel-classification",
        "regression": "sts sts-b stsb sentence-similarity semantic-similarity similarity text-regression",
        "ner": "token-classification token-cls named-entity-recognition tagging sequence-tagging sequence-labeling "
        "sequence-labelling pos pos-tagging chunking slot-filling entities",
        "qa": "question-answering question-answer question-ans extractive-qa squad reading-comprehension",
        "relation": "relation-extraction relation-classification re",
        "multiple-choice": "multiplechoice mcqa swag",
        "generation": "causal-lm text-generation language-modeling clm lm sft instruction-tuning completion seq2seq "
        "seq2seq-lm seq-2-seq-lm text2text-generation conditional-generation",
        "dialogue": "chat conversational conversation",
    }
)
"""Tasks of the hub, of PEFT's task types and of other libraries, in lower case with hyphens."""

METHODS = _by_name(
    {
        "method='lora' with quantize='4bit'": "qlora q-lora",
        "method='dora' with quantize='4bit'": "qdora",
        "method='bottleneck'": "adapter adapters adapter-tuning seq-bn bn",
        "method='houlsby'": "double-seq-bn",
        "method='parallel'": "par-bn",
        "method='prompt'": "prompt-tuning",
        "method='prompt', or 'prefix' for every block": "p-tuning ptuning prompt-encoder",
        "method='prefix'": "prefix-tuning p-tuning-v2 ptuning-v2",
        "method='probe'": "linear head linear-probe linear-probing head-only frozen",
        "method='full'": "finetune fine-tune finetuning fine-tuning full-finetuning full-fine-tuning full-finetune fft",
        "method='bitfit'": "bias bias-only",
        "method='layernorm'": "ln ln-tuning layer-norm",
        "method='ia3'": "(ia)3 ia^3 (ia)^3",
    }
)
"""What to write for methods by the names of other libraries and papers, in lower case with hyphens."""

_LORA = _by_name(
    {
        "rank={value}": "r lora_r lora_rank",
        "alpha={value}": "lora_alpha",
        "dropout={value}": "lora_dropout",
        "targets={value}": "target_modules target",
        "dora={value}": "use_dora",
        "rslora={value}": "use_rslora",
        "init={value}": "init_lora_weights",
    }
)
_LENGTH = _by_name({"length={value}": "num_virtual_tokens prefix_length num_prefix_tokens prompt_length num_tokens"})
_ANY_METHOD = _by_name(
    {
        "The rate belongs to the run: fit(…, learning_rate={value}).": "learning_rate lr",
        "The blocks are an argument of adapt: adapt(…, layers='last:4').": "layers layers_to_transform leave_out",
        "Leave it out: the head is always trained and saved.": "modules_to_save",
        "Leave it out: adapt(…, task=…) says it.": "task_type",
    }
)
_LABELS = _by_name(
    {
        "Name the labels: labels=['…', '…']; left out, the first fit reads them from its data.": "num_labels n_labels "
        "num_classes",
        "labels={value}": "label_list label_names classes class_names",
        "Give the names in order: labels=list(id2label.values()).": "id2label",
        "Give the names in order: labels=sorted(label2id, key=label2id.get).": "label2id",
    }
)
_CUT = _by_name(
    {
        "Leave it out: batches are padded to their own longest text, and the model reads as much as it can. The tasks "
        "say what happens to longer texts: Classification(overflow='windows'), QA(window=384).": "max_length "
        "max_seq_length max_seq_len max_len truncation padding",
    }
)
_WRITING = _by_name(
    {
        "options={'{name}': {value}}": "num_beams temperature do_sample top_p repetition_penalty stop_strings "
        "num_return_sequences",
    }
)
_WRITERS: Ways = {
    **_WRITING,
    **_by_name(
        {
            "options={'{name}': {value}}": "top_k",
            "max_new_tokens={value}": "max_length max_target_length max_tokens",
            "instruction={value}": "prefix source_prefix prompt",
        }
    ),
}
CONSTRUCTORS: Mapping[str, Ways] = {
    "LoRA": {**_ANY_METHOD, **_LORA},
    "Prefix": {**_ANY_METHOD, **_LENGTH},
    "Prompt": {**_ANY_METHOD, **_LENGTH},
    "Bottleneck": {
        **_ANY_METHOD,
        **_by_name(
            {
                "reduction={value}": "reduction_factor",
                "width={value}": "bottleneck_size adapter_size bottleneck_dim",
                "activation={value}": "non_linearity nonlinearity",
            }
        ),
    },
    **dict.fromkeys(("IA3", "BitFit", "LayerNorm", "Probe", "Full"), _ANY_METHOD),
    **{name: {**_CUT, **_LABELS} for name in ("Classification", "MultiLabel", "NER", "Relation")},
    "Regression": {**_CUT, **dict.fromkeys(_LABELS, "Leave it out: a regression gives one number.")},
    "QA": _by_name(
        {
            "window={value}": "max_length max_seq_length max_seq_len",
            "overlap={value}": "doc_stride stride",
            "longest={value}": "max_answer_length max_answer_len",
            "threshold={value}": "null_score_diff_threshold null_threshold",
        }
    ),
    **dict.fromkeys(("Generation", "Summarization", "Translation", "Dialogue"), _WRITERS),
}
"""Settings of the classes of methods and tasks."""

_LOADING = _by_name(
    {
        "Log in with: hf auth login, or set HF_TOKEN.": "token use_auth_token hf_token api_key",
        "dtype={value}": "torch_dtype precision",
        "device='auto'": "device_map",
        "quantize='4bit'": "load_in_4bit",
        "quantize='8bit'": "load_in_8bit",
        "quantize={value}": "quantization_config bnb_config quantization",
        "Set HF_HOME in the environment before Python starts.": "cache_dir",
    }
)
ADAPT: Ways = {
    **_LABELS,
    **_CUT,
    **_LOADING,
    **{
        name: f"method=la.LoRA({way})"
        for name, way in {**_LORA, **{name: name + "={value}" for name in ("rank", "alpha", "targets")}}.items()
    },
    **_by_name(
        {
            "model={value}": "model_name model_name_or_path base_model pretrained_model_name_or_path model_id "
            "checkpoint",
            "method={value}": "peft_config adapter_config lora_config adapter peft config",
            "method=la.Prefix(length={value})": "num_virtual_tokens",
            "method=la.Bottleneck(reduction={value})": "reduction_factor",
            "task=…": "task_type task_name problem_type",
            "tokenizer={value}": "tokenizer_name",
            "That belongs to the run: adapted.fit(train, learning_rate=…, epochs=…).": "learning_rate lr epochs "
            "num_train_epochs batch_size training_args args",
        }
    ),
}
LOAD: Ways = {
    **_LOADING,
    **_by_name(
        {
            "base={value}": "model model_name model_name_or_path base_model base_model_name_or_path",
            "path={value}": "adapter adapter_path model_id pretrained_model_name_or_path repo_id",
            "onto=adapted, name={value}": "adapter_name",
        }
    ),
}
FIT: Ways = {
    **_CUT,
    **_by_name(
        {
            "learning_rate={value}": "lr",
            "epochs={value}": "num_epochs num_train_epochs n_epochs max_epochs",
            "args={'per_device_train_batch_size': {value}}": "batch_size per_device_train_batch_size train_batch_size "
            "per_gpu_train_batch_size",
            "validation=…": "eval_dataset eval_data eval_df eval val val_dataset valid dev validation_data "
            "validation_dataset",
            "train=…": "train_dataset train_data train_df dataset data",
            "Score it after training: adapted.evaluate(test).": "test test_dataset test_data",
            "args={'warmup_steps': {value}}": "warmup_ratio warmup",
            "The number format is that of the model: adapt(…, dtype='bfloat16'). Left out, it is the best that the "
            "processor computes.": "fp16 bf16 precision torch_dtype dtype",
            "early_stopping={value}": "patience early_stopping_patience",
            "Leave it out: the task has its metrics, as evaluate gives them.": "compute_metrics metric metrics",
            "columns={'text': '…', 'label': '…'}": "text_column label_column column_mapping",
            "That is an argument of adapt: adapt(…, {name}=…).": "seed device tokenizer labels",
            "output_dir={value}": "save_path save_dir checkpoint_dir",
            "output_dir='…', resume=True": "resume_from_checkpoint",
            "Weigh the classes in the task: Classification(class_weights='balanced').": "loss loss_fn class_weights",
        }
    ),
}
PREDICT: Ways = {
    **_CUT,
    **_WRITING,
    **_by_name(
        {
            "options={'{name}': {value}}": "max_new_tokens",
            "options={'max_new_tokens': 40, 'num_beams': 4}": "generation_config",
            "scores=True": "top_k return_all_scores return_scores return_proba proba probabilities output_scores",
            "batch_tokens=4096, where the default does not suit": "batch_size",
            "Leave it out: texts are encoded as fast as a tokenizer can.": "num_workers",
            "inputs=[…]": "text texts sentences data",
            "Leave it out: entities come as wholes.": "aggregation_strategy",
            "The device is that of the model: adapt(…, device=…), or load(…, device=…).": "device",
            "adapter={value}": "adapter_name",
        }
    ),
}
EVALUATE: Ways = {
    **_CUT,
    **_by_name(
        {
            "data=…": "eval_dataset test test_dataset dataset inputs",
            "Leave it out: all metrics of the task are given.": "metric metrics compute_metrics",
            "Leave it out: records of like length are computed together, as many as suit the processor.": "batch_size "
            "batch_tokens per_device_eval_batch_size",
        }
    ),
}
SAVE = _by_name({"path={value}": "save_directory output_dir folder directory"})


def task_called(name: str) -> str | None:
    """The task that other libraries call so, or None."""
    return TASKS.get(_spelt(name))


def method_called(name: str) -> str | None:
    """What to write for a method that other libraries call so, or None."""
    return METHODS.get(_spelt(name))


def _spelt(name: str) -> str:
    return re.sub(r"[\s_-]+", "-", name.strip().lower())
