"""OpenAI's HTTP API, as its genuine clients speak it, over the models of the daemon."""

from t4dm_compat.openai.models import EmbeddingModel, Models
from t4dm_compat.openai.router import openai_router

__all__ = ["EmbeddingModel", "Models", "openai_router"]
