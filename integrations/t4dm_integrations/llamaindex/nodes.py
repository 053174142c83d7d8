"""Between LlamaIndex's nodes and T4DM's memories: records to store, nodes that come back.

A node's text is a memory's content, its metadata the metadata, its id the id, and the document it was made from is the
label of its namespace: nothing is added to any of them. What else a node has (relationships, templates, an image)
stands in the memory's value:

    {"_node_type": "TextNode", "_node_content": {…}, "_node_class": "yours.CodeNode"}

`_node_class` is there for a class of your own only. Such a node comes back as that class if the program that reads it
has defined the class too, else as the class of LlamaIndex's that it was derived from: nothing is imported for a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pydantic
import pydantic_core
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    TextNode,
)

from t4dm.sdk import models as m
from t4dm.sdk._validation import problems, sentence
from t4dm.sdk.errors import ValidationError
from t4dm_integrations.llamaindex.filters import document_label

RECORD_FIELDS: Final = frozenset(m.RecordIn.model_fields) - {
    "id", "content", "metadata", "value", "vector", "embed", "namespace", "dedup",
}  # fmt: skip
"""What `add` may say about all its nodes: `importance`, `categories`, `event_time`, …"""
_CLASSES: Final[Mapping[str, type[BaseNode]]] = {
    one.class_name(): one for one in (Node, TextNode, ImageNode, IndexNode, Document, ImageDocument)
}
_TYPE: Final = "_node_type"
_CONTENT: Final = "_node_content"
_CLASS: Final = "_node_class"
_RESOURCES: Final = frozenset(("text_resource", "image_resource", "audio_resource", "video_resource"))
BATCH: Final = 500
"""Nodes of a request."""


def to_record(node: BaseNode, fields: Mapping[str, Any], *, is_embedded: bool) -> m.RecordIn:
    """Return what is stored for a node.

    Args:
        node: Any kind of node.
        fields: See `RECORD_FIELDS`.
        is_embedded: The node brings its vector; else the daemon makes it of the text.

    Raises:
        ValueError: The node has no embedding, and should.
        ValidationError: T4DM cannot keep it as it is; the message names the node.
    """
    given: dict[str, Any] = {}
    if is_embedded:
        vector = node.get_embedding()
        # Of a vector without a direction no similarity is defined: the node is found by its id, words and filters.
        given = {"vector": [float(number) for number in vector]} if any(vector) else {"embed": False}
    if node.ref_doc_id is not None:
        given["namespace"] = [document_label(node.ref_doc_id)]
    try:
        # As `model_dump` does, but for numbers that JSON does not have: those would become null.
        metadata: Any = pydantic_core.to_jsonable_python(node.metadata, inf_nan_mode="constants")
        value: Any = {**_kind_of(node), _CONTENT: _rest_of(node)}
        return m.RecordIn(
            id=node.node_id,
            content=node.get_content(metadata_mode=MetadataMode.NONE),
            metadata=metadata,
            value=value,
            **given,
            **fields,
        )
    except pydantic.ValidationError as error:
        raise ValidationError(
            f"node {node.node_id!r} cannot be stored: {sentence(error)}",
            code="validation_error",
            details={"node": node.node_id, "errors": problems(error)},
        ) from error
    except pydantic_core.PydanticSerializationError as error:
        raise ValidationError(
            f"node {node.node_id!r} cannot be stored: {error}",
            code="validation_error",
            details={"node": node.node_id},
        ) from error


def to_node(memory: m.Memory) -> BaseNode:
    """Return the node that was stored; of a memory that was stored by other means, a TextNode."""
    stored = memory.value if isinstance(memory.value, dict) else {}
    rest = stored.get(_CONTENT)
    facts: dict[str, Any] = dict(rest) if isinstance(rest, dict) else {}
    facts |= {"id_": memory.id, "metadata": memory.metadata, "embedding": memory.vector}
    kind = _class_of(stored)
    if issubclass(kind, Node):
        resource = facts.get("text_resource")
        if isinstance(resource, dict) and resource.get("text") is not None:
            facts["text_resource"] = {**resource, "text": memory.content}
    else:
        facts["text"] = memory.content
    return kind.from_dict(facts)


def _kind_of(node: BaseNode) -> dict[str, str]:
    kind = type(node)
    known = next((name for one in kind.__mro__ for name, theirs in _CLASSES.items() if one is theirs), "TextNode")
    return {_TYPE: known} if _CLASSES[known] is kind else {_TYPE: known, _CLASS: _full_name(kind)}


def _class_of(stored: Mapping[str, Any]) -> type[BaseNode]:
    """Return the class to make a node of: one of LlamaIndex's, or one that this program has derived from it."""
    known = _CLASSES.get(str(stored.get(_TYPE)), TextNode)
    if (wanted := stored.get(_CLASS)) is None:
        return known
    derived = list(known.__subclasses__())
    while derived:
        one = derived.pop()
        if _full_name(one) == wanted:
            return one
        derived += one.__subclasses__()
    return known


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _rest_of(node: BaseNode) -> dict[str, Any]:
    """Return a node's own facts without what stands elsewhere in the record; an empty text says that there is one."""
    rest: dict[str, Any] = node.model_dump(mode="json", exclude={"id_", "embedding", "metadata"})
    rest.pop("text", None)
    rest.pop("class_name", None)
    for name in _RESOURCES & rest.keys():
        if (resource := getattr(node, name)) is not None and resource.data is not None:
            rest[name]["data"] = resource.data.decode()  # base64, which LlamaIndex leaves out of its dumps
    if (resource := rest.get("text_resource")) and resource.get("text") is not None:
        rest["text_resource"] = {**resource, "text": ""}
    return rest
