"""A frozen Qwen2 language model with a trained memory between two of its layers.

    tokens → layers 0 … k-1 → memory adapter → layers k … → logits
                                   ↑
             retrieved texts, encoded by the same layers 0 … k-1

Nothing here is loaded by the daemon yet: it serves no model.

Importing this package or `qwen.config` imports no model library; the first use of another name does. What is what:
`config` (sizes, presets), `load` (weights), `lora`, `adapter` and `projections` (trained weights), `memory_bank` (what
was retrieved), `cache` and `insert` (how the adapter sits in the model), `unified` (all of it as one model), `probes`,
`checkpoint` and `export` (files). docs/mind.md explains the design.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from t4dm_daemon.core.lazy import lazy_names

if TYPE_CHECKING:
    from t4dm_daemon.qwen.adapter import MemoryAdapter
    from t4dm_daemon.qwen.cache import MemoryCache, MemoryContext
    from t4dm_daemon.qwen.checkpoint import load_adapter, save_adapter
    from t4dm_daemon.qwen.config import NANO, QWEN25_3B, QWEN25_3B_INSTRUCT, LoraSpec, ModelSpec
    from t4dm_daemon.qwen.export import Drift, export_merged, logit_drift
    from t4dm_daemon.qwen.load import LoadedBase, build_base, load_base
    from t4dm_daemon.qwen.memory_bank import MemoryBank, MemoryEncoder, Retrieved
    from t4dm_daemon.qwen.probes import Probes
    from t4dm_daemon.qwen.unified import UnifiedModel, UnifiedOutput

_HOMES: Final = {
    "MemoryAdapter": "adapter",
    "MemoryCache": "cache",
    "MemoryContext": "cache",
    "load_adapter": "checkpoint",
    "save_adapter": "checkpoint",
    "NANO": "config",
    "QWEN25_3B": "config",
    "QWEN25_3B_INSTRUCT": "config",
    "LoraSpec": "config",
    "ModelSpec": "config",
    "Drift": "export",
    "export_merged": "export",
    "logit_drift": "export",
    "LoadedBase": "load",
    "build_base": "load",
    "load_base": "load",
    "MemoryBank": "memory_bank",
    "MemoryEncoder": "memory_bank",
    "Retrieved": "memory_bank",
    "Probes": "probes",
    "UnifiedModel": "unified",
    "UnifiedOutput": "unified",
}

__all__ = [
    "NANO",
    "QWEN25_3B",
    "QWEN25_3B_INSTRUCT",
    "Drift",
    "LoadedBase",
    "LoraSpec",
    "MemoryAdapter",
    "MemoryBank",
    "MemoryCache",
    "MemoryContext",
    "MemoryEncoder",
    "ModelSpec",
    "Probes",
    "Retrieved",
    "UnifiedModel",
    "UnifiedOutput",
    "build_base",
    "export_merged",
    "load_adapter",
    "load_base",
    "logit_drift",
    "save_adapter",
]


__getattr__ = lazy_names(__name__, _HOMES, extra="model")
