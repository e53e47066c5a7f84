"""What a tool of a server returned, as a value that `clean` can show: nothing binary, nothing twice."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any

import mcp_types as types

from safeloop.tools.mcp.failure import ToolFailed, quoted


def returned(result: types.CallToolResult) -> Any:
    """Return the text or the JSON of a result.

    Structured content is what is returned, and texts that say the same are left out. Images, sounds and other bytes are
    told by type, size and digest.

    Raises:
        ToolFailed: The result says that the tool failed.
    """
    blocks = [_told(block) for block in result.content]
    if result.is_error:
        texts = [block if isinstance(block, str) else json.dumps(block, ensure_ascii=False) for block in blocks]
        raise ToolFailed(f"the tool says that it failed, {quoted(' '.join(texts))}")
    if result.structured_content is not None:
        value = _unwrapped(result.structured_content)
        more = [block for block in blocks if not _says(block, value)]
        return {"structured": value, "content": more} if more else value
    if all(isinstance(block, str) for block in blocks):
        return "\n".join(blocks)
    return blocks


def _unwrapped(value: Any) -> Any:
    """Take what is no object out of the one that servers must put it into."""
    return value["result"] if isinstance(value, dict) and value.keys() == {"result"} else value


def _says(block: Any, value: Any) -> bool:
    """Whether a text is a value, or its JSON."""
    try:
        return isinstance(block, str) and bool(block == value or json.loads(block) == value)
    except (ValueError, RecursionError):
        return False


def _told(block: types.ContentBlock) -> Any:
    if isinstance(block, types.TextContent):
        return block.text
    if isinstance(block, types.ImageContent | types.AudioContent):
        return {block.type: _summary(block.data, block.mime_type)}
    if isinstance(block, types.ResourceLink):
        return {"link": {"uri": str(block.uri), "name": block.name}}
    held = block.resource
    if isinstance(held, types.TextResourceContents):
        return {"resource": {"uri": str(held.uri), "text": held.text}}
    return {"resource": {"uri": str(held.uri), **_summary(held.blob, held.mime_type)}}


def _summary(data: str, mime_type: str | None) -> dict[str, Any]:
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return {"type": mime_type, "characters": len(data), "cut": "what is not Base64 is not shown"}
    return {
        "type": mime_type, "bytes": len(decoded), "sha256": hashlib.sha256(decoded).hexdigest(),
        "cut": "bytes are not shown",
    }
