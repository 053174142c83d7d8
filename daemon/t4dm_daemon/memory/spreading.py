"""Spreading activation: what is linked to a good hit may be what was asked for.

From the best three hits, activation flows along links in both directions, .7 of it over each, times the weight of the
link, for two hops; a memory that is reached by several ways takes the strongest (Collins & Loftus 1975, with the decay
of Crestani 1997). It raises recall in the first ten and lowers it in the first one, so its weight can be set to 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from t4dm_daemon.storage.protocol import Probe

SEEDS: Final = 3
HOPS: Final = 2
DECAY: Final = 0.7
MAX_FAN_OUT: Final = 32
"""Links followed from one memory, the heaviest first: a hub is about everything."""


def spread(probe: Probe, seeds: Mapping[str, float]) -> dict[str, float]:
    """Return the activation of the memories that are reached, in [0, 1].

    Args:
        probe: Knows the links, as of the moment of the read.
        seeds: Ids of the best hits, with what they send out, in [0, 1].
    """
    reached: dict[str, float] = {}
    for seed, activation in seeds.items():
        seen = {seed}
        frontier = {seed: activation}
        for _ in range(HOPS):
            following: dict[str, float] = {}
            for here, strength in frontier.items():
                links = sorted(probe.links(here), key=lambda link: (-link.weight, link.source, link.target))
                for link in links[:MAX_FAN_OUT]:
                    there = link.target if link.source == here else link.source
                    if there not in seen:
                        following[there] = max(following.get(there, 0.0), strength * DECAY * link.weight)
            seen |= following.keys()
            for there, strength in following.items():
                reached[there] = max(reached.get(there, 0.0), strength)
            frontier = following
    return reached
