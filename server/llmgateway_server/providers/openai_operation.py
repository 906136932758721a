"""What all operations of OpenAI's dialect share: how a request is sent, and how answers and refusals are read."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from llmgateway.v1.content_pb2 import Usage
from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.operations import OperationCall
from llmgateway_server.providers import failures
from llmgateway_server.providers.failures import protocol_error
from llmgateway_server.providers.json_values import UNREADABLE, Json, count_of, details_of, json_object
from llmgateway_server.providers.omissions import Omissions
from llmgateway_server.providers.openai_request import WIRE_FORMAT, put_options
from llmgateway_server.providers.operations import cannot
from llmgateway_server.providers.vendors import Operation, Vendor, vendor_of
from llmgateway_server.providers.wire import HttpRequest


def vendor_with(call: OperationCall, operation: Operation) -> Vendor:
    """The vendor of a call. Raises UNSUPPORTED_FEATURE for one that does not have the operation."""
    vendor = vendor_of(call.endpoint)
    if operation not in vendor.operations:
        raise cannot(call)
    return vendor


def post_json(
    call: OperationCall, vendor: Vendor, operation: Operation, body: Json, omissions: Omissions
) -> HttpRequest:
    """The request with a JSON body, and with the caller's own fields in it."""
    add_options(call, body, omissions)
    return post(call, vendor, operation, orjson.dumps(body), "application/json", omissions)


def post(
    call: OperationCall, vendor: Vendor, operation: Operation, body: bytes, content_type: str, omissions: Omissions
) -> HttpRequest:
    """The request with a body of any type."""
    endpoint = call.endpoint
    headers = {"content-type": content_type, **endpoint.headers}
    if endpoint.credential:
        headers[vendor.key_header] = vendor.key_prefix + endpoint.credential.secret
    return HttpRequest(
        method="POST",
        url=f"{endpoint.base_url or vendor.base_url}{operation.value}",
        headers=headers,
        body=body,
        warnings=omissions.warnings,
    )


def add_options(call: OperationCall, body: Json, omissions: Omissions) -> None:
    """Merges the caller's own fields. What the request says in typed fields stands."""
    options: Mapping[str, str] = getattr(call.request, "provider_options", {})
    if WIRE_FORMAT in options:
        put_options(body, options[WIRE_FORMAT], omissions)


def read_object(body: bytes) -> Json:
    """The object in a body. Raises PROVIDER_PROTOCOL_ERROR, or the reason of an error that the body says instead."""
    try:
        answer = json_object(orjson.loads(body))
    except UNREADABLE as error:
        raise unreadable() from error
    if answer.get("error"):
        raise failures.failure(0, failures.report_of(answer))
    return answer


def unreadable() -> GatewayError:
    """The error for an answer that is not what the dialect allows."""
    return protocol_error("the provider's answer is not what its dialect allows.")


def read_failure(status: int, body: bytes, fields: Mapping[str, str]) -> GatewayError:
    """The error of a refusal. `fields` are the operation's own fields, in the dialect's spelling and in ours."""
    report = failures.read_report(body)
    error = failures.failure(status, report)
    if field := fields.get(report.param.partition("[")[0].partition(".")[0]):
        error.field = error.metadata["field"] = field
    return error


def usage_of(answer: Json) -> Usage:
    """The tokens of an answer by either of the dialect's names for them; none where the answer does not tell."""
    told = details_of(answer, "usage")
    details = details_of(told, "input_token_details") or details_of(told, "input_tokens_details")
    spent = count_of(told, "input_tokens") or count_of(told, "prompt_tokens")
    given = count_of(told, "output_tokens") or count_of(told, "completion_tokens")
    return Usage(
        # Some say the sum alone.
        input_tokens=spent or max(count_of(told, "total_tokens") - given, 0),
        input_audio_tokens=count_of(details, "audio_tokens"),
        output_tokens=given,
    )
