"""Clients, each adapter thin, and what they answer. Importing this loads no model SDK.

The adapters are `safeloop.models.anthropic.AnthropicClient`, whose module imports the SDK, and
`safeloop.models.openai.OpenAIClient` for OpenAI-compatible servers, whose module imports the HTTP client alone.
"""

from safeloop.models.failure import failure_of, lacks_counter, may_retry
from safeloop.models.offline import OfflineAuditor
from safeloop.models.protocol import LLMClient, MessagesEndpoint
from safeloop.models.reply import Reply, ToolCall, read_reply, replay
from safeloop.models.scripted import ScriptedClient
from safeloop.models.usage import Usage
from safeloop.models.wrap import adapt, asked_within, is_anthropic_client

__all__ = [
    "LLMClient",
    "MessagesEndpoint",
    "OfflineAuditor",
    "Reply",
    "ScriptedClient",
    "ToolCall",
    "Usage",
    "adapt",
    "asked_within",
    "failure_of",
    "is_anthropic_client",
    "lacks_counter",
    "may_retry",
    "read_reply",
    "replay",
]
