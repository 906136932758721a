"""Starting: what an empty database gets, what a configuration changes, and what is refused."""

import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from llmgateway_server import defaults
from llmgateway_server.admin.caller import SYSTEM
from llmgateway_server.admin.desired import DesiredError
from llmgateway_server.admin.identity import Authenticator
from llmgateway_server.bootstrap import Core, open_core
from llmgateway_server.errors import Unauthenticated
from llmgateway_server.principal import Principal
from llmgateway_server.providers.vendors import USUAL_VARIABLES
from llmgateway_server.serve import announce
from llmgateway_server.settings import Settings
from tests.support.calls import resources

OWN_KEY = "lgw_" + "a" * 40
ROUTE = {"name": "routes/main", "targets": [{"model": "models/fake/echo"}]}


@pytest.fixture(autouse=True)
def _without_provider_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in USUAL_VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)


def settings_of(folder: Path, **fields: Any) -> Settings:
    return Settings(database_url=SecretStr(f"sqlite+aiosqlite:///{folder / 'gateway.db'}"), **fields)


@asynccontextmanager
async def opened(folder: Path, **fields: Any) -> AsyncGenerator[Core]:
    core = await open_core(settings_of(folder, **fields))
    try:
        yield core
    finally:
        await core.close()


def identify(core: Core, key: str) -> Principal:
    return Authenticator(lambda: core.catalogue.snapshot, core.clock).authenticate([f"Bearer {key}"])


async def test_the_first_start_makes_a_key_and_something_to_try(tmp_path: Path) -> None:
    async with opened(tmp_path) as core:
        assert core.first_start.empty
        assert identify(core, core.first_start.secret).may("platform")
        snapshot = core.catalogue.snapshot
        assert set(snapshot.providers) == {"providers/fake"}
        (served,) = snapshot.by_model["models/fake/echo"]
        assert served.problem == ""
        assert core.first_start.secret not in f"{core.first_start!r}"


