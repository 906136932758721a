"""The protos keep the manners that buf does not know: resources, standard methods, HTTP rules, scopes."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from google.api import annotations_pb2, field_behavior_pb2
from google.api.field_behavior_pb2 import FieldBehavior
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FieldOptions,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
)

from llmgateway.v1 import authorization_pb2

TIMES = ("create_time", "update_time")
SCOPE = re.compile(r"public|[a-z]+(:[a-z]+)?")
NO_HTTP = "gRPC only:"
"""How the comment of a method without an HTTP rule begins the sentence that says why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to reach a method over HTTP."""

    method: str
    verb: str
    segments: tuple[str, ...]
    suffix: str
    variables: tuple[str, ...]
    body: str

    def __str__(self) -> str:
        return f"{self.verb} /{'/'.join(self.segments)}{self.suffix} ({self.method})"


class Protos:
    """Our files, and every message by its full name."""

    def __init__(self, image: FileDescriptorSet) -> None:
        self.files = [file for file in image.file if file.package.startswith("llmgateway.")]
        self.messages: dict[str, DescriptorProto] = {}
        for file in image.file:
            for message in file.message_type:
                self._add(f".{file.package}.{message.name}", message)

    def _add(self, name: str, message: DescriptorProto) -> None:
        self.messages[name] = message
        for nested in message.nested_type:
            self._add(f"{name}.{nested.name}", nested)

    def methods(self) -> Iterator[tuple[str, MethodDescriptorProto]]:
        """Every method of our services, with its full name."""
        for file in self.files:
            for service in file.service:
                for method in service.method:
                    yield f"{file.package}.{service.name}.{method.name}", method

    def native(self) -> Iterator[tuple[str, MethodDescriptorProto]]:
        """The methods that speak our own messages rather than a foreign dialect."""
        return ((name, method) for name, method in self.methods() if not name.startswith("llmgateway.compat."))

    def resources(self) -> dict[str, DescriptorProto]:
        """What has an Update method, by name: the kinds of resource with standard methods."""
        return {
            method.output_type: self.messages[method.output_type]
            for _, method in self.native()
            if method.name.startswith("Update")
        }

    def inputs(self) -> dict[str, DescriptorProto]:
        """The messages that callers send, by name: requests and what is inside them, as far as it is ours."""
        found: dict[str, DescriptorProto] = {}
        waiting = [method.input_type for _, method in self.methods()]
        while waiting:
            name = waiting.pop()
            if name.startswith(".llmgateway.") and name not in found:
                found[name] = self.messages[name]
                waiting += [field.type_name for field in found[name].field if field.type_name in self.messages]
        return {name: message for name, message in found.items() if not message.options.map_entry}

    def field(self, message: str, path: str) -> FieldDescriptorProto | None:
        """The field at a dotted path of a message."""
        found = None
        for part in path.split("."):
            found = next((field for field in self.messages[message].field if field.name == part), None)
            if found is None:
                return None
            message = found.type_name
        return found


@pytest.fixture(scope="module")
def ours(protos: FileDescriptorSet) -> Protos:
    return Protos(protos)


def option(options: FieldOptions | MethodOptions, extension: FieldDescriptor) -> Any:
    """The value of an option of ours or Google's; protoc's stubs do not say of which type."""
    return options.Extensions[extension]  # pyright: ignore[reportArgumentType]  # see above


def behaviours(field: FieldDescriptorProto) -> list[FieldBehavior]:
    """What the field says of itself."""
    return list(option(field.options, field_behavior_pb2.field_behavior))


def rules(name: str, method: MethodDescriptorProto) -> Iterator[Rule]:
    """Every HTTP rule of a method."""
    http = option(method.options, annotations_pb2.http)
    for binding in (http, *http.additional_bindings):
        verb = binding.WhichOneof("pattern")
        if verb is not None:
            yield parse_rule(name, verb, binding)


def parse_rule(name: str, verb: str, binding: HttpRule) -> Rule:
    """Takes a path template apart: `/a/{b=c/*}:d` has the segments a, c and *, the variable b and the suffix :d."""
    template = getattr(binding, verb)
    variables = re.findall(r"\{([^}=]+)", template)
    path = re.sub(r"\{[^}=]+=([^}]+)\}", r"\1", template)
    path = re.sub(r"\{[^}]+\}", "*", path)
    path, colon, suffix = path.partition(":")
    return Rule(name, verb, tuple(path.removeprefix("/").split("/")), colon + suffix, tuple(variables), binding.body)


def overlap(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Whether some path fits both patterns; `*` is any one segment and a last `**` any number of them."""
    if not left or not right:
        return left == right or (left or right) == ("**",)
    if "**" in (left[0], right[0]):
        return True
    return (left[0] == right[0] or "*" in (left[0], right[0])) and overlap(left[1:], right[1:])


