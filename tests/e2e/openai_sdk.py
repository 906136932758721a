"""Runs requests through OpenAI's SDKs for Python and Node, and gives what came out in one shape."""

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import openai

from tests.support.tools import NODE, ROOT, install_node_modules

Json = Any
"""Any JSON value, as the SDK gave it."""

_NODE_PACKAGE = ROOT / "clients" / "examples" / "openai_node"
_NODE_RUNNER = Path(__file__).with_name("openai_sdk.mjs")


@dataclass(frozen=True, slots=True)
class Scene:
    """One request."""

    kind: str
    """`whole`, `stream` (its chunks), `accumulate` (what the SDK makes of them), `list` or `retrieve` (models)."""
    key: str = field(repr=False)
    body: dict[str, Json]


Outcomes = dict[str, Json]
"""By scene: an answer, a list of chunks or models, or `{"error": class, "status", "code", "param", "type"}`."""


def run_python(url: str, scenes: Mapping[str, Scene]) -> Outcomes:
    """Runs the scenes through the SDK for Python."""
    return {name: _run(url, scene) for name, scene in scenes.items()}


def run_node(url: str, scenes: Mapping[str, Scene]) -> Outcomes:
    """Runs the scenes through the SDK for Node, all at once; skips the test where it cannot be installed."""
    install_node_modules(_NODE_PACKAGE)
    question = {
        "package": f"{_NODE_PACKAGE}/",
        "baseURL": url,
        "scenes": {name: asdict(scene) for name, scene in scenes.items()},
    }
    finished = subprocess.run(
        [NODE, _NODE_RUNNER], input=json.dumps(question), capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


RUNNERS: Mapping[str, Callable[[str, Mapping[str, Scene]], Outcomes]] = {"python": run_python, "node": run_node}


def _run(url: str, scene: Scene) -> Json:
    with openai.OpenAI(base_url=url, api_key=scene.key, max_retries=0, timeout=20) as client:
        try:
            return _KINDS[scene.kind](client, dict(scene.body))
        except openai.APIStatusError as error:
            return {
                "error": type(error).__name__,
                "status": error.status_code,
                "code": error.code,
                "param": error.param,
                "type": error.type,
            }


def _whole(client: openai.OpenAI, body: dict[str, Json]) -> Json:
    return client.chat.completions.create(**_arguments(body)).model_dump(mode="json")


def _stream(client: openai.OpenAI, body: dict[str, Json]) -> Json:
    with client.chat.completions.create(**_arguments(body), stream=True) as chunks:
        return [chunk.model_dump(mode="json") for chunk in chunks]


def _accumulate(client: openai.OpenAI, body: dict[str, Json]) -> Json:
    with client.chat.completions.stream(**_arguments(body)) as stream:
        return stream.get_final_completion().model_dump(mode="json")


def _list(client: openai.OpenAI, _: dict[str, Json]) -> Json:
    return [model.model_dump(mode="json") for model in client.models.list()]


def _retrieve(client: openai.OpenAI, body: dict[str, Json]) -> Json:
    return client.models.retrieve(body["model"]).model_dump(mode="json")


_KINDS: Mapping[str, Callable[[openai.OpenAI, dict[str, Json]], Json]] = {
    "whole": _whole,
    "stream": _stream,
    "accumulate": _accumulate,
    "list": _list,
    "retrieve": _retrieve,
}


def _arguments(body: dict[str, Json]) -> dict[str, Json]:
    """The body as arguments: what the SDK does not know goes into `extra_body`."""
    options = body.pop("provider_options", None)
    return body if options is None else {**body, "extra_body": {"provider_options": options}}
