"""What LangChain's embeddings for OpenAI ask of a daemon."""

from __future__ import annotations

from typing import Any

import openai
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr


def play(url: str) -> Any:
    given: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": SecretStr("anything"), "max_retries": 0}
    embeddings = OpenAIEmbeddings(model="default", check_embedding_ctx_length=False, **given)
    texts = ["The ferry leaves from pier six.", "Ada likes tea"]
    return {
        "documents": embeddings.embed_documents(texts),
        "query": embeddings.embed_query(texts[0]),
        "nothing": embeddings.embed_documents([]),
        "unknown model": _refused(OpenAIEmbeddings(check_embedding_ctx_length=False, **given)),
    }


def _refused(embeddings: OpenAIEmbeddings) -> dict[str, Any]:
    try:
        embeddings.embed_query("x")
    except openai.NotFoundError as error:
        body: Any = error.body
        return dict(body)
    raise AssertionError("this was to be refused")
