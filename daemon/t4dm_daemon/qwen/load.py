"""From a folder or a hub id to a frozen Qwen2 and its tokenizer.

The network is used only when asked for, and then for one commit: a branch of a hub can change under its users. Weights
are read from safetensors alone, and no code that comes with weights is run.

On a GPU the linear layers are quantised to NF4 with double quantisation (Dettmers et al., 2023), computed in bfloat16:
3 billion weights take about 2 GiB. On a CPU weights stay dense, since unpacking four bits is many times slower there.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from transformers import (
    BitsAndBytesConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from t4dm_daemon.core.errors import InvalidInputError, MissingExtraError, ModelError, WeightsMissingError
from t4dm_daemon.embedding.silent_import import import_silently
from t4dm_daemon.qwen.config import ModelSpec, QwenShape
from t4dm_daemon.qwen.libraries import no_progress_bars

logger = logging.getLogger(__name__)

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")
_FILES: Final = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model")
_DENSE_FLOAT32_BYTES: Final = 2 << 30
"""Weights above this stay in two bytes each on a CPU."""


@dataclass(frozen=True, slots=True)
class LoadedBase:
    """A frozen model, its tokenizer, and where they came from."""

    model: Qwen2ForCausalLM
    tokenizer: PreTrainedTokenizerBase
    folder: Path
    revision: str
    """The commit of a hub id; empty for a folder."""
    is_quantised: bool


def qwen_config(shape: QwenShape) -> Qwen2Config:
    """Return the configuration of a Qwen2 of these sizes."""
    sizes = asdict(shape)
    theta = sizes.pop("rope_theta")
    return Qwen2Config(**sizes, rope_parameters={"rope_type": "default", "rope_theta": theta})


def build_base(shape: QwenShape, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Qwen2ForCausalLM:
    """Return a Qwen2 with random weights, frozen; on the device `meta` with none."""
    with torch.device(device):
        model: Qwen2ForCausalLM = Qwen2ForCausalLM._from_config(qwen_config(shape), dtype=dtype)
    model.requires_grad_(False)
    return model.eval()


def load_base(
    source: str | Path,
    *,
    revision: str = "",
    device: str = "",
    quantise: bool | None = None,
    dtype: torch.dtype | None = None,
    download: bool = False,
) -> LoadedBase:
    """Return the frozen model of a folder or hub id.

    Args:
        source: A folder with config.json, *.safetensors and tokenizer.json, or a hub id such as `Qwen/Qwen2.5-3B`.
        revision: Commit of the hub id, 40 hexadecimal digits.
        device: As torch names it; empty for a GPU if there is one, else the CPU.
        quantise: NF4 or not; None for NF4 on a GPU only.
        dtype: Of dense weights and of computing; None for bfloat16 on a GPU, and on a CPU for more than 2 GiB of
            weights, float32 else.
        download: Whether a hub id that is not on this machine may be fetched.

    Raises:
        WeightsMissingError: They are not there; the message says what to do.
        ModelError: They are there and cannot be used.
        InvalidInputError: A download was asked for without a commit.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    folder, commit = _find(str(source), revision, download)
    _check_config(folder)
    on_gpu = not device.startswith("cpu")
    quantised = on_gpu if quantise is None else quantise
    if dtype is None:
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        dtype = torch.bfloat16 if on_gpu or size > _DENSE_FLOAT32_BYTES else torch.float32
    options: dict[str, Any] = {"dtype": dtype, "local_files_only": True, "use_safetensors": True}
    if quantised:
        options |= {"quantization_config": nf4(dtype), "device_map": {"": device}}
    try:
        with no_progress_bars():
            model, report = Qwen2ForCausalLM.from_pretrained(folder, output_loading_info=True, **options)
    except ImportError as error:
        raise MissingExtraError(f"{error}; quantised weights need: pip install 't4dm[qlora]'") from error
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(f"the weights in {folder} could not be read: {error}", folder=str(folder)) from error
    if missing := sorted(report["missing_keys"]):  # the library would have made them up
        raise ModelError(
            f"the weights in {folder} lack {len(missing)} tensors, such as {missing[0]}", folder=str(folder)
        )
    if not quantised:
        model = model.to(device)
    elif not on_gpu:
        _keep_packing(model)
    model.requires_grad_(False)
    model.eval()
    tokenizer = _load_tokenizer(folder, model.config.vocab_size)
    logger.info("model loaded", extra={"folder": str(folder), "device": device, "quantised": quantised})
    return LoadedBase(model, tokenizer, folder, commit, quantised)


