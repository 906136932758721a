"""From a method and its message to the REST request that means the same, as the annotations in the protos say."""

import importlib
import pkgutil
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast
from urllib.parse import quote, urlencode

from google.api import annotations_pb2, http_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from llmgateway import v1
from llmgateway.compat import v1 as compat

_VARIABLE = re.compile(r"\{([\w.]+)(?:=([^}]+))?\}")


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A request of HTTP."""

    method: str
    path: str
    """With the query."""
    body: Any = None
    """A JSON value; None where there is no body."""
    headers: dict[str, str] = field(default_factory=dict[str, str])


@cache
def services() -> dict[str, ServiceDescriptor]:
    """Every service of the protos, by its short name."""
    modules = [
        importlib.import_module(f"{package.__name__}.{found.name}")
        for package in (v1, compat)
        for found in pkgutil.iter_modules(package.__path__)
        if found.name.endswith("_service_pb2")
    ]
    return {name: service for module in modules for name, service in module.DESCRIPTOR.services_by_name.items()}


@cache
def methods() -> dict[str, MethodDescriptor]:
    """Every method of the protos, by names such as `AdminService/GetTenant`."""
    return {f"{name}/{method.name}": method for name, service in services().items() for method in service.methods}


def message_of(method: MethodDescriptor, fields: dict[str, Any]) -> Message:
    """A request of a method, from proto JSON."""
    return json_format.ParseDict(fields, GetMessageClass(method.input_type)())


def placeholder(method: MethodDescriptor, tenant: str = "tenants/none", last: str = "thing") -> dict[str, Any]:
    """The fields that a method's path needs, each with a name of the right form: a tenant's, and things in it."""
    rule = cast("http_pb2.HttpRule", cast("Any", method.GetOptions()).Extensions[annotations_pb2.http])
    path = str(getattr(rule, rule.WhichOneof("pattern") or ""))
    fields: dict[str, Any] = {}
    for name, pattern in _VARIABLE.findall(path):
        ids = pattern.replace("tenants/*", tenant, 1) if pattern else "*"
        target = fields
        for step in name.split(".")[:-1]:
            target = target.setdefault(step, {})
        target[name.rpartition(".")[2]] = ids.replace("**", last).replace("*", last)
    return fields


def rest_of(method: MethodDescriptor, message: Message) -> RestRequest:
    """The REST request for a message: the first binding whose path the message fits."""
    rule = cast("http_pb2.HttpRule", cast("Any", method.GetOptions()).Extensions[annotations_pb2.http])
    for binding in (rule, *rule.additional_bindings):
        request = _bind(binding, message)
        if request is not None:
            return request
    raise ValueError(f"no path of {method.full_name} fits {message!r}")


def _bind(binding: http_pb2.HttpRule, message: Message) -> RestRequest | None:
    verb = binding.WhichOneof("pattern") or ""
    rest = json_format.MessageToDict(message, preserving_proto_field_name=True)

    def fill(found: re.Match[str]) -> str:
        value = str(_take(rest, found[1].split(".")) or "")
        pattern = (found[2] or "*").replace("**", ".+").replace("*", "[^/]+").replace(".[^/]+", ".+")
        if re.fullmatch(pattern, value) is None:
            raise LookupError(value)
        return quote(value, safe="/:")

    try:
        path = _VARIABLE.sub(fill, str(getattr(binding, verb)))
    except LookupError:
        return None
    body: Any = None
    if binding.body == "*":
        body, rest = rest, {}
    elif binding.body:
        body = rest.pop(binding.body, {})
    query = urlencode(list(_flat(rest)))
    return RestRequest(verb.upper(), f"{path}?{query}" if query else path, body)


def _take(fields: dict[str, Any], steps: list[str]) -> Any:
    """Removes a value from nested fields and returns it."""
    for step in steps[:-1]:
        fields = fields.get(step, {})
    return fields.pop(steps[-1], None)


def _flat(fields: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in fields.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            pairs += [(f"{prefix}{name}", str(item)) for item in value]
        else:
            pairs.append((f"{prefix}{name}", str(value).lower() if isinstance(value, bool) else str(value)))
    return pairs
