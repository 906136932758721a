"""What tests of several folders share."""

import secrets
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.gateway import Gateway, running_gateway
from tests.support.simulators import SimulatorProcess, simulator

# A busy machine is slow at times, which says nothing of the example that is under test.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

SIMULATOR_KEY = secrets.token_hex(16)


@pytest.fixture(scope="session")
def openai_simulator() -> Iterator[SimulatorProcess]:
    """A process that speaks OpenAI's API, behind the model `simulated/chat` of the gateway."""
    with simulator("tests.support.openai_simulator", "--key", SIMULATOR_KEY) as running:
        yield running


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, openai_simulator: SimulatorProcess) -> Iterator[Gateway]:
    """One gateway for all tests of the session, with the built-in provider and the simulated one.

    Tests leave it as they found it. One that stops it, or needs other settings, runs its own.
    """
    resources = {
        "providers": [
            {
                "name": "providers/simulated",
                "wire_format": "openai",
                "base_url": openai_simulator.url,
                "credential": "env:SIMULATOR_KEY",
                "serves_unlisted_models": True,
            }
        ],
        "models": [{"name": "models/simulated/chat", "owner": "simulator"}],
        "deployments": [
            {
                "name": "deployments/simulated-chat",
                "model": "models/simulated/chat",
                "provider": "providers/simulated",
                "upstream_model": "gpt-sim",
            }
        ],
    }
    folder = tmp_path_factory.mktemp("gateway")
    environment = {"SIMULATOR_KEY": SIMULATOR_KEY}
    with running_gateway(folder, configuration={"resources": resources}, environment=environment) as running:
        yield running
