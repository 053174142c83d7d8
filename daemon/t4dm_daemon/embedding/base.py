"""What an embedder is: texts in, unit vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import InvalidInputError


class RefusedTextsError(InvalidInputError):
    """The embedder works, but not on these texts: trying them again cannot help, leaving one out may."""


class Embedder(Protocol):
    """Turn texts into unit vectors of one fixed dimension.

    `load` does the slow work (weights, sessions) and is called once, off the event loop; until it has
    returned, `embed` and `dimension` raise EmbeddingError. Loaded, `embed` may be called from any thread.
    """

    @property
    def name(self) -> str:
        """The setting that selects it, for example `minilm`."""
        ...

    @property
    def identity(self) -> str:
        """Name and version of the weights. Vectors of equal identity are comparable; it is recorded in the space."""
        ...

    @property
    def dimension(self) -> int: ...

    def load(self) -> None:
        """Make it ready. Raises EmbeddingError with the next step when weights or a server are missing."""
        ...

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one unit vector per text, (len(texts), dimension). Long texts are split and pooled, never cut.

        Raises RefusedTextsError when it is a text that cannot be embedded, EmbeddingError for everything else.
        """
        ...

    def close(self) -> None: ...