async def test_a_first_start_that_fails_has_told_its_key(tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(DesiredError):
        await open_core(settings_of(tmp_path, resources={"colours": []}), on_first_key=told.append)
    async with opened(tmp_path) as core:
        assert core.first_start.secret == ""
        identify(core, told[0])


async def test_the_second_start_makes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as core:
        secret = core.first_start.secret
        await core.collections["deployments"].delete("deployments/fake-echo", caller=SYSTEM)
    async with opened(tmp_path) as core:
        assert (core.first_start.empty, core.first_start.secret) == (False, "")
        identify(core, secret)
        assert core.catalogue.snapshot.deployments == {}  # Whoever deletes it is rid of it.


async def test_an_operators_own_key_is_taken_and_never_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(tmp_path, admin_key=OWN_KEY)
    for _ in range(2):
        async with opened(tmp_path, admin_key=OWN_KEY) as core:
            assert core.first_start.secret == ""
            assert identify(core, OWN_KEY).may("platform")
            announce(settings, core)
    shown = capsys.readouterr().out
    assert OWN_KEY not in shown
    assert "$LLMGATEWAY_ADMIN_KEY" in shown


async def test_a_key_that_was_made_is_shown_once_with_a_line_to_paste(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with opened(tmp_path) as core:
        announce(core.settings, core)
        shown = capsys.readouterr().out
        assert f"Admin key, shown this once: {core.first_start.secret}" in shown
        assert f"authorization: Bearer {core.first_start.secret}" in shown
        assert "curl http://127.0.0.1:8080/v1/chat/completions" in shown
        secret = core.first_start.secret
    async with opened(tmp_path) as core:
        announce(core.settings, core)
        assert secret not in capsys.readouterr().out


async def test_another_admin_key_joins_the_first(tmp_path: Path) -> None:
    async with opened(tmp_path, admin_key=OWN_KEY):
        pass
    other = "lgw_" + "b" * 40
    async with opened(tmp_path, admin_key=other) as core:
        identify(core, OWN_KEY)
        identify(core, other)
        with pytest.raises(Unauthenticated):
            identify(core, "lgw_" + "c" * 40)


async def test_the_configuration_is_followed(tmp_path: Path) -> None:
    async with opened(tmp_path, resources={"routes": [ROUTE]}) as core:
        first = core.catalogue.snapshot.routes["routes/main"]
    async with opened(tmp_path, resources={"routes": [ROUTE]}) as core:
        assert core.catalogue.snapshot.routes["routes/main"] == first  # Not even its time has changed.
    async with opened(tmp_path, resources={"routes": [{**ROUTE, "displayName": "Main"}]}) as core:
        assert core.catalogue.snapshot.routes["routes/main"].display_name == "Main"
    async with opened(tmp_path) as core:
        assert "routes/main" in core.catalogue.snapshot.routes  # What is no longer mentioned stays.


async def test_resources_come_after_those_they_refer_to_in_whatever_order_they_are_written(tmp_path: Path) -> None:
    wanted = {
        "use_cases": [{"name": "useCases/u", "route": "routes/r"}],
        "routes": [{"name": "routes/r", "targets": [{"deployment": "deployments/d"}]}],
        "deployments": [
            {"name": "deployments/d", "model": "models/m", "provider": "providers/p", "upstreamModel": "x"}
        ],
        "models": [{"name": "models/m"}],
        "providers": [{"name": "providers/p", "wireFormat": "fake"}],
        "tenants": [{"name": "tenants/t"}],
    }
    async with opened(tmp_path, resources=wanted) as core:
        assert "useCases/u" in core.catalogue.snapshot.use_cases
        assert "tenants/t" in core.catalogue.snapshot.tenants


async def test_a_wrong_configuration_is_refused_whole_with_all_that_is_wrong(tmp_path: Path) -> None:
    before = threading.active_count()
    wanted = {
        "models": [{"name": "models/m"}, {"displayName": "no name"}],
        "routes": [{"name": "routes/r", "colour": "red"}],
        "api_keys": [{}],
    }
    with pytest.raises(DesiredError) as refusal:
        await open_core(settings_of(tmp_path, resources=wanted))
    told = str(refusal.value).splitlines()
    assert [line.partition(":")[0] for line in told] == [
        "resources.api_keys",
        "resources.models[1]",
        "resources.routes[0]",
    ]
    assert threading.active_count() <= before  # The database is closed again.
    async with opened(tmp_path) as core:
        assert "models/m" not in core.catalogue.snapshot.models


async def test_a_rule_that_is_broken_is_named_with_its_place(tmp_path: Path) -> None:
    wanted = {"routes": [ROUTE, {"name": "routes/r", "targets": [{"deployment": "deployments/none"}]}]}
    with pytest.raises(DesiredError, match=r"resources\.routes\[1\].*deployments/none"):
        await open_core(settings_of(tmp_path, resources=wanted))


async def test_a_provider_whose_key_is_at_hand_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "CaNaRy-0123456789")
    async with opened(tmp_path) as core:
        provider = core.catalogue.snapshot.providers["providers/openai"]
        assert provider.credential == "env:OPENAI_API_KEY"
        assert provider.serves_unlisted_models
        await core.collections["providers"].update(
            resources({"name": "providers/openai", "displayName": "Mine"})[0], caller=SYSTEM
        )
    async with opened(tmp_path) as core:
        assert core.catalogue.snapshot.providers["providers/openai"].display_name == "Mine"  # It is made, not kept.


async def test_what_another_process_changes_is_read_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as one, opened(tmp_path) as other:
        revision = await one.store.revision()
        await other.collections["models"].create(resources({"name": "models/m"})[0], caller=SYSTEM, resource_id="m")
        assert "models/m" in other.catalogue.snapshot.models
        assert "models/m" not in one.catalogue.snapshot.models
        assert await one.store.revision() > revision
        await one.reload()
        assert "models/m" in one.catalogue.snapshot.models


def test_what_is_served_at_first_is_well_formed() -> None:
    for items in defaults.FIRST_RESOURCES.values():
        assert resources(*items)
    assert resources(defaults.provider_from_environment("openai", "OPENAI_API_KEY"))
