"""The routes of OpenAI's API that a daemon with an embedding model can answer, and those that it will.

Errors are raised as T4DM's; the daemon answers them in OpenAI's shape (`t4dm_compat.error_shapes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from t4dm.sdk.errors import NotFoundError
from t4dm_compat.error_shapes import error_body
from t4dm_compat.openai import bodies as b
from t4dm_compat.openai.embeddings import embeddings_answer, is_bulk, texts_of
from t4dm_compat.openai.models import EmbeddingModel, Models

DEFAULT: Final = "default"
"""The alias of whatever the daemon embeds with."""
_MEANING: Final = {
    400: "A field is wrong; `param` says which.",
    403: "The guard refused the Host or the Origin.",
    404: "There is no such model or route.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    500: "A defect, or an embedder that failed; the log has the request id.",
    503: "Busy, starting or stopping, or no language model is loaded (`model_not_loaded`).",
    504: "The time is up.",
}
_NOT_LOADED: Final = (
    "this daemon remembers and embeds, and cannot write text yet; send this request to a server that has a language "
    "model. GET /readyz lists the state of every model"
)


def openai_router(reach: Callable[..., Any], *, route_class: type[APIRoute] = APIRoute) -> APIRouter:
    """Return the routes under /v1.

    Args:
        reach: A dependency that returns the daemon's `Models`.
        route_class: How bodies are read.
    """
    router = APIRouter(prefix="/v1", tags=["openai"], route_class=route_class)
    reached: Any = Depends(reach)

    @router.get("/models", response_model=b.ModelsAnswer, responses=_documented(), summary="List the models")
    async def list_models(models: Models = reached) -> Response:
        """Return what the daemon embeds with, as OpenAI lists models."""
        item = await models.with_embedder(_model_item)
        return JSONResponse({"object": "list", "data": [item]})

    @router.get(
        "/models/{model:path}", response_model=b.ModelItem, responses=_documented(404), summary="Describe a model"
    )
    async def retrieve_model(
        model: Annotated[str, Path(description="Its id, or an alias.")], models: Models = reached
    ) -> Response:
        """Return one model, by its id or an alias."""
        item: dict[str, Any] = await models.with_embedder(lambda embedder: _model_item(_chosen(embedder, model)))
        return JSONResponse(item)

    @router.post(
        "/embeddings", response_model=b.EmbeddingsAnswer, responses=_documented(404, 413, 415), summary="Embed texts"
    )
    async def embeddings(body: b.EmbeddingsRequest, models: Models = reached) -> Response:
        """Return a unit vector for each text, the same that a memory of this text has.

        Nothing is stored. Texts longer than the model's window are split and pooled, never cut.
        """
        texts = texts_of(body.input)
        bulk = is_bulk(texts)

        def work(embedder: EmbeddingModel) -> Response:
            return embeddings_answer(_chosen(embedder, body.model), body, texts, bulk=bulk)

        return await models.with_embedder(work, bulk=bulk)

    @router.post("/chat/completions", responses=_documented(413, 415), summary="Continue a conversation")
    async def chat_completions(request: Request, body: b.ChatRequest, models: Models = reached) -> Response:
        """Answer 503 `model_not_loaded` until there is a language model."""
        return _not_loaded(request, models, body.model)

    @router.post("/completions", responses=_documented(413, 415), summary="Continue a text")
    async def completions(request: Request, body: b.CompletionRequest, models: Models = reached) -> Response:
        """Answer 503 `model_not_loaded` until there is a language model."""
        return _not_loaded(request, models, body.model)

    @router.post("/responses", responses=_documented(413, 415), summary="Respond")
    async def responses(request: Request, body: b.ResponsesRequest, models: Models = reached) -> Response:
        """Answer 503 `model_not_loaded` until there is a language model."""
        return _not_loaded(request, models, body.model)

    return router


def _documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"model": b.OpenAIError, "description": _MEANING[status]}
        for status in sorted({*statuses, 400, 403, 408, 500, 503, 504})
    }


def _chosen(embedder: EmbeddingModel, name: str) -> EmbeddingModel:
    """Return the model of this name. Raises NotFoundError with the names that there are."""
    if name in (embedder.id, DEFAULT, *embedder.aliases):
        return embedder
    raise NotFoundError(
        f"there is no model {_short(name)!r} here; this daemon embeds with {embedder.id!r} (or say {DEFAULT!r}), and "
        "T4DM_EMBEDDING_MODEL chooses another",
        code="model_not_found",
        status=404,
        details={"field": "model"},
    )


def _model_item(embedder: EmbeddingModel) -> dict[str, Any]:
    return {
        "id": embedder.id,
        "object": "model",
        "created": embedder.loaded_at,
        "owned_by": "t4dm",
        "kind": "embedding",
        "identity": embedder.identity,
        "dimension": embedder.dimension,
        "aliases": [DEFAULT, *embedder.aliases],
    }


def _not_loaded(request: Request, models: Models, asked: str | None) -> Response:
    """Return the refusal; OpenAI's SDKs would try a 503 again and again, and are told not to."""
    details: Mapping[str, Any] = {"field": "model", "state": models.language_state}
    whose = "" if asked is None else f" that could answer as {_short(asked)!r}"
    message = f"no language model is loaded{whose}: {_NOT_LOADED}"
    body = error_body(request.url.path, 503, "model_not_loaded", message, details)
    return JSONResponse(body, 503, headers={"x-should-retry": "false"})


def _short(name: str) -> str:
    return name if len(name) <= 100 else f"{name[:100]}…"
