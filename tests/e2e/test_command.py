"""The command in processes of its own, as people and scripts run it."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self, cast

import grpc
import pytest

from llmgateway.v1 import admin_service_pb2, admin_service_pb2_grpc
from llmgateway.v1.admin_resources_pb2 import UsageRecord
from llmgateway.v1.routing_service_pb2 import Attempt
from tests.support.gateway import Gateway, running_gateway

pytestmark = pytest.mark.e2e

COMMAND = (sys.executable, "-m", "llmgateway_server")
SLOW = {"text": "alpha beta gamma delta epsilon " * 20, "delay_ms": 100}
CONFIGURATION = {
    "resources": {
        "providers": [{"name": "providers/slow", "wire_format": "fake", "script": json.dumps(SLOW)}],
        "models": [{"name": "models/slow/talk", "price": {"input": 1_000_000_000, "output": 2_000_000_000}}],
        "deployments": [
            {
                "name": "deployments/slow",
                "model": "models/slow/talk",
                "provider": "providers/slow",
                "upstream_model": "talk",
            }
        ],
    }
}
_SECONDS = 30.0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with a model that takes its time."""
    with running_gateway(tmp_path_factory.mktemp("command"), configuration=CONFIGURATION) as running:
        yield running


@pytest.fixture
def environment(gateway: Gateway, tmp_path: Path) -> dict[str, str]:
    """The environment of an operator who works beside the gateway."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LLMGATEWAY_") and not name.endswith("_API_KEY")
    }
    return {
        **clean,
        "LLMGATEWAY_DATABASE_URL": f"sqlite:///{gateway.log.parent / 'gateway.db'}",
        "LLMGATEWAY_GRPC_ADDRESS": gateway.grpc_address,
        "LLMGATEWAY_REST_ADDRESS": gateway.rest_address,
        "LLMGATEWAY_API_KEY": gateway.key,
        "HOME": str(tmp_path),
        "TERM": "dumb",
    }


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Runs the command to its end, in a folder of its own. `settings` come on top of the environment."""

    def invoke(*words: str, text: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words],
            cwd=tmp_path,
            env={**environment, **settings},
            input=text,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    return invoke


def eventually(check: Callable[[], bool], *, within: float) -> None:
    """Fails unless something holds before some seconds have passed."""
    until = time.monotonic() + within
    while not check():
        assert time.monotonic() < until, f"it did not happen within {within} s"
        time.sleep(0.05)


def test_it_is_one_command_by_either_name(run: Run) -> None:
    script = Path(sys.executable).with_name("llm-gateway")
    named = subprocess.run([script, "version"], capture_output=True, text=True, check=True)
    assert run("version").stdout == named.stdout
    assert run("serve", "--help").stdout.startswith("Usage: llm-gateway serve [OPTIONS]\n")


# A user's mistakes.


_FIRST_KEY = re.compile(r"Admin key, shown this once: lgw_\S+\n")


def assert_is_one_line(ended: subprocess.CompletedProcess[str], problem: str) -> None:
    assert ended.returncode == 2
    assert not ended.stdout or _FIRST_KEY.fullmatch(ended.stdout)
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"error: {problem}")


def test_two_servers_do_not_share_a_port(run: Run, gateway: Gateway, tmp_path: Path) -> None:
    own = f"sqlite:///{tmp_path / 'own.db'}"
    quiet = {"LLMGATEWAY_DATABASE_URL": own, "LLMGATEWAY_LOGGING__LEVEL": "error"}
    failed = run("serve", **quiet)
    assert_is_one_line(failed, f"cannot listen on '{gateway.grpc_address}'; ")
    assert _FIRST_KEY.fullmatch(failed.stdout), "the key of the first start is lost, for no later one shows it"
    ended = run("serve", "--grpc-address", "127.0.0.1:0", **quiet)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"error: cannot listen on '{gateway.rest_address}'; ")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("grpc_address: [\n", "'gateway.yaml', line 2 is not YAML: "),
        ("grcp_address: 127.0.0.1:1\n", "grcp_address: there is no such setting"),
        ("limits: {metadata_bytes: 1}\n", "limits.metadata_bytes: "),
        ("resources: {models: [{name: models/x, bogus: 1}]}\n", "resources.models[0]: "),
        ("resources: {models: [{name: models/x, context_window: -1}]}\n", "resources.models[0]: "),
    ],
)
def test_a_wrong_configuration_is_named(run: Run, tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "gateway.yaml").write_text(content)
    settings = {"LLMGATEWAY_DATABASE_URL": "sqlite:///own.db", "LLMGATEWAY_LOGGING__LEVEL": "error"}
    assert_is_one_line(run("serve", "--config", "gateway.yaml", "--grpc-address", "127.0.0.1:0", **settings), problem)


