"""Who may call what: every method of every descriptor, walked by every sort of caller."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from llmgateway.v1 import authorization_pb2
from tests.support.calling import GrpcTransport, RestTransport
from tests.support.served import served_gateway
from tests.support.transcoding import message_of, methods, placeholder
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

PUBLIC = {"HealthService/CheckLiveness", "HealthService/CheckReadiness", "HealthService/DescribeHealth"}
BUILT = {
    "ChatService/CompleteChat",
    "ChatService/StreamChat",
    "OpenAIService/CreateChatCompletion",
    "OpenAIService/ListModels",
    "OpenAIService/GetModel",
    "AdminService/RotateApiKey",
    "AdminService/ListUsageRecords",
    "AdminService/ListAuditEvents",
    "AdminService/GetHealthSummary",
    *PUBLIC,
    *(
        f"{service}/{verb}{kind}{'s' if verb == 'List' else ''}"
        for service, kinds in (
            ("AdminService", ("Tenant", "ApiKey")),
            ("ModelService", ("Provider", "Model", "Deployment")),
            ("RoutingService", ("Route", "UseCase")),
        )
        for kind in kinds
        for verb in ("Create", "Get", "List", "Update", "Delete")
    ),
}
"""What a gateway must have. The rest may be there, and says so where it is not."""

METHODS = sorted(methods())
UPLOADS = ("OpenAIService/CreateTranscription", "OpenAIService/CreateTranslation")
"""What takes a form and no JSON."""

TRICKS = (
    "tenants/-",
    "tenants/",
    "tenants",
    "",
    "tenants/{other}\n",
    "tenants/{own}/../{other}",
    "/tenants/{other}",
    "tenants//{other}",
    "tenants/{own}/tenants/{other}",
    "Tenants/{other}",
)


def option(name: str, extension: Any) -> Any:
    return cast("Any", methods()[name].GetOptions()).Extensions[extension]


def scope_of(name: str) -> str:
    return option(name, authorization_pb2.required_scope)


def tenant_field(name: str) -> str:
    return option(name, authorization_pb2.tenant_field)


def is_platform(name: str) -> bool:
    return option(name, authorization_pb2.platform)


def minimal(name: str, tenant: str = "tenants/none", last: str = "thing") -> tuple[MethodDescriptor, Message]:
    """A method with the least request that its path allows."""
    method = methods()[name]
    fields = {"contentType": "multipart/form-data; boundary=x"} if name in UPLOADS else {}
    return method, message_of(method, {**placeholder(method, tenant, last), **fields})


@pytest.mark.parametrize("name", METHODS)
async def test_nobody_gets_in_without_a_key(name: str, grpc_transport: GrpcTransport, grpc_world: World) -> None:
    missing = await grpc_transport.call(*minimal(name), grpc_world.metadata("none"))
    wrong = await grpc_transport.call(*minimal(name), grpc_world.metadata("wrong"))
    if name in PUBLIC:
        assert (missing.code, wrong.code) == ("OK", "OK")
    else:
        assert (missing.code, missing.reason) == ("UNAUTHENTICATED", "API_KEY_MISSING")
        assert (wrong.code, wrong.reason) == ("UNAUTHENTICATED", "API_KEY_INVALID")


@pytest.mark.e2e
@pytest.mark.parametrize("name", METHODS)
async def test_nobody_gets_in_by_rest_without_a_key(
    name: str, rest_transport: RestTransport, rest_world: World
) -> None:
    reply = await rest_transport.call(*minimal(name))
    assert reply.http == (200 if name in PUBLIC else 401)
    wrong = await rest_transport.call(*minimal(name), rest_world.metadata("wrong"))
    assert wrong.http == (200 if name in PUBLIC else 401)


async def test_what_is_public_is_the_health() -> None:
    assert {name for name in METHODS if scope_of(name) == "public"} == PUBLIC


@pytest.mark.parametrize("name", [name for name in METHODS if name not in PUBLIC])
async def test_a_key_needs_the_scope(name: str, grpc_transport: GrpcTransport, grpc_world: World) -> None:
    scope = scope_of(name)
    assert scope
    without = "chat" if scope == "admin:read" else "reader"
    reply = await grpc_transport.call(*minimal(name), grpc_world.metadata(without))
    assert (reply.code, reply.reason) == ("PERMISSION_DENIED", "SCOPE_REQUIRED")
    assert repr(scope) in reply.message


@pytest.mark.parametrize("name", [name for name in METHODS if is_platform(name)])
async def test_what_all_share_needs_a_key_of_the_platform(
    name: str, grpc_transport: GrpcTransport, grpc_world: World
) -> None:
    reply = await grpc_transport.call(*minimal(name), grpc_world.metadata("tenant"))
    assert (reply.code, reply.reason) == ("PERMISSION_DENIED", "SCOPE_REQUIRED")
    assert "platform" in reply.message


_OF_TENANTS = [name for name in METHODS if tenant_field(name) and not is_platform(name)]


@pytest.mark.parametrize("name", _OF_TENANTS)
async def test_another_tenants_things_are_not_there(
    name: str, grpc_transport: GrpcTransport, grpc_world: World
) -> None:
    """What is another's is told in the words for what is not there, whether it is there or not."""
    key = grpc_world.metadata("foreign")
    for last in ("chat", "thing"):  # A key of that name is there, and nothing else is.
        method, message = minimal(name, grpc_world.acme, last)
        foreign = await grpc_transport.call(method, message, key)
        assert (foreign.code, foreign.reason) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
        missing = await grpc_transport.call(*minimal(name, "tenants/nowhere", last), key)
        assert (missing.code, missing.reason) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")
        assert foreign.message.replace(grpc_world.acme, "") == missing.message.replace("tenants/nowhere", "")


