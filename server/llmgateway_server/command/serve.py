"""`serve`: the gateway itself."""

from __future__ import annotations

from typing import Annotated

import typer

from llmgateway_server.command.options import ConfigFile
from llmgateway_server.command.report import one_line


def serve(
    no_edge: Annotated[bool, typer.Option("--no-edge", help="Serve gRPC alone, without Envoy and REST.")] = False,
    grpc_address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where gRPC is served.")] = "",
    rest_address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where Envoy serves REST.")] = "",
    config: ConfigFile = "",
) -> None:
    """Run the gateway until Ctrl-C or SIGTERM."""
    from llmgateway_server.settings import SettingsError, load

    overrides: dict[str, str | bool] = {}
    if no_edge:
        overrides["edge"] = False
    if grpc_address:
        overrides["grpc_address"] = grpc_address
    if rest_address:
        overrides["rest_address"] = rest_address
    with one_line(SettingsError):
        settings = load(config, **overrides)

    from llmgateway_server.admin.desired import DesiredError
    from llmgateway_server.edge import EdgeError
    from llmgateway_server.errors import GatewayError
    from llmgateway_server.serve import StartError, run
    from llmgateway_server.storage import DatabaseRefused
    from llmgateway_server.telemetry import logs

    logs.configure(settings.logging.level, settings.logging.format)
    with one_line(StartError, EdgeError, DatabaseRefused, DesiredError, GatewayError):
        raise typer.Exit(run(settings))
