"""The trained weights as one file, beside the frozen ones: `adapter.safetensors`.

Tensors `adapter.*`, `heads.*` and `lora.*` by name, bit for bit. The header says the format and the model's description
(`ModelSpec` as JSON); a file for other sizes is refused before anything is changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from t4dm_daemon.core.errors import ModelError, WeightsMissingError
from t4dm_daemon.qwen.config import ModelSpec
from t4dm_daemon.qwen.unified import UnifiedModel

FORMAT: Final = "t4dm-adapter/1"
FILE: Final = "adapter.safetensors"


def save_adapter(model: UnifiedModel, folder: Path, *, facts: dict[str, str] | None = None) -> Path:
    """Write what is trained to a folder and return the file; a file of that name is replaced as a whole.

    Args:
        model: Whose weights.
        folder: Made if it is not there.
        facts: More to put into the header: seed, data, steps.
    """
    return save_trained(model.trained_parameters(), model.spec, folder, facts=facts)


def save_trained(
    weights: Mapping[str, Tensor], spec: ModelSpec, folder: Path, *, facts: dict[str, str] | None = None
) -> Path:
    """Write weights by name, as `save_adapter` does with all of a model."""
    folder.mkdir(parents=True, exist_ok=True)
    path, unfinished = folder / FILE, folder / f".{FILE}.{os.getpid()}"
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in weights.items()}
    header = {**(facts or {}), "format": FORMAT, "spec": json.dumps(asdict(spec))}
    try:
        save_file(tensors, unfinished, metadata=header)
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def load_adapter(model: UnifiedModel, folder: Path) -> dict[str, str]:
    """Read what was trained into a model and return the header. All of it or, with an error, nothing.

    Raises:
        WeightsMissingError: There is no such file.
        ModelError: It is damaged, or for a model of other parts or sizes.
    """
    path = folder / FILE
    if not path.is_file():
        raise WeightsMissingError(f"there is no {path}: give a folder that save_adapter() wrote", path=str(path))
    try:
        with safe_open(path, framework="pt") as opened:
            header: dict[str, str] = opened.metadata() or {}
            if header.get("format") != FORMAT:
                raise ModelError(f"{path} has the format {header.get('format')!r}, this version reads {FORMAT!r}")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged: {error}", path=str(path)) from error
    wanted: dict[str, Any] = dict(model.trained_parameters())
    if missing := sorted(set(wanted) - set(tensors)):
        raise ModelError(f"{path} lacks {len(missing)} tensors of this model, such as {missing[0]}", path=str(path))
    if unknown := sorted(set(tensors) - set(wanted)):
        raise ModelError(
            f"{path} has {len(unknown)} tensors that this model lacks, such as {unknown[0]}", path=str(path)
        )
    for name, tensor in tensors.items():
        expected = wanted[name]
        if tensor.shape != expected.shape:
            raise ModelError(
                f"{path}: {name} has the shape {tuple(tensor.shape)}, this model's is {tuple(expected.shape)}",
                path=str(path),
            )
    with torch.no_grad():
        for name, tensor in tensors.items():
            wanted[name].copy_(tensor)
    return header
