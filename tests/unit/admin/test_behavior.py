"""What descriptors say of fields, read in messages inside messages."""

import pytest

from llmgateway.v1.admin_resources_pb2 import Tenant
from llmgateway.v1.admin_service_pb2 import CreateTenantRequest
from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import Message, Part
from llmgateway.v1.evaluation_service_pb2 import Evaluation, ImportExamplesRequest, Scorer
from llmgateway_server.admin.behavior import changed_paths, clear_outputs, require, walk
from llmgateway_server.errors import InvalidArgument


def test_outputs_are_cleared_at_every_depth() -> None:
    request = CreateTenantRequest(tenant=Tenant(name="tenants/a", display_name="A", etag="e"), tenant_id="a")
    request.tenant.create_time.FromSeconds(1)
    clear_outputs(request)
    assert request == CreateTenantRequest(tenant=Tenant(display_name="A"), tenant_id="a")


def test_what_is_required_is_named_by_its_path() -> None:
    evaluation = Evaluation(
        dataset="tenants/a/datasets/d", candidates=["models/m"], scorers=[Scorer(scorer_id="s", kind="k"), Scorer()]
    )
    with pytest.raises(InvalidArgument) as caught:
        require(evaluation, "evaluation")
    assert caught.value.field == "evaluation.scorers[1].scorer_id"
    with pytest.raises(InvalidArgument) as caught:
        require(ImportExamplesRequest(parent="a"), "request")
    assert caught.value.field == "request.examples"


def test_every_field_that_is_set_is_walked() -> None:
    request = ChatRequest(model="models/a", messages=[Message(parts=[Part(text="b")])], labels={"c": "d"})
    assert [(found.path, found.plain) for found in walk(request, "request")] == [
        ("request.model", "model"),
        ("request.messages", "messages"),
        ("request.messages[0].parts", "messages.parts"),
        ("request.messages[0].parts[0].text", "messages.parts.text"),
        ("request.labels", "labels"),
    ]


def test_differences_are_named_into_messages_and_not_into_lists() -> None:
    before = CreateTenantRequest(tenant=Tenant(display_name="A", labels={"a": "b"}))
    after = CreateTenantRequest(tenant=Tenant(display_name="B", labels={"a": "c"}), tenant_id="x")
    assert changed_paths(before, after) == ["tenant.display_name", "tenant.labels", "tenant_id"]
    assert changed_paths(before, CreateTenantRequest()) == ["tenant"]
    assert changed_paths(before, before) == []
