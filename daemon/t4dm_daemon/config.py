"""Settings of the daemon: flag, then `T4DM_*` environment variable, then default.

Groups are reached with two underscores: `T4DM_STORAGE__SYNC=always`. Only `cli`, `api` and `runtime` read
this module; classes below take plain values.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from t4dm_daemon.storage.t4dx.analysis import languages

CLIENT_VARIABLES = frozenset(("T4DM_URL", "T4DM_API_KEY"))
"""Variables of the client, which share the prefix."""

MCP_VARIABLES = frozenset(
    f"T4DM_{name}"
    for name in ("SPACE", "USER_ID", "AGENT_ID", "APP_ID", "RUN_ID", "SESSION_ID", "MCP_PROFILE", "MCP_DEADLINE_S")
)
"""Variables of `t4dm mcp`, which share it, too."""


class StorageSettings(BaseModel):
    """The T4DX engine."""

    model_config = ConfigDict(extra="forbid")

    sync: Literal["always", "off"] = Field(
        "always",
        description="always: a write is on disk before it is acknowledged. off: the system may lose the last seconds.",
    )
    flush_items: int = Field(10_000, ge=16, le=1_000_000, description="Rows in memory before they become a segment.")
    ann: Literal["faiss", "hnswlib", "flat"] = Field(
        "faiss", description="Graph index of large segments; hnswlib needs its extra, flat never builds one."
    )
    ann_min_rows: int = Field(50_000, ge=1, description="Segments smaller than this are scanned exactly.")
    verify: bool = Field(True, description="Check every file's checksum on open.")
    archive: Path | None = Field(
        None,
        description="Directory that keeps the log after it has been written to segments, for restoring any moment.",
    )
    wal_mac: Literal["off", "hmac-sha256"] = Field(
        "off",
        description="hmac-sha256: nobody without the key can forge, change, remove or reorder what the log holds.",
    )
    wal_key_file: Path | None = Field(
        None,
        description="File of 32 random bytes or more, the log's key; outside the store, readable by its owner alone.",
    )

    @field_validator("wal_key_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @model_validator(mode="after")
    def _has_key(self) -> Self:
        if self.wal_mac != "off" and self.wal_key_file is None:
            raise ValueError(
                f"T4DM_STORAGE__WAL_MAC={self.wal_mac} needs a key: name one with T4DM_STORAGE__WAL_KEY_FILE"
            )
        if self.wal_key_file is not None and "wal_mac" not in self.model_fields_set:
            raise ValueError(
                "T4DM_STORAGE__WAL_KEY_FILE does nothing without T4DM_STORAGE__WAL_MAC=hmac-sha256 (or =off)"
            )
        return self


class EmbeddingSettings(BaseModel):
    """The embedding queue."""

    model_config = ConfigDict(extra="forbid")

    base_url: str | None = Field(
        None, description="Base URL for `openai:<model>`, for example http://127.0.0.1:11434/v1."
    )
    api_key: SecretStr | None = Field(None, description="Key for the base URL.")
    threads: int = Field(
        default_factory=lambda: min(4, os.cpu_count() or 1), ge=1, le=256, description="CPU threads of the model."
    )
    max_batch: int = Field(32, ge=1, le=1024, description="Texts embedded in one model call.")
    max_waiting: int = Field(20_000, ge=1, description="Texts that may wait; more answers 503.")
    cache_bytes: int = Field(64 * 1024 * 1024, ge=0, description="Memory for cached embeddings.")


class SearchSettings(BaseModel):
    """How questions are answered."""

    model_config = ConfigDict(extra="forbid")

    language: str = Field(
        "english", description="Of the texts, for stemming and stop words: a Snowball language, or `none`."
    )
    candidates: int = Field(80, ge=10, le=1000, description="Memories that each signal proposes, at most.")
    abstain_below: float = Field(
        0.0, ge=0, le=1, description="A question whose best hit is less likely than this to answer it has no hits."
    )
    actor_fields: Annotated[list[str], NoDecode] = Field(
        default_factory=lambda: ["speaker", "actor", "author", "sender", "user_id", "agent_id"],
        description="Where a memory says whose words it holds: metadata keys and columns, separated by commas.",
    )

    @field_validator("language")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in languages():
            raise ValueError(f"there is no language {value!r}; known: {', '.join(languages())}")
        return value

    @field_validator("actor_fields", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class ServerSettings(BaseModel):
    """The HTTP server."""

    model_config = ConfigDict(extra="forbid")

    max_body_bytes: int = Field(32 * 1024 * 1024, ge=1024, description="Larger request bodies answer 413.")
    workers: int = Field(8, ge=1, le=128, description="Threads for engine calls.")
    max_waiting: int = Field(512, ge=1, description="Requests that may wait for a thread; more answer 503.")
    deadline_s: float = Field(60.0, gt=0, description="Longest time a request may take before it answers 503.")
    bulk_deadline_s: float = Field(3600.0, gt=0, description="The same for imports, exports and mass deletions.")
    shutdown_s: float = Field(4.0, gt=0, le=60, description="Longest time to let requests finish on shutdown.")


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="T4DM_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        validate_default=True,
    )

    home: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("t4dm", appauthor=False)),
        description="Where everything lives unless said otherwise.",
    )
    storage_path: Path | None = Field(None, description="The store. Default: `<home>/store`.")
    cache_path: Path | None = Field(None, description="Derived files, safe to delete. Default: `<home>/cache`.")
    host: str = Field("127.0.0.1", description="Address to listen on; only loopback until keys exist.")
    port: int = Field(8765, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="More names the Host header may carry, separated by commas."
    )
    embedding_model: str = Field(
        "minilm", min_length=1, description="minilm, openai:<model>, or a sentence-transformers id or path."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )
    log_format: Literal["text", "json"] = Field("text", description="Lines for people, or one JSON object per line.")
    storage: StorageSettings = Field(default_factory=StorageSettings)
    embedding: EmbeddingSettings = Field(default_factory=EmbeddingSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)
    server: ServerSettings = Field(default_factory=ServerSettings)

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("home", "storage_path", "cache_path")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @property
    def store(self) -> Path:
        return self.storage_path or self.home / "store"

    @property
    def cache(self) -> Path:
        return self.cache_path or self.home / "cache"


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for every `T4DM_*` variable that names no setting, with the nearest that does."""
    known = {f"T4DM_{name}".upper() for name, _, _ in describe()} | CLIENT_VARIABLES | MCP_VARIABLES
    groups = tuple(
        f"T4DM_{name.upper()}" for name, field in Settings.model_fields.items() if _is_group(field.annotation)
    )
    sentences = []
    for name in sorted(environ):
        if not name.upper().startswith("T4DM_") or name.upper() in known or name.upper() in groups:
            continue
        near = difflib.get_close_matches(name.upper(), sorted(known), n=1)
        sentences.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    return sentences


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def describe() -> list[tuple[str, str, str]]:
    """Return (name after the prefix, default, description) of every setting, in order."""
    rows: list[tuple[str, str, str]] = []

    def walk(model: type[BaseModel], prefix: str) -> None:
        for name, field in model.model_fields.items():
            annotation = field.annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                walk(annotation, f"{prefix}{name}__")
                continue
            default = (
                "by platform" if field.default_factory is not None and not prefix and name == "home" else field.default
            )
            if field.default_factory is not None and name != "home":
                default = "by machine" if name == "threads" else "none"
            rows.append((f"{prefix}{name}", "none" if default is None else str(default), field.description or ""))

    walk(Settings, "")
    return rows


def settings_page() -> str:
    """Return `docs/settings.md`."""
    lines = [
        "# Settings",
        "",
        "Generated by `make schemas`. A flag of `t4dm serve` wins over the environment variable, which wins over the",
        "default.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
        *(f"| `T4DM_{name.upper()}` | `{default}` | {text} |" for name, default, text in describe()),
        "",
        "The client reads `T4DM_URL` (default `http://127.0.0.1:8765`) and `T4DM_API_KEY`.",
        "",
    ]
    return "\n".join(lines)