def nf4(compute_dtype: torch.dtype) -> BitsAndBytesConfig:
    """Return the four-bit quantisation of QLoRA: normal-float values, their scales quantised, too."""
    try:
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute_dtype,
        )
    except ImportError as error:
        raise MissingExtraError(f"{error}; it comes with: pip install 't4dm[qlora]'") from error


def _keep_packing(model: Qwen2ForCausalLM) -> None:
    """Keep bitsandbytes from packing four-bit weights anew in the first forward pass.

    On CPUs with bfloat16 in AVX-512 it would, in place and under the eyes of other threads: it rounds their scales to
    bfloat16, so that a model would answer differently before and after, and it cannot take narrow layers.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _load_tokenizer(folder: Path, vocab_size: int) -> PreTrainedTokenizerBase:
    """Return the tokenizer as tokenizer.json describes it.

    Not by the model's type: transformers then builds a Qwen2 tokenizer around the vocabulary, which silently drops
    every word of a vocabulary of another kind.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise ModelError(f"the tokenizer in {folder} could not be read: {error}", folder=str(folder)) from error
    if not 0 < len(tokenizer) <= vocab_size:
        raise ModelError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, the model {vocab_size}: they do not fit",
            folder=str(folder),
        )
    return tokenizer


def check_matches(model: Qwen2ForCausalLM, spec: ModelSpec) -> None:
    """Raise ModelError if the model does not have the sizes that the spec is for."""
    config, shape = model.config, spec.shape
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"):
        found, expected = getattr(config, name), getattr(shape, name)
        if found != expected:
            raise ModelError(f"the model has {name}={found}, {spec.name} is for {expected}", name=name)


def _find(source: str, revision: str, download: bool) -> tuple[Path, str]:
    """Return the folder of the weights and the commit they are of."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        _check_folder(folder, f"give a folder that has {_WANTED}")
        return folder, ""
    if not _HUB_ID.fullmatch(source) or source.startswith("."):
        raise WeightsMissingError(
            f"there is no folder {source}: give the path of a folder that has {_WANTED}, or a hub id such as "
            "Qwen/Qwen2.5-3B",
            source=source,
        )
    if download and not _COMMIT.fullmatch(revision):
        raise InvalidInputError(
            f"downloading {source} needs the commit to download (40 hexadecimal digits), not {revision!r}: "
            "a branch can change",
            source=source,
        )
    hub: Any = import_silently("huggingface_hub")
    pinned = revision or None
    where = f"{source} at {revision or 'its default branch'}"
    next_step = (
        f"load it once with download=True and the network, or put its files in a folder and give the path "
        f"(that folder needs {_WANTED})"
    )
    try:
        with no_progress_bars():
            folder = Path(
                hub.snapshot_download(
                    source, revision=pinned, allow_patterns=list(_FILES), local_files_only=not download
                )
            )
    except (OSError, ValueError) as error:  # the hub's own errors are one or the other
        if download:
            raise ModelError(f"{where} could not be downloaded: {error}", source=source) from error
        raise WeightsMissingError(
            f"the weights of {where} are not on this machine: {next_step}", source=source
        ) from error
    _check_folder(folder, next_step)
    return folder, folder.name if _COMMIT.fullmatch(folder.name) else revision


_WANTED: Final = "config.json, *.safetensors and tokenizer.json"


def _check_folder(folder: Path, next_step: str) -> None:
    """Raise WeightsMissingError unless configuration, tokenizer and every piece of the weights are there."""
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            pieces = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise ModelError(f"{index} is not an index of weights: {error}", folder=str(folder)) from error
        missing += sorted(piece for piece in pieces if not (folder / piece).is_file())
    elif not any(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        raise WeightsMissingError(
            f"{folder} lacks {', '.join(missing)}: {next_step}", folder=str(folder), missing=missing
        )


def _check_config(folder: Path) -> None:
    """Raise ModelError unless the folder says that it holds a Qwen2."""
    path = folder / "config.json"
    try:
        kind = json.loads(path.read_text("utf-8")).get("model_type")
    except (ValueError, AttributeError, OSError) as error:
        raise ModelError(f"{path} is not a model's configuration: {error}", folder=str(folder)) from error
    if kind != "qwen2":
        raise ModelError(f"{path} is of a model of type {kind!r}; the adapter is built for 'qwen2'", folder=str(folder))
