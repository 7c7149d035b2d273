"""The sides of train_speed.py: what the guides of PEFT, transformers and AdapterHub do, and lightadapt's defaults.

Nothing but `ours` needs lightadapt, so the others also run with the interpreter of an environment that has AdapterHub's
`adapters` and the older transformers of that library.

- `guide`: https://huggingface.co/docs/peft/v0.7.0/task_guides/token-classification-lora as it is: 16 records a batch,
  each batch padded to its longest, LoRA of rank 16 (alpha 16, dropout 0.1) on query and value, all biases trained, rate
  1e-3, weight decay 0.01, Trainer's defaults else; no evaluation and no checkpoint inside the time that is counted.
  Classification prepares its data as transformers' text classification guide does. Question answering does so as that
  of transformers: windows of 384 tokens, all padded to that length, with the overlap of 128 of its example script.
- `tuned`: the same with records of like length together, padded to the longest of the batch, and in bf16 where the
  processor computes it.
- `adapterhub`: the model and LoRA of `adapters` (same rank, alpha, dropout and projections; no biases, which it does
  not have), the data as for `guide`, padded to the longest of the batch.
- `lightadapt`: `adapt` and `fit` as they are.
"""
