"""Look inside while the model works: every layer, block, spike and LoRA delta, in bounded memory.

| point | tensor |
|---|---|
| `layer.<i>` | hidden states after layer i, (B, T, hidden) |
| `adapter` | hidden states after the adapter, (B, T, hidden) |
| `block.<i>` | tokens after block i of the stack, (B, T, d) |
| `block.<i>.spikes_in`, `block.<i>.spikes_out` | spikes of stages 2 and 6, (B, T, d) |
| `block.<i>.v_in`, `block.<i>.v_out` | membrane potentials after the last token, (B, d) |
| `block.<i>.read` | what stage 3 read, (B, T, d) |
| `lora.<layer>` | what LoRA adds to that layer's output, (B, T, out) |

Only what the watching thread computes is recorded: other texts that the model works on at the same time stay private.
"""

from __future__ import annotations

import contextvars
import fnmatch
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, nn

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.qwen.insert import AdapterLayer
from t4dm_daemon.qwen.lora import ADAPTER, lora_layers
from t4dm_daemon.qwen.unified import UnifiedModel

_watching: Final[contextvars.ContextVar[Probes | None]] = contextvars.ContextVar("watching", default=None)
_Pick = Callable[[Any], Tensor]


@dataclass(frozen=True, slots=True)
class Record:
    """One tensor that was seen: where, in which pass through that point, and a copy of it on the CPU."""

    point: str
    call: int
    value: Tensor


class Probes:
    """Record tensors at named points; the newest `max_bytes` of them are kept.

    Args:
        model: To look into.
        points: Names or patterns, such as `block.*.spikes_out`.
        max_bytes: Bound of all that is kept. A single tensor above it is not kept, and counted in `dropped`.
        every: Record each n-th pass only.
    """

    def __init__(
        self, model: UnifiedModel, points: Sequence[str] = ("*",), *, max_bytes: int = 32 << 20, every: int = 1
    ) -> None:
        if max_bytes < 1 or every < 1:
            raise ValueError("max_bytes and every must be at least 1")
        places = _points(model)
        self.points = sorted(name for name in places if any(fnmatch.fnmatchcase(name, p) for p in points))
        if not self.points:
            raise InvalidInputError(f"no point is called {', '.join(points)}: there are {', '.join(sorted(places))}")
        self._places = {name: places[name] for name in self.points}
        self._max_bytes = max_bytes
        self._every = every
        self._records: deque[Record] = deque()
        self._calls = dict.fromkeys(self.points, 0)
        self.kept_bytes = 0
        self.dropped = 0

    @contextmanager
    def watch(self) -> Iterator[Probes]:
        """Record what this thread computes with the model inside the block."""
        handles = [
            module.register_forward_hook(self._hook(name, pick)) for name, (module, pick) in self._places.items()
        ]
        token = _watching.set(self)
        try:
            yield self
        finally:
            _watching.reset(token)
            for handle in handles:
                handle.remove()

    @property
    def records(self) -> list[Record]:
        """What is kept, oldest first."""
        return list(self._records)

    def latest(self, point: str) -> Tensor:
        """Return the newest tensor of a point."""
        for record in reversed(self._records):
            if record.point == point:
                return record.value
        raise InvalidInputError(f"nothing is kept of {point!r}")

    def _hook(self, point: str, pick: _Pick) -> Callable[[nn.Module, Any, Any], None]:
        def record(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if _watching.get() is self:
                self._record(point, pick(output))

        return record

    def _record(self, point: str, value: Tensor) -> None:
        call = self._calls[point]
        self._calls[point] += 1
        if call % self._every:
            return
        size = value.numel() * value.element_size()
        if size > self._max_bytes:
            self.dropped += 1
            return
        self._records.append(Record(point, call, value.detach().cpu().clone()))
        self.kept_bytes += size
        while self.kept_bytes > self._max_bytes:
            oldest = self._records.popleft()
            self.kept_bytes -= oldest.value.numel() * oldest.value.element_size()
            self.dropped += 1


def _points(model: UnifiedModel) -> dict[str, tuple[nn.Module, _Pick]]:
    """Return for every point the module whose output shows it, and how to pick the tensor."""
    points: dict[str, tuple[nn.Module, _Pick]] = {"adapter": (model.adapter, lambda out: out[0])}
    for index, layer in enumerate(model.base.model.layers):
        inner = layer.layer if isinstance(layer, AdapterLayer) else layer
        points[f"layer.{index}"] = (inner, lambda out: out)
    for index, block in enumerate(model.adapter.stack.blocks):
        parts: Any = block
        name = f"block.{index}"
        points[name] = (parts, lambda out: out[0])
        points[f"{name}.read"] = (parts.attention, lambda out: out)
        if model.spec.stack.spikes != "analog":
            for side, neurons in (("in", parts.spiking_in), ("out", parts.spiking_out)):
                points[f"{name}.spikes_{side}"] = (neurons, lambda out: out[0])
                points[f"{name}.v_{side}"] = (neurons, lambda out: out[1])
    for name, layer in lora_layers(model.base):
        points[f"lora.{name}"] = (layer.lora_B[ADAPTER], _scaled(layer.scaling[ADAPTER]))
    return points


def _scaled(factor: float) -> _Pick:
    return lambda out: out * factor
