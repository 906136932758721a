"""`chat`: a conversation in the terminal, with the answer as it comes."""

from __future__ import annotations

import sys
from contextlib import closing, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from llmgateway_server.command.options import ApiKey, ConfigFile, Plaintext
from llmgateway_server.command.report import Mistake, note, one_line, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmgateway_server.command.conversation import Conversation
    from llmgateway_server.command.gateway import Gateway


def chat(
    message: Annotated[
        str, typer.Argument(metavar="[MESSAGE]", help="What to say. Without it: what is piped in, or a conversation.")
    ] = "",
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME", help="What answers.", show_default=True)
    ] = "fake/echo",
    system: Annotated[str, typer.Option(metavar="TEXT", help="Instructions for the model.")] = "",
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the gateway speaks gRPC.  [default: as configured]")
    ] = "",
    api_key: ApiKey = "",
    plaintext: Plaintext = False,
    config: ConfigFile = "",
) -> None:
    """Chat with a model through a running gateway.

    Ctrl-C stops an answer, Ctrl-D leaves. The answer goes to standard output, all else to standard error.
    """
    from llmgateway_server.command.conversation import Conversation
    from llmgateway_server.command.gateway import connected
    from llmgateway_server.errors import GatewayError
    from llmgateway_server.settings import SettingsError, load

    with one_line(Mistake, SettingsError, GatewayError):
        where = address or load(config).grpc_address
        interactive = not message and sys.stdin.isatty() and sys.stdout.isatty()
        text = message if message or interactive else _piped()
        with connected(where, api_key, plaintext=plaintext) as gateway:
            conversation = Conversation(model, system)
            if interactive:
                note(f"{model} at {gateway.where}. Ctrl-C stops an answer, Ctrl-D leaves.")
                converse(gateway, conversation, _prompt())
            else:
                answer(gateway, conversation, text)


def converse(gateway: Gateway, conversation: Conversation, read: Callable[[], str]) -> None:
    """Answers what `read` returns until it raises `EOFError`. What goes wrong ends an answer, not the conversation."""
    from llmgateway_server.errors import GatewayError

    while True:
        try:
            text = read()
        except EOFError:
            typer.echo()
            return
        except KeyboardInterrupt:
            typer.echo()
            continue
        if not text.strip():
            continue
        try:
            answer(gateway, conversation, text)
        except KeyboardInterrupt:
            note("Stopped. This turn is forgotten.")
        except (Mistake, GatewayError) as error:
            report(error)


def answer(gateway: Gateway, conversation: Conversation, text: str) -> None:
    """Says a text, and writes the answer as it comes. An answer that broke off is not kept in the conversation."""
    from llmgateway_server.command.conversation import Screen, summary
    from llmgateway_server.events import Fold, broken
    from llmgateway_server.system import SystemClock

    request = conversation.request(text)
    clock, fold, screen = SystemClock(), Fold(), Screen()
    started = clock.monotonic()
    try:
        with closing(gateway.stream_chat(request)) as events:
            for event in events:
                if event.HasField("failed"):
                    continue  # the status of the call says the same
                fold.add(event)
                if event.HasField("part_delta"):
                    screen.write(event.part_delta)
    finally:
        screen.end()
    if not fold.done:
        raise broken("the answer ended without its last event; ask again.")
    conversation.keep(request, fold.response.message)
    for line in summary(fold.response, clock.monotonic() - started):
        note(line)


def _piped() -> str:
    """What was piped in."""
    try:
        text = sys.stdin.read()
    except UnicodeDecodeError as error:
        raise Mistake("what was piped in is not UTF-8 text") from error
    if not text.strip():
        raise Mistake("there is nothing to say; give a MESSAGE, or pipe one in")
    return text


def _prompt() -> Callable[[], str]:
    """Reads lines from the terminal, which can be edited and called back where the system has readline."""
    with suppress(ImportError):
        import_module("readline")  # input() uses it once it is there
    return lambda: input("> ")
