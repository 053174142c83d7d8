"""The forward pass of all-MiniLM-L6-v2 as an ONNX graph without weights.

    x = LayerNorm(word[ids] + position[0:T] + type[0])
    six times:
        a = softmax(QKᵀ/√32 + mask_bias) V                 12 heads of 32
        x = LayerNorm(x + Dense(a))
        x = LayerNorm(x + Dense(gelu(Dense(x))))           exact gelu (erf), inner width 1536
    out = mean of x over the real tokens, scaled to length 1

Inputs are `ids` (B, T) int32 and `mask` (B, T) float32, 1 for a token and 0 for padding; the output
`out` is (B, 384) float32. Dense layers run on (B·T, 384), so the weights are used as the file stores
them, (out, in), and the session packs them itself. Initialisers carry the safetensors names and are marked
external: whoever opens the session hands the arrays in, and the graph stays some 20 KB. Written this way,
onnxruntime's optimiser finds nothing to gain (2.8 ms at every level from none to all, 16 tokens, two cores),
nor do its fused com.microsoft operators (2.8 ms), so neither is needed and an optimised graph is not worth keeping.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

GRAPH_VERSION: Final = 1  # raise it when the graph changes: the cached file is named after it

LAYERS: Final = 6
HEADS: Final = 12
D_MODEL: Final = 384
D_HEAD: Final = D_MODEL // HEADS
D_INNER: Final = 1536
VOCABULARY: Final = 30522
POSITIONS: Final = 512
LAYER_NORM_EPSILON: Final = 1e-12

_OPSET: Final = 20  # the first with Gelu
_IR_VERSION: Final = 9
_MASKED: Final = 10_000.0  # subtracted from a padding token's score; exp(-10000) is 0 in float32


def weight_shapes() -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor the graph needs, as the safetensors file names them."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (VOCABULARY, D_MODEL),
        "embeddings.position_embeddings.weight": (POSITIONS, D_MODEL),
        "embeddings.token_type_embeddings.weight": (2, D_MODEL),
    }

    def dense(name: str, width_out: int, width_in: int) -> None:
        shapes[f"{name}.weight"] = (width_out, width_in)
        shapes[f"{name}.bias"] = (width_out,)

    def norm(name: str) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (D_MODEL,)

    norm("embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            dense(f"{layer}.attention.{part}", D_MODEL, D_MODEL)
        norm(f"{layer}.attention.output.LayerNorm")
        dense(f"{layer}.intermediate.dense", D_INNER, D_MODEL)
        dense(f"{layer}.output.dense", D_MODEL, D_INNER)
        norm(f"{layer}.output.LayerNorm")
    return shapes


def build_graph() -> bytes:
    """Return the serialised graph. The only place that imports `onnx`; about 60 ms."""
    from onnx import TensorProto, helper

    graph = _GraphWriter()
    for name, shape in weight_shapes().items():
        graph.external(name, shape)
    one, twelve_heads = graph.integers(1), graph.integers(HEADS, D_HEAD)
    rows = graph.integers(-1, D_MODEL)

    batch_and_length = graph.add("Shape", ["ids"])
    per_head = graph.add("Concat", [batch_and_length, twelve_heads], axis=0)  # (B, T, 12, 32)
    mask_bias = graph.add(  # (B, 1, 1, T): 0 for a token, -10000 for padding
        "Unsqueeze",
        [
            graph.add("Mul", [graph.add("Sub", ["mask", graph.number(1.0)]), graph.number(_MASKED)]),
            graph.integers(1, 2),
        ],
    )

    x = graph.add("Reshape", [_input_embeddings(graph), rows])  # (B·T, D)
    for number in range(LAYERS):
        x = _encoder_layer(graph, x, f"encoder.layer.{number}", per_head, mask_bias, rows)
    x = graph.add("Reshape", [x, graph.add("Concat", [batch_and_length, graph.integers(D_MODEL)], axis=0)])

    # The sum over real tokens; dividing by their number would not change the direction.
    summed = graph.add("MatMul", [graph.add("Unsqueeze", ["mask", one]), x])  # (B, 1, T) @ (B, T, D)
    graph.add("LpNormalization", [graph.add("Squeeze", [summed, one])], output="out", axis=1, p=2)

    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "all-MiniLM-L6-v2",
            [
                helper.make_tensor_value_info("ids", TensorProto.INT32, ["B", "T"]),
                helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["B", "T"]),
            ],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["B", D_MODEL])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="t4dm",
    )
    serialised: bytes = model.SerializeToString()
    return serialised


class _GraphWriter:
    """Collect nodes and initialisers; every method returns the name of the tensor it made."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def add(self, operator: str, inputs: Sequence[str], *, output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def integers(self, *values: int) -> str:
        return self._constant(np.array(values, np.int64))

    def number(self, value: float) -> str:
        return self._constant(np.array(value, np.float32))

    def external(self, name: str, shape: tuple[int, ...]) -> None:
        from onnx import TensorProto

        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        # A location is required; it is never opened, because the session is given the array.
        tensor.external_data.add(key="location", value="model.safetensors")
        self.initializers.append(tensor)

    def dense(self, x: str, name: str) -> str:
        return self.add("Gemm", [x, f"{name}.weight", f"{name}.bias"], transB=1)

    def norm(self, x: str, name: str) -> str:
        return self.add(
            "LayerNormalization", [x, f"{name}.weight", f"{name}.bias"], axis=-1, epsilon=LAYER_NORM_EPSILON
        )

    def _constant(self, value: np.ndarray[Any, Any]) -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(value, name))
        return name


def _input_embeddings(graph: _GraphWriter) -> str:
    zero, one = graph.integers(0), graph.integers(1)
    length = graph.add("Shape", ["ids"], start=1, end=2)
    words = graph.add("Gather", ["embeddings.word_embeddings.weight", "ids"])  # (B, T, D)
    positions = graph.add("Slice", ["embeddings.position_embeddings.weight", zero, length, zero])  # (T, D)
    first_type = graph.add("Slice", ["embeddings.token_type_embeddings.weight", zero, one, zero])  # (1, D)
    return graph.norm(graph.add("Add", [words, graph.add("Add", [positions, first_type])]), "embeddings.LayerNorm")


def _encoder_layer(graph: _GraphWriter, x: str, layer: str, per_head: str, mask_bias: str, rows: str) -> str:
    def heads(part: str, perm: list[int]) -> str:
        split = graph.add("Reshape", [graph.dense(x, f"{layer}.attention.self.{part}"), per_head])
        return graph.add("Transpose", [split], perm=perm)

    query = heads("query", [0, 2, 1, 3])  # (B, H, T, 32)
    key = heads("key", [0, 2, 3, 1])  # (B, H, 32, T)
    value = heads("value", [0, 2, 1, 3])
    scores = graph.add("Mul", [graph.add("MatMul", [query, key]), graph.number(1 / math.sqrt(D_HEAD))])
    weights = graph.add("Softmax", [graph.add("Add", [scores, mask_bias])], axis=-1)  # (B, H, T, T)
    mixed = graph.add("Transpose", [graph.add("MatMul", [weights, value])], perm=[0, 2, 1, 3])
    attended = graph.dense(graph.add("Reshape", [mixed, rows]), f"{layer}.attention.output.dense")
    x = graph.norm(graph.add("Add", [attended, x]), f"{layer}.attention.output.LayerNorm")
    inner = graph.add("Gelu", [graph.dense(x, f"{layer}.intermediate.dense")])
    return graph.norm(graph.add("Add", [graph.dense(inner, f"{layer}.output.dense"), x]), f"{layer}.output.LayerNorm")