def test_a_folder_that_cannot_be_written_is_named(run: Run, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("a user other than root is missing: root writes everywhere")
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    settings = {"LLMGATEWAY_DATABASE_URL": f"sqlite:///{folder / 'gateway.db'}", "LLMGATEWAY_LOGGING__LEVEL": "error"}
    assert_is_one_line(run("serve", "--grpc-address", "127.0.0.1:0", **settings), "cannot ")
    assert_is_one_line(run("migrate", **settings), "cannot ")


def test_a_machine_without_envoy_is_told_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "envoy.py").touch()  # a package of that name without what is looked for
    settings = {
        "PYTHONPATH": str(tmp_path),
        "PATH": str(tmp_path),
        "LLMGATEWAY_DATABASE_URL": "sqlite:///own.db",
        "LLMGATEWAY_LOGGING__LEVEL": "error",
    }
    assert_is_one_line(
        run("serve", "--grpc-address", "127.0.0.1:0", **settings), "There is no Envoy for the REST edge."
    )


# Keys and models, beside a running gateway.


def test_keys_changed_in_the_database_reach_the_gateway_within_two_seconds(run: Run, gateway: Gateway) -> None:
    made = json.loads(run("keys", "create", "--name", "beside", "--json").stdout)
    channel = grpc.insecure_channel(gateway.grpc_address)
    admin = admin_service_pb2_grpc.AdminServiceStub(channel)

    def code() -> grpc.StatusCode:
        try:
            admin.ListTenants(
                admin_service_pb2.ListTenantsRequest(), metadata=(("authorization", f"Bearer {made['secret']}"),)
            )
        except grpc.RpcError as error:
            return cast("grpc.Call", error).code()  # what is raised is both
        return grpc.StatusCode.OK

    with channel:
        # It is known, and lacks the scope.
        eventually(lambda: code() is grpc.StatusCode.PERMISSION_DENIED, within=2)
        assert run("keys", "revoke", made["prefix"]).returncode == 0
        eventually(lambda: code() is grpc.StatusCode.UNAUTHENTICATED, within=2)


def test_keys_changed_through_the_gateway_work_at_once(run: Run, gateway: Gateway) -> None:
    there = ("--address", gateway.grpc_address)
    secret = run("keys", "create", "--name", "through", "--quiet", *there).stdout.strip()
    assert run("chat", "Hello", LLMGATEWAY_API_KEY=secret).stdout == "Hello\n"
    listed = json.loads(run("keys", "list", "--json", *there).stdout)
    assert [key["state"] for key in listed if key["display_name"] == "through"] == ["active"]
    revoked = run("keys", "revoke", "through", *there)
    assert revoked.stdout.endswith(f" in {gateway.grpc_address}. It no longer works.\n")
    assert_is_one_line(run("chat", "Hello", LLMGATEWAY_API_KEY=secret), "API_KEY_INVALID: ")


def test_keys_through_the_gateway_need_the_scope(run: Run, gateway: Gateway) -> None:
    secret = run("keys", "create", "--quiet", "--address", gateway.grpc_address).stdout.strip()
    refused = run("keys", "list", "--address", gateway.grpc_address, LLMGATEWAY_API_KEY=secret)
    assert_is_one_line(refused, "SCOPE_REQUIRED: this key lacks the scope 'admin:read'; ")


def test_models_are_one_json_array(run: Run) -> None:
    listed = run("models", "list", "--json", LLMGATEWAY_API_KEY="")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert [model["id"] for model in json.loads(listed.stdout)] == ["fake/echo", "slow/talk"]


