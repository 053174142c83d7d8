"""What clients send to these routes, and what they get back.

Requests for embeddings are checked to the last field, and an unknown one is refused as OpenAI refuses it: what is
left out without a word could be what the caller relied on. Requests for text are checked for their shape only, until
there is a model that gives their other fields a meaning.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, Strict, WithJsonSchema

MAX_INPUTS = 2048
MAX_INPUT_CHARS = 999_999
MAX_TOTAL_CHARS = 4_000_000
"""Of one request: some minutes of the packaged model on two cores."""

_INPUT_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": MAX_INPUT_CHARS},
        {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": MAX_INPUT_CHARS},
            "minItems": 1,
            "maxItems": MAX_INPUTS,
        },
    ]
}
_Name = Annotated[str, Field(min_length=1, max_length=512)]
_Count = Annotated[int, Strict(), Field(ge=1)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


# Embeddings -------------------------------------------------------------------------------------------


class EmbeddingsRequest(_Closed):
    """Texts to embed."""

    input: Annotated[SkipValidation[Any], WithJsonSchema(_INPUT_SCHEMA)] = Field(
        description=f"A text, or up to {MAX_INPUTS} of them; not token ids."
    )
    model: _Name = Field(description="As GET /v1/models lists it, or `default`.")
    encoding_format: Literal["float", "base64"] = Field(
        default="float", description="base64: of little-endian float32, which OpenAI's SDKs ask for by themselves."
    )
    dimensions: _Count | None = Field(default=None, description="Only the model's own dimension.")
    user: str | None = Field(default=None, description="Accepted, and not used.")


class EmbeddingItem(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    prompt_tokens: int = Field(description="By the model's own tokenizer, without special tokens.")
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    object: Literal["list"]
    data: list[EmbeddingItem]
    model: str
    usage: Usage | None = Field(description="null when the embedder has no tokenizer that could tell.")


# Models -----------------------------------------------------------------------------------------------


class ModelItem(BaseModel):
    id: str
    object: Literal["model"]
    created: int = Field(description="When this daemon loaded it, as a Unix time.")
    owned_by: str
    kind: Literal["embedding"]
    identity: str = Field(description="Name and version of the weights.")
    dimension: int
    aliases: list[str]


class ModelsAnswer(BaseModel):
    object: Literal["list"]
    data: list[ModelItem]


# Text -------------------------------------------------------------------------------------------------


class ChatMessage(_Open):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None


class ChatRequest(_Open):
    """A conversation to continue."""

    model: _Name
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    n: _Count | None = None
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    tools: list[dict[str, Any]] | None = None


class CompletionRequest(_Open):
    """A text to continue."""

    model: _Name
    prompt: str | list[str] | list[int] | list[list[int]] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Strict(), Field(ge=0)] | None = None


class ResponsesRequest(_Open):
    """Something to respond to."""

    model: _Name | None = None
    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: _Count | None = None
    tools: list[dict[str, Any]] | None = None


# Errors -----------------------------------------------------------------------------------------------


class OpenAIErrorBody(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    error: OpenAIErrorBody
