"""Language model, LoRA, adapter and retrieval heads as one model: what is trained, and what generates.

Threads: any number may generate or encode with one model at the same time, for all of a text's state is in its own
`MemoryContext`. Whoever trains it, loads weights into it or moves it to a device needs it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from t4dm_daemon.core.errors import InvalidInputError, ModelError
from t4dm_daemon.qwen.adapter import MemoryAdapter
from t4dm_daemon.qwen.cache import MemoryCache, MemoryContext
from t4dm_daemon.qwen.config import ModelSpec
from t4dm_daemon.qwen.insert import insert_adapter
from t4dm_daemon.qwen.load import check_matches
from t4dm_daemon.qwen.lora import attach_lora, lora_weights
from t4dm_daemon.qwen.memory_bank import MemoryBank, MemoryEncoder, Retrieved
from t4dm_daemon.qwen.projections import RetrievalHeads
from t4dm_daemon.spiking import BlockMetrics, Modulation

_IGNORED: Final = -100
_NEEDS_CROP: Final = ("assistant_model", "prompt_lookup_num_tokens", "use_mtp")
_OURS: Final = ("past_key_values", "memory_context", "use_cache")


@dataclass(frozen=True, slots=True)
class UnifiedOutput:
    """What one pass gave."""

    logits: Tensor
    """(B, T, vocabulary), or of the last tokens only."""
    loss: Tensor | None
    """Cross-entropy of the labels; None without any."""
    metrics: tuple[BlockMetrics, ...]
    """Of each block, differentiable."""


class UnifiedModel(nn.Module):
    """A frozen Qwen2 with everything that is trained around it."""

    def __init__(
        self, base: Qwen2ForCausalLM, spec: ModelSpec, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> None:
        """Take over `base`: freeze it, attach LoRA, insert the adapter.

        Args:
            base: As loaded.
            spec: Sizes; those of the frozen part must be those of `base`.
            tokenizer: Needed to encode texts, not to compute with token ids.
        """
        super().__init__()
        check_matches(base, spec)
        base.requires_grad_(False)
        if spec.lora is not None:
            attach_lora(base, spec.lora)
        self.spec = spec
        self.base = base
        device = base.get_input_embeddings().weight.device
        with torch.device(device):
            self.adapter = MemoryAdapter(spec)
            self.heads = RetrievalHeads(spec.shape.hidden_size, spec.d_key)
        insert_adapter(base, self.adapter, spec.split_layer)
        self.tokenizer = tokenizer
        self._encoder = (
            None
            if tokenizer is None
            else MemoryEncoder(base, tokenizer, split_layer=spec.split_layer, max_tokens=spec.memory_tokens)
        )
        self.train(base.training)

    @property
    def device(self) -> torch.device:
        return self.adapter.gate.device

    @property
    def encoder(self) -> MemoryEncoder:
        """What encodes texts; needs the tokenizer."""
        if self._encoder is None:
            raise ModelError("this model was made without a tokenizer, so it cannot read texts: give one")
        return self._encoder

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Return all that is trained, by name: adapter, retrieval heads, LoRA."""
        named = {f"adapter.{name}": p for name, p in self.adapter.named_parameters()}
        named |= {f"heads.{name}": p for name, p in self.heads.named_parameters()}
        return named | {f"lora.{name}": p for name, p in lora_weights(self.base).items()}

    def bank(self, memories: Sequence[Sequence[Retrieved]]) -> MemoryBank | None:
        """Return the bank of a batch of texts: for each of them its memories, scored by the search that found them.

        Returns:
            None if no text has a memory.
        """
        flat = [memory for of_text in memories for memory in of_text]
        encoded = iter(self.encoder.encode([memory.text for memory in flat]))
        states = [[next(encoded) for _ in of_text] for of_text in memories]
        priors = [
            torch.tensor([memory.score for memory in of_text], device=self.device) / self.spec.temperature
            for of_text in memories
        ]
        ids = [[memory.id for memory in of_text] for of_text in memories]
        return MemoryBank.assemble(states, priors, hidden_size=self.spec.shape.hidden_size, ids=ids)

    def similarity(self, questions: Sequence[str], memories: Sequence[str]) -> Tensor:
        """Return the cosine of every question with every memory by the retrieval heads, (Q, M); differentiable."""
        asked, found = self.encoder.encode(questions), self.encoder.encode(memories)
        return self.heads.queries(*_padded(asked)) @ self.heads.keys(*_padded(found)).T

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        bank: MemoryBank | None = None,
        labels: Tensor | None = None,
        modulation: Modulation | None = None,
        context: MemoryContext | None = None,
        logits_to_keep: int | Tensor = 0,
    ) -> UnifiedOutput:
        """Read texts in one pass, without a cache.

        Args:
            input_ids: (B, T).
            attention_mask: (B, T), 1 for real tokens; None if all are.
            bank: Memories of the texts.
            labels: (B, T), the tokens themselves where they count for the loss, -100 elsewhere.
            modulation: Levels of the neuromodulators.
            context: Instead of bank and modulation; keeps the adapter's state after the pass.
            logits_to_keep: As transformers has it: the last n, or places; labels need all.
        """
        if context is None:
            context = MemoryContext(bank, mask=attention_mask, modulation=modulation)
        elif bank is not None or modulation is not None:
            raise ValueError("give a context, or bank and modulation, not both")
        options: dict[str, Any] = {}
        if attention_mask is not None:
            options["position_ids"] = (attention_mask.long().cumsum(1) - 1).clamp(min=0)
        out = self.base(
            input_ids=input_ids,
            attention_mask=attention_mask,
            memory_context=context,
            use_cache=False,
            logits_to_keep=logits_to_keep,
            **options,
        )
        loss = None
        if labels is not None:
            if out.logits.shape[1] != labels.shape[1]:
                raise ValueError("the loss needs the logits of every token: leave logits_to_keep at 0")
            loss = functional.cross_entropy(
                out.logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=_IGNORED
            )
        return UnifiedOutput(out.logits, loss, context.metrics)

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        bank: MemoryBank | None = None,
        modulation: Modulation | None = None,
        context: MemoryContext | None = None,
        **options: Any,
    ) -> Tensor:
        """Return the texts with what follows, (B·n, T + new), by transformers' `generate`.

        Args:
            input_ids: (B, T), padded on the left.
            attention_mask: (B, T), 1 for real tokens; None if all are.
            bank: Memories of the texts.
            modulation: Levels of the neuromodulators.
            context: Instead of bank and modulation: a fresh one, which the caller may watch while the text grows.
            options: Of transformers: max_new_tokens, do_sample, temperature, num_beams, streamer, …

        Raises:
            InvalidInputError: The padding is not on the left, a text is empty, or an option would take back tokens.
        """
        if input_ids.dim() != 2 or 0 in input_ids.shape:
            raise InvalidInputError(f"cannot go on from token ids of the shape {tuple(input_ids.shape)}")
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask.long()
        if mask.shape != input_ids.shape or not bool(mask[:, -1].all()) or bool((mask.diff(dim=1) < 0).any()):
            raise InvalidInputError("to generate, pad texts on the left: every mask is zeros, then ones to the end")
        for name in _NEEDS_CROP:
            if self._chosen(name, options):
                raise InvalidInputError(f"{name} takes back tokens, which the memory adapter's state cannot")
        for name in _OURS:
            if name in options:
                raise InvalidInputError(f"{name} is set by generate() itself")
        if context is None:
            context = MemoryContext(bank, mask=mask, modulation=modulation)
        elif bank is not None or modulation is not None:
            raise ValueError("give a context, or bank and modulation, not both")
        else:
            context.begin(mask)
        copies = max(
            int(self._chosen("num_beams", options) or 1), int(self._chosen("num_return_sequences", options) or 1)
        )
        if copies > 1:
            context.select(torch.arange(len(input_ids)).repeat_interleave(copies))
        generator: Any = self.base
        options.setdefault("pad_token_id", self._pad_token_id())
        cache = MemoryCache(context, config=self.base.config)
        text: Tensor = generator.generate(input_ids, attention_mask=mask, past_key_values=cache, **options)
        return text

    def _chosen(self, name: str, options: dict[str, Any]) -> Any:
        """Return an option of generating: an argument, or of the configuration given, or of the model's."""
        if options.get(name) is not None:
            return options[name]
        return getattr(options.get("generation_config") or self.base.generation_config, name, None)

    def _pad_token_id(self) -> int:
        config: Any = self.base.generation_config
        for value in (config.pad_token_id, config.eos_token_id, self.base.config.pad_token_id):
            if isinstance(value, list) and value:
                value = value[0]
            if isinstance(value, int):
                return value
        return 0


def _padded(states: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return token states of several texts as one tensor, (N, L, hidden), and its mask."""
    if empty := [index for index, one in enumerate(states) if not len(one)]:
        raise InvalidInputError(f"the texts at {empty} have no tokens to compare")
    mask = nn.utils.rnn.pad_sequence([one.new_ones(len(one), dtype=torch.bool) for one in states], batch_first=True)
    return nn.utils.rnn.pad_sequence(list(states), batch_first=True), mask
