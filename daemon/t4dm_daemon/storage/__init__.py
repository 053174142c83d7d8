"""Storage: the protocol of the operations, and T4DX, the engine that implements it."""
