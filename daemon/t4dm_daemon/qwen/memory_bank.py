"""What was retrieved, as the adapter reads it: token states of texts, encoded by the lower half of the model itself.

Texts are encoded anew whenever they are retrieved, not stored as vectors: the lower half is frozen and LoRA is off
while it encodes, so an encoding never goes stale, and it keeps every token. (Pooled into a few vectors for a text, a
miniature lost most names and numbers.) Encodings are kept in a cache of bounded size, by the text's digest.

A bank puts the texts one after the other with an empty place before each, so that the key of a text's first token does
not mix with the text before: what is read does not depend on the order of the memories.
"""

from __future__ import annotations

import copy
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM, Qwen2Model

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.qwen.lora import base_only


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A memory that a search found: its id, its text, and the score by which it was found."""

    id: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class MemoryBank:
    """The memories of a batch of texts.

    Args:
        states: Token states, (B, M, hidden); 0 at empty places.
        prior: For each token the score of its memory, divided by the temperature, (B, M).
        mask: (B, M), True for tokens.
        ids: For each text the ids of its memories, in the order of the tokens.
    """

    states: Tensor
    prior: Tensor
    mask: Tensor
    ids: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def assemble(
        cls,
        states: Sequence[Sequence[Tensor]],
        priors: Sequence[Tensor],
        *,
        hidden_size: int,
        ids: Sequence[Sequence[str]] = (),
    ) -> MemoryBank | None:
        """Return the bank of a batch, or None if no text has a memory.

        Args:
            states: For each text, for each of its memories, token states (L, hidden).
            priors: For each text one number for each of its memories, (k,); may need gradients.
            hidden_size: Width of the states.
            ids: For each text the ids of its memories.
        """
        for of_text, prior in zip(states, priors, strict=True):
            if prior.shape != (len(of_text),):
                raise ValueError(f"{len(of_text)} memories have priors of the shape {tuple(prior.shape)}")
            if not bool(torch.isfinite(prior).all()):
                raise InvalidInputError("a score is not a finite number")
        lengths = [sum(1 + len(one) for one in of_text) for of_text in states]
        longest = max(lengths, default=0)
        if longest == 0:
            return None
        like = next(one for of_text in states for one in of_text)
        rows, strengths, real = [], [], []
        for of_text, prior in zip(states, priors, strict=True):
            row, strength = like.new_zeros(longest, hidden_size), prior.new_zeros(longest)
            mask = torch.zeros(longest, dtype=torch.bool, device=like.device)
            if of_text:
                gap = like.new_zeros(1, hidden_size)
                tokens = torch.cat([part for one in of_text for part in (gap, one)])
                repeats = torch.tensor([1 + len(one) for one in of_text], device=prior.device)
                row = torch.cat([tokens, row[len(tokens) :]])
                strength = torch.cat([prior.repeat_interleave(repeats), strength[len(tokens) :]])
                place = 0
                for one in of_text:
                    mask[place + 1 : place + 1 + len(one)] = True
                    place += 1 + len(one)
            rows.append(row)
            strengths.append(strength)
            real.append(mask)
        return cls(
            torch.stack(rows),
            torch.stack(strengths).to(like.device),
            torch.stack(real),
            tuple(tuple(of_text) for of_text in ids),
        )

    def select(self, indices: Tensor) -> MemoryBank:
        """Return the banks of some texts of the batch, in the given order."""
        ids = tuple(self.ids[index] for index in indices.tolist()) if self.ids else ()
        indices = indices.to(self.states.device)
        return MemoryBank(self.states[indices], self.prior[indices], self.mask[indices], ids)

    def repeat(self, times: int) -> MemoryBank:
        """Return every bank `times` times, copies side by side."""
        return self.select(torch.arange(len(self.states)).repeat_interleave(times))


class MemoryEncoder:
    """Encode texts with the layers below the adapter, LoRA off. Safe for several threads.

    Args:
        base: The language model, with or without adapter and LoRA in it.
        tokenizer: Its tokenizer.
        split_layer: How many layers encode.
        max_tokens: A longer text is cut here.
        cache_bytes: Bound of the kept encodings; the least recently used go first.
    """

    def __init__(
        self,
        base: Qwen2ForCausalLM,
        tokenizer: PreTrainedTokenizerBase,
        *,
        split_layer: int,
        max_tokens: int,
        cache_bytes: int = 64 << 20,
    ) -> None:
        self._base = base
        self._tokenizer = tokenizer
        self._split_layer = split_layer
        self._max_tokens = max_tokens
        self._cache_bytes = cache_bytes
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()  # guarded by _lock
        self._size_bytes = 0  # guarded by _lock
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the token states of each text, (L, hidden); a text without tokens has none, (0, hidden)."""
        digests = [hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in texts]
        found: dict[bytes, Tensor] = {}
        with self._lock:
            for digest in digests:
                if digest in self._kept:
                    self._kept.move_to_end(digest)
                    found[digest] = self._kept[digest]
        missing = {d: text for d, text in zip(digests, texts, strict=True) if d not in found}
        if missing:
            fresh = self._run([self._tokens(text) for text in missing.values()])
            for digest, states in zip(missing, fresh, strict=True):
                found[digest] = states
                self._keep(digest, states)
        return [found[digest] for digest in digests]

    def hidden(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """Return what the layers below the adapter make of tokens, (B, T, hidden), LoRA off, without gradients.

        Args:
            input_ids: (B, T).
            mask: (B, T), True for real tokens.
        """
        with torch.no_grad(), base_only():
            out = lower_half(self._base, self._split_layer)(
                input_ids=input_ids, attention_mask=mask.long(), position_ids=_positions(mask), use_cache=False
            )
        states: Tensor = out.last_hidden_state
        return states

    def _tokens(self, text: str) -> list[int]:
        text = text.encode("utf-8", "replace").decode()  # lone surrogates have no UTF-8
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids[: self._max_tokens]

    def _run(self, rows: list[list[int]]) -> list[Tensor]:
        device = self._base.get_input_embeddings().weight.device
        longest = max(len(row) for row in rows)
        if longest == 0:
            return [torch.zeros(0, self._base.config.hidden_size, device=device) for _ in rows]
        ids = torch.zeros(len(rows), longest, dtype=torch.long, device=device)
        mask = torch.zeros(len(rows), longest, dtype=torch.bool, device=device)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row, dtype=torch.long)
            mask[index, : len(row)] = True
        mask[:, 0] = True  # a row without any token would make attention divide by nothing
        states = self.hidden(ids, mask)
        return [states[index, : len(row)].clone() for index, row in enumerate(rows)]

    def _keep(self, digest: bytes, states: Tensor) -> None:
        size = states.numel() * states.element_size()
        if size > self._cache_bytes:
            return
        with self._lock:
            if digest not in self._kept:
                self._kept[digest] = states
                self._size_bytes += size
            while self._size_bytes > self._cache_bytes:
                _, oldest = self._kept.popitem(last=False)
                self._size_bytes -= oldest.numel() * oldest.element_size()

    @property
    def kept_bytes(self) -> int:
        """Size of the encodings that are kept."""
        with self._lock:
            return self._size_bytes


def lower_half(base: Qwen2ForCausalLM, split_layer: int) -> Qwen2Model:
    """Return the first layers of a model as a model, on the same weights, without its last norm."""
    whole = base.model
    half = copy.copy(whole)
    half._modules = dict(whole._modules)
    half.layers = nn.ModuleList(list(whole.layers)[:split_layer])
    half.norm = nn.Identity()
    config: Any = copy.copy(whole.config)
    config.num_hidden_layers = split_layer
    half.config = config
    return half


def _positions(mask: Tensor) -> Tensor:
    """Return positions that count real tokens, so that padding on the left does not move a text."""
    return (mask.long().cumsum(1) - 1).clamp(min=0)
