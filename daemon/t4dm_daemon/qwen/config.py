"""What a model with memory is made of: sizes, presets, revisions. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from t4dm_daemon.spiking.config import StackConfig


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """Small trained matrices beside some of the frozen ones: W + (alpha / r) B A (Hu et al., 2021)."""

    r: int = 16
    alpha: int = 32
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.r < 1 or self.alpha < 1 or not self.targets:
            raise ValueError("LoRA needs r >= 1, alpha >= 1 and at least one target")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout={self.dropout} is not in [0, 1)")


@dataclass(frozen=True, slots=True)
class QwenShape:
    """Sizes of a Qwen2 model, in the words of its own configuration file."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int = 32768
    rope_theta: float = 1e6
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = True


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Describe a model with memory.

    Args:
        name: What it is called.
        source: Hub id or folder of the frozen weights; empty when they are trained here.
        revision: Commit of the hub id, so that the same weights are loaded tomorrow.
        shape: Sizes of the frozen model.
        split_layer: The adapter works on the input of this layer.
        stack: Sizes of the spiking stack; its `d_model` is the width of a memory token.
        gate: γ at the start, how strongly the adapter's output is added.
        d_key: Width of the retrieval heads.
        lora: Or None, for an adapter alone.
        memory_tokens: Tokens of each retrieved text that are read.
        temperature: Scores are divided by it before they become the prior of the attention.
    """

    name: str
    shape: QwenShape
    split_layer: int
    source: str = ""
    revision: str = ""
    stack: StackConfig = field(default_factory=StackConfig)
    gate: float = 0.5
    d_key: int = 256
    lora: LoraSpec | None = field(default_factory=LoraSpec)
    memory_tokens: int = 48
    temperature: float = 0.07

    def __post_init__(self) -> None:
        if not 0 < self.split_layer < self.shape.num_hidden_layers:
            raise ValueError(
                f"split_layer={self.split_layer} leaves no layer before or behind the adapter: "
                f"the model has {self.shape.num_hidden_layers}"
            )
        if self.memory_tokens < 1 or self.d_key < 1 or self.temperature <= 0.0:
            raise ValueError("memory_tokens and d_key must be at least 1, temperature above 0")


_SHAPE_3B: Final = QwenShape(
    vocab_size=151936,
    hidden_size=2048,
    intermediate_size=11008,
    num_hidden_layers=36,
    num_attention_heads=16,
    num_key_value_heads=2,
)

QWEN25_3B: Final = ModelSpec(
    name="qwen2.5-3b",
    source="Qwen/Qwen2.5-3B",
    revision="3aab1f1954e9cc14eb9509a215f9e5ca08227a9b",
    shape=_SHAPE_3B,
    split_layer=18,
    gate=0.1,  # a start that disturbs a good model little; not tuned
)

QWEN25_3B_INSTRUCT: Final = ModelSpec(
    name="qwen2.5-3b-instruct",
    source="Qwen/Qwen2.5-3B-Instruct",
    revision="aa8e72537993ba99e69dfaafa59ed015b17504d1",
    shape=_SHAPE_3B,
    split_layer=18,
    gate=0.1,
)

NANO: Final = ModelSpec(
    name="t4dm-nano",
    shape=QwenShape(
        vocab_size=4096,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=2048,
    ),
    split_layer=3,
    # One block: a second one brought a miniature nothing that could be measured.
    stack=StackConfig(d_model=256, n_blocks=1, n_heads=4),
    lora=LoraSpec(r=8, alpha=16),
)

PRESETS: Final = {spec.name: spec for spec in (QWEN25_3B, QWEN25_3B_INSTRUCT, NANO)}
