"""A tokenizer as the tasks call it, on the library `tokenizers` alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from tokenizers import Encoding, Tokenizer

from lightadapt.runtime.chats import render_chat

FACTS = (
    "pad_token_id",
    "pad_token_type_id",
    "bos_token_id",
    "eos_token_id",
    "sep_token_id",
    "unk_token_id",
    "eos_token",
    "model_input_names",
)
"""What tokenizer.json does not say: attributes of transformers' tokenizers."""
WRITING_FACTS = ("all_special_tokens", "special_tokens_map")
"""What is asked for beside where texts are written or conversations are rendered."""
FILE = "tokenizer.json"


class Encodings(dict[str, Any]):
    """The columns of a batch of texts, as transformers' tokenizers give them: a list a text, or one list for one."""

    def __init__(self, columns: Mapping[str, Any], encodings: Sequence[Encoding]) -> None:
        super().__init__(columns)
        self.encodings = encodings

    def sequence_ids(self, row: int) -> list[int | None]:
        """Which text of a pair each token is of; None for special tokens."""
        return list(self.encodings[row].sequence_ids)


class RuntimeTokenizer:
    """The tokenizer that lies beside an exported model; it gives what the one of transformers gave.

    It may be called from many threads.
    """

    is_fast = True
    split_special_tokens = False

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Read tokenizer.json of a folder; `facts` are the values of `FACTS`."""
        self.backend_tokenizer = Tokenizer.from_file(str(folder / FILE))
        self.backend_tokenizer.no_padding()
        self.backend_tokenizer.no_truncation()
        self.pad_token_id: int | None = facts["pad_token_id"]
        self.pad_token_type_id: int = facts["pad_token_type_id"]
        self.bos_token_id: int | None = facts["bos_token_id"]
        self.eos_token_id: int | None = facts["eos_token_id"]
        self.sep_token_id: int | None = facts["sep_token_id"]
        self.unk_token_id: int | None = facts["unk_token_id"]
        self.eos_token: str | None = facts["eos_token"]
        self.model_input_names: list[str] = list(facts["model_input_names"])
        self.all_special_tokens: list[str] = list(facts.get("all_special_tokens", ()))
        self.special_tokens_map: dict[str, Any] = dict(facts.get("special_tokens_map", {}))
        self.chat_template: str | None = facts.get("chat_template")
        self._around_targets: Sequence[Sequence[int]] | None = facts.get("around_targets")
        self._lock = Lock()  # how texts are cut is a state of the tokenizer

    def __len__(self) -> int:
        """How many tokens it knows."""
        return int(self.backend_tokenizer.get_vocab_size())

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        text_pair: str | Sequence[str] | None = None,
        *,
        add_special_tokens: bool = True,
        truncation: bool | str = False,
        max_length: int | None = None,
        stride: int = 0,
        return_overflowing_tokens: bool = False,
        return_offsets_mapping: bool = False,
        return_special_tokens_mask: bool = False,
        verbose: bool = False,
        text_target: str | None = None,
    ) -> Encodings:
        """The tokens of a text, or of several; the arguments are those of transformers' tokenizers."""
        if text_target is not None and self._around_targets is not None:
            before, behind = self._around_targets
            with self._cutting() as tokenizer:
                ids = tokenizer.encode(text_target, add_special_tokens=False).ids
            return Encodings({"input_ids": [*before, *ids, *behind]}, [])
        text = text_target if text is None else text
        assert text is not None
        single = isinstance(text, str)
        texts = [text] if single else list(text)
        pairs = None if text_pair is None else [text_pair] if single else list(text_pair)
        given: list[Any] = texts if pairs is None else list(zip(texts, pairs, strict=True))
        with self._cutting(truncation, max_length, stride) as tokenizer:
            found = tokenizer.encode_batch(given, add_special_tokens=add_special_tokens)
        owners = list(range(len(found)))
        if return_overflowing_tokens:
            owners = [owner for owner, each in enumerate(found) for _ in range(1 + len(each.overflowing))]
            found = [part for each in found for part in (each, *each.overflowing)]
        columns: dict[str, Any] = {"input_ids": [each.ids for each in found]}
        if "token_type_ids" in self.model_input_names:
            columns["token_type_ids"] = [each.type_ids for each in found]
        if "attention_mask" in self.model_input_names:
            columns["attention_mask"] = [each.attention_mask for each in found]
        if return_special_tokens_mask:
            columns["special_tokens_mask"] = [each.special_tokens_mask for each in found]
        if return_offsets_mapping:
            columns["offset_mapping"] = [each.offsets for each in found]
        if return_overflowing_tokens:
            return Encodings({**columns, "overflow_to_sample_mapping": owners}, found)
        return Encodings({name: column[0] for name, column in columns.items()} if single else columns, found)

    @contextmanager
    def _cutting(
        self, truncation: bool | str = False, longest: int | None = None, stride: int = 0
    ) -> Iterator[Tokenizer]:
        """The tokenizer as it cuts texts inside a `with` block, for this thread alone."""
        with self._lock:
            if truncation and longest is not None:
                strategy = "longest_first" if truncation is True else str(truncation)
                self.backend_tokenizer.enable_truncation(longest, stride=stride, strategy=strategy)
            try:
                yield self.backend_tokenizer
            finally:
                self.backend_tokenizer.no_truncation()

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        """The tokens that are not cut from texts by rules, by their numbers."""
        return dict(self.backend_tokenizer.get_added_tokens_decoder())

    @property
    def unk_token(self) -> str | None:
        """What stands for what has no token."""
        return None if self.unk_token_id is None else self.backend_tokenizer.id_to_token(self.unk_token_id)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens it sets around a text, or a pair of texts."""
        return int(self.backend_tokenizer.num_special_tokens_to_add(pair))

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        """The tokens of these numbers."""
        return [self.backend_tokenizer.id_to_token(number) or "" for number in ids]

    def convert_tokens_to_ids(self, token: str) -> int | None:
        """The number of a token; that of the unknown one for what is none."""
        found = self.backend_tokenizer.token_to_id(token)
        return self.unk_token_id if found is None else found

    def decode(
        self, ids: Sequence[int], *, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool = False
    ) -> str:
        """The text of tokens, as it is: nothing is cleaned up."""
        return str(self.backend_tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, Any]],
        *,
        chat_template: str | None = None,
        tools: Sequence[Any] | None = None,
        documents: Sequence[Any] | None = None,
        tokenize: bool = False,
        add_generation_prompt: bool = False,
        **settings: Any,
    ) -> str:
        """A conversation as text; the arguments are those of transformers' tokenizers."""
        template = chat_template or self.chat_template or ""
        given = {"messages": conversation, "tools": tools, "documents": documents}
        return render_chat(
            template, {**self.special_tokens_map, **given, "add_generation_prompt": add_generation_prompt, **settings}
        )

    def get_vocab(self) -> dict[str, int]:
        """The number of each token."""
        return dict(self.backend_tokenizer.get_vocab())

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, without special ones."""
        with self._cutting() as tokenizer:
            return list(tokenizer.encode(text, add_special_tokens=False).tokens)
