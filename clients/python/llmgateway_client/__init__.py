"""Client of LLM Gateway: asynchronous, typed, over gRPC.

`GatewayClient` is the way in. `v1` holds every message of the API, and `errors` every error that a call may raise.
"""

from llmgateway_client import errors, redaction
from llmgateway_client.client import ChatFields, GatewayClient
from llmgateway_client.errors import GatewayError
from llmgateway_client.generated.llmgateway import v1
from llmgateway_client.messages import assistant, function_tool, system, text_of, tool_calls_of, tool_result, user
from llmgateway_client.stream import ChatStream

__all__ = [
    "ChatFields",
    "ChatStream",
    "GatewayClient",
    "GatewayError",
    "assistant",
    "errors",
    "function_tool",
    "system",
    "text_of",
    "tool_calls_of",
    "tool_result",
    "user",
    "v1",
]

redaction.install()