def test_a_reader_who_has_seen_enough_is_no_failure(environment: dict[str, str]) -> None:
    """`llm-gateway chat ... | head -c 5`, with an answer that goes on."""
    command = [*COMMAND, "chat", "-m", "slow/talk", "Talk"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert process.stdout.read(5) == b"alpha"
        process.stdout.close()
        assert process.wait(_SECONDS) == 1
        assert process.stderr.read() == b""


# Chat.


def test_an_answer_is_all_there_is_on_standard_output(run: Run) -> None:
    said = run("chat", "Good day")
    assert (said.returncode, said.stdout) == (0, "Good day\n")
    [line] = said.stderr.splitlines()
    assert line.startswith("fake/echo by fake | 2 tokens in, 2 out | $0.00 | ")
    assert run("chat", text="from\na pipe\n").stdout == "from\na pipe\n"


def test_what_goes_wrong_is_a_line(run: Run) -> None:
    assert_is_one_line(run("chat", "-m", "acme/none", "Hi"), "RESOURCE_NOT_FOUND: ")
    unreachable = run("chat", "--address", "127.0.0.1:1", "Hi")
    assert (unreachable.returncode, unreachable.stdout) == (1, "")
    assert unreachable.stderr == (
        "error: no gateway answers at '127.0.0.1:1'; "
        "start one with `llm-gateway serve`, or say where it is with --address\n"
    )


def cancelled_calls(gateway: Gateway) -> list[UsageRecord]:
    """The records of calls whose caller went away."""
    with grpc.insecure_channel(gateway.grpc_address) as channel:
        page = admin_service_pb2_grpc.AdminServiceStub(channel).ListUsageRecords(
            admin_service_pb2.ListUsageRecordsRequest(parent="tenants/default", page_size=1000),
            metadata=(("authorization", f"Bearer {gateway.key}"),),
        )
    return [
        record
        for record in page.usage_records
        if any(attempt.outcome == Attempt.OUTCOME_CANCELLED for attempt in record.attempts)
    ]


def test_ctrl_c_cancels_an_answer_up_to_the_provider(gateway: Gateway, environment: dict[str, str]) -> None:
    before = len(cancelled_calls(gateway))
    command = [*COMMAND, "chat", "-m", "slow/talk", "Talk"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert process.stdout.read(5) == b"alpha"
        process.send_signal(signal.SIGINT)
        assert process.wait(_SECONDS) == 130
        assert process.stderr.read() == b""
    eventually(lambda: len(cancelled_calls(gateway)) > before, within=10)


class Terminal:
    """The command in a terminal. Leaving it ends the command."""

    def __init__(self, *words: str, environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [*COMMAND, *words],
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def read_to(self, text: str) -> str:
        """What the command writes up to a text, and the text."""
        while text not in self._seen:
            self._seen += os.read(self._master, 4096).decode().replace("\r\n", "\n")
        before, found, self._seen = self._seen.partition(text)
        return before + found

    def read_to_the_end(self) -> tuple[str, int]:
        """What else the command writes, and its exit code."""
        with suppress(OSError):  # Linux's word for the end of a terminal
            while data := os.read(self._master, 4096):
                self._seen += data.decode().replace("\r\n", "\n")
        return self._seen, self._process.wait(_SECONDS)


def test_a_conversation_goes_on_until_ctrl_d(gateway: Gateway, environment: dict[str, str]) -> None:
    with Terminal("chat", environment=environment) as terminal:
        assert (
            terminal.read_to("> ") == f"fake/echo at {gateway.grpc_address}. Ctrl-C stops an answer, Ctrl-D leaves.\n> "
        )
        terminal.type("Good day\n")
        terminal.read_to("Good day\n")  # what was typed
        answer = terminal.read_to("> ")
        assert answer.startswith("Good day\nfake/echo by fake | 2 tokens in, 2 out | $0.00 | ")
        terminal.type("And you?\n")
        assert "fake/echo by fake | 6 tokens in, 2 out" in terminal.read_to("\n> ")  # with what was said before
        terminal.type("\x04")
        assert terminal.read_to_the_end() == ("\n", 0)


def test_ctrl_c_stops_an_answer_and_nothing_else(environment: dict[str, str]) -> None:
    with Terminal("chat", "-m", "slow/talk", environment=environment) as terminal:
        terminal.read_to("> ")
        terminal.type("Talk\n")
        terminal.read_to("beta")
        terminal.interrupt()
        stopped = terminal.read_to("> ")
        assert stopped.endswith("\nStopped. This turn is forgotten.\n> ")
        assert "Traceback" not in stopped
        terminal.interrupt()
        terminal.read_to("> ")
        terminal.type("\x04")
        assert terminal.read_to_the_end()[1] == 0
