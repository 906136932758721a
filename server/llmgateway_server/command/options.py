"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

API_KEY_VARIABLE = "LLMGATEWAY_API_KEY"
"""The environment variable in which clients have their key."""

ConfigFile = Annotated[
    str, typer.Option("--config", metavar="FILE", help="The settings file, instead of what LLMGATEWAY_CONFIG names.")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
ApiKey = Annotated[
    str,
    typer.Option(
        metavar="KEY", envvar=API_KEY_VARIABLE, help="The key to call with. An option shows in lists of processes."
    ),
]
Plaintext = Annotated[
    bool, typer.Option("--plaintext", help="Send the key unencrypted to an address that is not of this machine.")
]