@pytest.mark.parametrize("name", _OF_TENANTS)
async def test_ones_own_things_are_there(name: str, grpc_transport: GrpcTransport, grpc_world: World) -> None:
    method, message = minimal(name, grpc_world.other, "foreign")
    if "Delete" in name or "Rotate" in name or "Create" in name:
        method, message = minimal(name, grpc_world.other, "thing")
    reply = await grpc_transport.call(method, message, grpc_world.metadata("foreign"))
    assert reply.code in ("OK", "UNIMPLEMENTED", "INVALID_ARGUMENT", "NOT_FOUND")
    if name in ("AdminService/GetTenant", "AdminService/ListApiKeys", "AdminService/GetApiKey"):
        assert reply.code == "OK"
    if name == "AdminService/CreateApiKey":
        await grpc_transport.call(
            methods()["AdminService/DeleteApiKey"],
            message_of(methods()["AdminService/DeleteApiKey"], {"name": reply.messages[0]["name"]}),
            grpc_world.metadata("admin"),
        )


@pytest.mark.parametrize("name", _OF_TENANTS)
async def test_no_trick_with_a_name_reaches_another_tenant(
    name: str, grpc_transport: GrpcTransport, grpc_world: World
) -> None:
    own, other = grpc_world.other.partition("/")[2], grpc_world.acme.partition("/")[2]
    for trick in TRICKS:
        method, message = minimal(name, trick.format(own=own, other=other), "chat")
        reply = await grpc_transport.call(method, message, grpc_world.metadata("foreign"))
        assert reply.code in ("NOT_FOUND", "INVALID_ARGUMENT", "UNIMPLEMENTED"), trick
        assert not reply.messages, trick


@pytest.mark.parametrize("name", METHODS)
async def test_a_method_is_built_or_says_that_it_is_not(
    name: str, grpc_transport: GrpcTransport, grpc_world: World
) -> None:
    reply = await grpc_transport.call(*minimal(name), grpc_world.metadata("admin"))
    assert reply.code not in ("UNKNOWN", "INTERNAL")
    if reply.code == "UNIMPLEMENTED":
        assert name not in BUILT
        assert reply.reason == "FEATURE_DISABLED"
        assert methods()[name].name in reply.message
    if reply.code == "OK" and "/Create" in name:
        pytest.fail("an empty request made something")


@pytest.mark.e2e
@pytest.mark.parametrize("name", METHODS)
async def test_every_method_answers_by_rest(name: str, rest_transport: RestTransport, rest_world: World) -> None:
    reply = await rest_transport.call(*minimal(name), rest_world.metadata("admin"))
    assert reply.http != 500
    assert reply.http in (200, 400, 404, 409, 501)
    assert reply.headers["content-type"].startswith(("application/json", "text/event-stream"))
    if reply.http == 501:
        assert name not in BUILT


STRANGERS = (
    "/llmgateway.v1.AdminService/Nope",
    "/llmgateway.v1.Nope/GetTenant",
    "/grpc.channelz.v1.Channelz/GetServers",
    "/grpc.health.v1.Health/Nope",
    "/x/y",
)


@pytest.mark.parametrize("path", STRANGERS)
@pytest.mark.parametrize("who", ["none", "admin"])
async def test_what_is_in_no_descriptor_is_not_there(
    path: str, who: str, grpc_world: World, grpc_transport: GrpcTransport
) -> None:
    assert await _code(grpc_world.address, path, grpc_world.metadata(who)) == grpc.StatusCode.UNIMPLEMENTED


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def apart(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, str, str]]:
    """The two addresses of a gateway that serves Admin apart, and its admin key."""
    folder = tmp_path_factory.mktemp("apart")
    async with served_gateway(folder, grpc_address="0.0.0.0:50051") as gateway:
        assert gateway.address != gateway.admin_address
        yield gateway.address, gateway.admin_address, gateway.key


REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


@pytest.mark.parametrize("name", METHODS)
async def test_where_admin_is_apart_the_public_address_has_none_of_it(name: str, apart: tuple[str, str, str]) -> None:
    public, admin, key = apart
    method = methods()[name]
    path = f"/{method.containing_service.full_name}/{method.name}"
    metadata = (("authorization", f"Bearer {key}"),)
    unimplemented = await _code(public, path, metadata) == grpc.StatusCode.UNIMPLEMENTED
    if name.startswith("AdminService/"):
        assert unimplemented
        assert name not in BUILT or await _code(admin, path, metadata) != grpc.StatusCode.UNIMPLEMENTED
    elif name in BUILT:
        assert not unimplemented


async def test_where_admin_is_apart_so_is_reflection(apart: tuple[str, str, str]) -> None:
    public, admin, key = apart
    metadata = (("authorization", f"Bearer {key}"),)
    assert await _code(public, REFLECTION, metadata) == grpc.StatusCode.UNIMPLEMENTED
    assert await _code(admin, REFLECTION, metadata) == grpc.StatusCode.OK
    assert await _code(admin, REFLECTION, ()) == grpc.StatusCode.UNAUTHENTICATED


async def _code(address: str, path: str, metadata: Sequence[tuple[str, str]]) -> grpc.StatusCode:
    """How a call with nothing in it ends."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = cast("Any", channel.stream_stream(path)(iter(()), metadata=tuple(metadata), timeout=5))
        if path != REFLECTION:
            call = channel.unary_stream(path)(b"", metadata=tuple(metadata), timeout=5)
        try:
            async for _ in call:
                pass
        except grpc.aio.AioRpcError as error:
            return error.code()
        return await call.code()
