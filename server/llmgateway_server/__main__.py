"""The command `llm-gateway`, also run by `python -m llmgateway_server`."""

from __future__ import annotations

import io
import logging
import os
import sys

import typer

from llmgateway_server.command import chat, config, keys, migrate, models, serve, version

app = typer.Typer(
    help="LLM Gateway: one server between many applications and many LLM providers.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # help and errors of usage are plain everywhere, and fast
    pretty_exceptions_enable=False,  # they show local variables, and secrets among them
)


@app.callback()
def begin() -> None:
    """Prepares what all commands need."""
    # Only `serve` writes logs, and says where. Elsewhere the outcome is all that a person sees.
    logging.basicConfig(handlers=[logging.NullHandler()])


app.command()(serve.serve)
app.command()(migrate.migrate)
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="models")
app.command()(chat.chat)
app.add_typer(config.app, name="config")
app.command()(version.version)


def main() -> None:
    """Runs the command and exits."""
    # gRPC's core writes lines of its own to standard error. What they say is in the errors that it raises.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character is no reason to fail
    app(prog_name="llm-gateway")


if __name__ == "__main__":
    main()
