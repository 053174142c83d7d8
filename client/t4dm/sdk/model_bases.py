"""What every wire model is: a request, or an answer."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Request(BaseModel):
    """Refuses fields it does not know, so that a typing mistake is an error and not a silent no-op."""

    model_config = ConfigDict(extra="forbid", ser_json_bytes="base64")


class Answer(BaseModel):
    """Accepts fields it does not know, so that an older client works with a newer daemon."""

    model_config = ConfigDict(extra="ignore")