def narrower(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Whether `left` fits nothing that `right` does not fit, so that a router prefers it without doubt."""
    order = {"*": 1, "**": 2}
    return left != right and all(
        order.get(one, 0) < order.get(other, 0) or one == other for one, other in zip(left, right, strict=False)
    )


def test_input_fields_state_their_behaviour(ours: Protos) -> None:
    silent = [
        f"{name}.{field.name}"
        for name, message in ours.inputs().items()
        for field in message.field
        if not behaviours(field)
    ]
    assert silent == []


def test_resources_have_the_fields_of_a_resource(ours: Protos) -> None:
    assert ours.resources()
    wrong: list[str] = []
    for name, message in ours.resources().items():
        fields = {field.name: field for field in message.field}
        if message.field[0].name != "name" or message.field[0].number != 1:
            wrong.append(f"{name}: `name` comes first, as field 1")
        if not {FieldBehavior.IDENTIFIER, FieldBehavior.OUTPUT_ONLY} & set(behaviours(message.field[0])):
            wrong.append(f"{name}: `name` is IDENTIFIER or OUTPUT_ONLY")
        wrong += [f"{name}: no `{each}`" for each in ("display_name", "labels", *TIMES, "etag") if each not in fields]
        wrong += [
            f"{name}: `{each}` is OUTPUT_ONLY"
            for each in (*TIMES, "etag")
            if each in fields and FieldBehavior.OUTPUT_ONLY not in behaviours(fields[each])
        ]
        if message.field[-1].name != "etag":
            wrong.append(f"{name}: `etag` comes last")
    assert wrong == []


def test_resources_have_all_five_standard_methods(ours: Protos) -> None:
    methods = {method.name for _, method in ours.native()}
    missing = [
        method
        for name in ours.resources()
        for verb in ("Create", "Get", "Update", "Delete")
        if (method := f"{verb}{name.rpartition('.')[2]}") not in methods
    ]
    assert missing == []


def test_standard_requests_have_the_fields_of_their_method(ours: Protos) -> None:
    singular = {name.rpartition(".")[2] for name in ours.resources()}
    wrong: list[str] = []
    for name, method in ours.native():
        verb, noun = re.fullmatch(r"([A-Z][a-z]+)(\w*)", method.name).groups()  # pyright: ignore[reportOptionalMemberAccess]  # every method is a verb and a noun
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", noun).lower()
        wanted = {
            "Create": {snake, f"{snake}_id", "request_id"},
            "Get": {"name"},
            "List": {"page_size", "page_token"},
            "Update": {snake, "update_mask"},
            "Delete": {"name", "etag"},
        }.get(verb, set())
        if verb == "List" or noun in singular:
            request = {field.name for field in ours.messages[method.input_type].field}
            wrong += [f"{name}: its request has no `{each}`" for each in sorted(wanted - request)]
        if verb == "List":
            answer = ours.messages[method.output_type].field
            if [field.name for field in answer][1:] != ["next_page_token"]:
                wrong.append(f"{name}: answers with one list and `next_page_token`")
    assert wrong == []


def test_times_and_durations_are_messages(ours: Protos) -> None:
    number = re.compile(r"_(seconds|millis|ms|minutes|hours)$")
    wrong = [
        f"{name}.{field.name}"
        for name, message in ours.messages.items()
        if name.startswith(".llmgateway.")
        for field in message.field
        if (field.name.endswith("_time") and field.type_name != ".google.protobuf.Timestamp")
        or number.search(field.name)
    ]
    assert wrong == []


def test_files_read_services_first_and_enums_last(ours: Protos) -> None:
    wrong = [file.name for file in ours.files if (order := declarations(file)) != sorted(order)]
    assert wrong == []


def declarations(file: FileDescriptorProto) -> list[int]:
    """The kinds of the top-level declarations in the order of the file: 0 for services, 1 messages, 2 enums."""
    kinds = {6: 0, 4: 1, 5: 2}  # field numbers of FileDescriptorProto
    places = sorted(
        (location.span[0], kinds[location.path[0]])
        for location in file.source_code_info.location
        if len(location.path) == 2 and location.path[0] in kinds
    )
    return [kind for _, kind in places]


def test_methods_have_an_http_rule_or_say_why_not(ours: Protos) -> None:
    silent = [
        name
        for name, method in ours.methods()
        if not list(rules(name, method)) and NO_HTTP not in comment_of(ours, name)
    ]
    assert silent == []


def comment_of(ours: Protos, method_name: str) -> str:
    """The comment above a method."""
    for file in ours.files:
        for place, service in enumerate(file.service):
            for index, method in enumerate(service.method):
                if f"{file.package}.{service.name}.{method.name}" == method_name:
                    path = [6, place, 2, index]
                    return next(
                        each.leading_comments for each in file.source_code_info.location if list(each.path) == path
                    )
    raise KeyError(method_name)


def test_http_rules_name_fields_of_their_request(ours: Protos) -> None:
    wrong = [
        f"{rule}: no field {field!r}"
        for name, method in ours.methods()
        for rule in rules(name, method)
        for field in (*rule.variables, *({rule.body} - {"", "*"}))
        if ours.field(method.input_type, field) is None
    ]
    assert wrong == []


def test_no_two_methods_share_an_http_path(ours: Protos) -> None:
    everything = [rule for name, method in ours.methods() for rule in rules(name, method)]
    conflicts = [
        f"{left} and {right}"
        for left, right in itertools.combinations(everything, 2)
        if (left.verb, left.suffix) == (right.verb, right.suffix)
        and overlap(left.segments, right.segments)
        and not narrower(left.segments, right.segments)
        and not narrower(right.segments, left.segments)
    ]
    assert conflicts == []


@pytest.mark.parametrize(
    ("left", "right", "conflict"),
    [
        ("a/b", "a/b", True),
        ("a/*", "a/b", False),
        ("a/**", "a/b/*", False),
        ("a/*/c", "a/b/*", True),
        ("a/*", "b/*", False),
        ("a/*", "a/*/c", False),
    ],
)
def test_the_conflict_check_bites(left: str, right: str, conflict: bool) -> None:
    one, other = tuple(left.split("/")), tuple(right.split("/"))
    assert (overlap(one, other) and not narrower(one, other) and not narrower(other, one)) is conflict


def test_methods_state_their_scope(ours: Protos) -> None:
    wrong = [
        f"{name}: {scope!r}"
        for name, method in ours.methods()
        if not SCOPE.fullmatch(scope := option(method.options, authorization_pb2.required_scope))
    ]
    assert wrong == []


def test_tenant_fields_exist(ours: Protos) -> None:
    wrong = [
        f"{name}: no field {path!r}"
        for name, method in ours.methods()
        if (path := option(method.options, authorization_pb2.tenant_field))
        and ours.field(method.input_type, path) is None
    ]
    assert wrong == []


def test_methods_below_a_tenant_say_which_field_names_it(ours: Protos) -> None:
    wrong = [
        str(rule)
        for name, method in ours.methods()
        for rule in rules(name, method)
        if "/".join(rule.segments).startswith("api/v1/tenants/*")
        and not option(method.options, authorization_pb2.tenant_field)
    ]
    assert wrong == []
