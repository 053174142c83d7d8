"""The spiking memory stack: six-stage cortical blocks between the layers of a language model.

Every part is a function of its inputs: state goes in and comes out, and no module keeps any. So two texts never share
state, a text can be read in pieces, and a state can be copied, reordered or thrown away like any tensor. Beside every
fast path stands the plain loop that it must equal (`*_naive`).

Loaded by `t4dm_daemon.qwen`. Neither is loaded by the daemon yet: it serves no model.

The parts: `surrogate` and `lif` (spikes), `stdp` (spike timing), `attention` (stage 3), `recurrence` (stage 5),
`modulation` (neuromodulators and oscillations), `block` (the six stages), `stack` (N blocks, one memory).
Importing this package or `config` imports no torch; the first use of another name does. docs/mind.md has the equations
and what the biological names stand for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from t4dm_daemon.core.lazy import lazy_names

if TYPE_CHECKING:
    from t4dm_daemon.spiking.attention import FastWeights
    from t4dm_daemon.spiking.block import BlockMetrics, BlockState, CorticalBlock
    from t4dm_daemon.spiking.config import StackConfig
    from t4dm_daemon.spiking.modulation import Modulation, NeuromodulatorBus, Oscillations
    from t4dm_daemon.spiking.stack import SpikingStack, StackOutput, StackState

_HOMES: Final = {
    "BlockMetrics": "block",
    "BlockState": "block",
    "CorticalBlock": "block",
    "FastWeights": "attention",
    "Modulation": "modulation",
    "NeuromodulatorBus": "modulation",
    "Oscillations": "modulation",
    "SpikingStack": "stack",
    "StackConfig": "config",
    "StackOutput": "stack",
    "StackState": "stack",
}

__all__ = [
    "BlockMetrics",
    "BlockState",
    "CorticalBlock",
    "FastWeights",
    "Modulation",
    "NeuromodulatorBus",
    "Oscillations",
    "SpikingStack",
    "StackConfig",
    "StackOutput",
    "StackState",
]

__getattr__ = lazy_names(__name__, _HOMES, extra="model")
