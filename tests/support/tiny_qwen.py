"""A Qwen2 of a few thousand random weights, with a tokenizer of whole words; for tests of what is built around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from t4dm_daemon.qwen import LoraSpec, ModelSpec, UnifiedModel, build_base
from t4dm_daemon.qwen.config import QwenShape
from t4dm_daemon.spiking import StackConfig

WORDS = ["<pad>", "<eos>", "<unk>", *(f"w{index}" for index in range(61))]
SPEC = ModelSpec(
    name="tiny",
    shape=QwenShape(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
    ),
    split_layer=2,
    stack=StackConfig(d_model=16, n_blocks=2, n_heads=2, chunk=4),
    d_key=8,
    lora=LoraSpec(r=2, alpha=4),
    memory_tokens=6,
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def tiny_model(
    *, seed: int = 0, moved: bool = True, dtype: torch.dtype = torch.float64, **changes: Any
) -> UnifiedModel:
    """A whole model; `moved` takes its trained weights away from their start, where some are 0 or the identity."""
    torch.manual_seed(seed)
    base = build_base(SPEC.shape, dtype=dtype)
    with torch.no_grad():
        for parameter in base.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.2)  # the library's .02 leaves logits too small to tell anything by
    model = UnifiedModel(base, replace(SPEC, **changes), tiny_tokenizer())
    model.adapter.to(dtype)
    model.heads.to(dtype)
    if moved:
        with torch.no_grad():
            for parameter in model.trained_parameters().values():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def save_tiny(folder: Path, *, seed: int = 0, tokenizer: bool = True) -> Path:
    """Write a bare tiny model as the library does."""
    torch.manual_seed(seed)
    base = build_base(SPEC.shape)
    with torch.no_grad():
        for parameter in base.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.2)
    base.save_pretrained(folder)
    if tokenizer:
        tiny_tokenizer().save_pretrained(folder)
    return folder
