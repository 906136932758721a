"""Gemini as a server of its own: real HTTP, real framing, real refusals, scripted by the test.

`python -m tests.support.gemini_simulator` prints its port and serves until it is told to end: the Gemini API under
`/v1` and `/v1beta`, and Vertex AI under `/v1/projects/...`. Without a script it answers with the words of the last
user message. How it is scripted is told in `simulation.py`. Models of the third generation sign their calls, and want
the signatures back.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, cast

from aiohttp import web

from llmgateway_server.providers.schema_instance import instance_of
from tests.support.simulation import WORDS, Entry, Json, Play, Refused, Script, Simulator, run

MODELS = ("gemini-2.5-sim", "gemini-3-sim")
_FIELDS = frozenset(
    [
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "safetySettings",
        "cachedContent",
        "labels",
        "generationConfig",
        "serviceTier",
        "x_sim_script",
    ]
)
_CONFIG_FIELDS = frozenset(
    [
        "temperature",
        "topP",
        "topK",
        "candidateCount",
        "maxOutputTokens",
        "stopSequences",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "responseModalities",
        "seed",
        "presencePenalty",
        "frequencyPenalty",
        "responseLogprobs",
        "logprobs",
        "thinkingConfig",
        "mediaResolution",
        "speechConfig",
    ]
)
_PART_DATA = frozenset(["text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode"])
_BYPASS = "skip_thought_signature_validator"
_FETCHED = ("gs://", "https://generativelanguage.googleapis.com/", "https://www.youtube.com/")
_MAX_STOPS = 5
_SPELLED = {
    "include_thoughts": "includeThoughts",
    "thinking_budget": "thinkingBudget",
    "thinking_level": "thinkingLevel",
}


class GeminiSimulator(Simulator):
    """The API."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self._signatures = {_standard(_BYPASS)}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/{version:v1|v1beta}/models", self._models),
            web.post("/{version:v1|v1beta}/models/{model}:{method}", self.answer),
            web.post(
                "/v1/projects/{project}/locations/{location}/publishers/google/models/{model}:{method}", self.answer
            ),
        ]

    def headers(self, number: int) -> dict[str, str]:
        return {"server": "scaffolding on HTTPServer2", "server-timing": f"gfet4t7; dur={number}"}

    def check(self, request: web.Request, body: Any) -> None:
        self._authorize(request)
        model, method = request.match_info["model"], request.match_info["method"]
        if model not in MODELS:
            text = f"models/{model} is not found for API version v1beta, or is not supported for {method}."
            raise _refused(404, "NOT_FOUND", text)
        if method == "streamGenerateContent" and request.query.get("alt") != "sse":
            raise _refused(501, "UNIMPLEMENTED", "The simulator streams server-sent events only.")
        if not isinstance(body, dict):
            raise _refused(400, "INVALID_ARGUMENT", "Invalid JSON payload received.")
        _check(model, cast("Json", body), self._signatures)

    def play(self, request: web.Request, entry: Entry, script: Script) -> Play:
        play = _ContentPlay(request, entry, script, self.headers(entry.number))
        play.model = request.match_info["model"]
        self._signatures.add(_standard(play.signature))
        return play

    async def _models(self, request: web.Request) -> web.Response:
        try:
            self._authorize(request)
        except Refused as refused:
            return web.json_response(refused.body, status=refused.status)
        models = [
            {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": ["generateContent"]}
            for name in MODELS
        ]
        return web.json_response({"models": models})

    def _authorize(self, request: web.Request) -> None:
        if "key" in request.query:
            raise _refused(400, "INVALID_ARGUMENT", "The simulator takes keys in a header only.")
        if "project" in request.match_info:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            if scheme != "Bearer" or (self.key and token != self.key):
                raise _refused(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
            return
        key = request.headers.get("x-goog-api-key", "")
        if not key:
            raise _refused(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
        if self.key and key != self.key:
            reason = {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
            }
            raise _refused(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", reason)


class _ContentPlay(Play):
    """Answers a conversation."""

    stream_type = "text/event-stream"
    malformed = b'data: {"candidates": [\r\n\r\n'
    comment = b": keep-alive\r\n\r\n"
    model = ""

    @property
    def signature(self) -> str:
        """What signs the answer to this request."""
        return self.script.signature or b64encode(f"signature {self.entry.number} ÿþ".encode()).decode()

    def streams(self) -> bool:
        return self.entry.path.endswith(":streamGenerateContent")

    def error(self, error: Json | None) -> Json:
        return {"error": error or {"code": self.script.status, "message": "No.", "status": "UNKNOWN"}}

    def error_frame(self) -> bytes:
        return _frame({"error": {"code": 500, "message": "An internal error has occurred.", "status": "INTERNAL"}})

    def last_frame(self) -> bytes:
        return b""

    def whole(self) -> Json:
        if self.script.refusal:
            return self._blocked()
        parts = [*self._thoughts(), *([{"text": text}] if (text := self._text()) else []), *self._calls()]
        if self._signs() and not self._calls():
            parts[-1]["thoughtSignature"] = self.signature
        candidate = {**self._candidate(parts), **self._logprobs(self._text()), "finishReason": self._finish_reason()}
        return self._frame_of(candidate)

    def frames(self) -> Iterator[bytes]:
        return map(_frame, self._chunks())

    def _chunks(self) -> Iterator[Json]:
        if self.script.refusal:
            yield self._blocked()
            return
        for thought in self._thoughts():
            for word in WORDS.findall(thought["text"]):
                yield self._frame_of(self._candidate([{"text": word, "thought": True}]))
        for piece in self.text_pieces(self._text()):
            yield self._frame_of({**self._candidate([{"text": piece}]), **self._logprobs(piece)})
        for call in self._calls():
            yield self._frame_of(self._candidate([call]))
        if self.script.how != "no_finish":
            last: Json = {"text": ""}
            if self._signs() and not self._calls():
                last["thoughtSignature"] = self.signature
            yield self._frame_of({**self._candidate([last]), "finishReason": self._finish_reason()})

    def _frame_of(self, candidate: Json) -> Json:
        return {"candidates": [candidate], **self._common()}

    def _common(self) -> Json:
        return {
            "usageMetadata": self._usage(),
            "modelVersion": f"{self.model}-001",
            "responseId": f"sim{self.entry.number}",
        }

    def _blocked(self) -> Json:
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": []}, **self._common()}

    def _candidate(self, parts: list[Json]) -> Json:
        return {"content": {"parts": parts, "role": "model"}, "index": 0}

    def _signs(self) -> bool:
        return self.model.startswith("gemini-3")

    def _thoughts(self) -> list[Json]:
        shown = _thinking(self._config()).get("includeThoughts")
        return [{"text": self.script.reasoning, "thought": True}] if shown and self.script.reasoning else []

    def _text(self) -> str:
        script = self.script
        if script.chunks is not None:
            return "".join(script.chunks)
        if script.text is not None:
            return script.text
        if self._calls():
            return ""
        config = self._config()
        if schema := config.get("responseJsonSchema") or config.get("responseSchema"):
            return json.dumps(instance_of(schema))
        if config.get("responseMimeType") == "application/json":
            return json.dumps({"echo": self._said()})
        return self._said()

    def _said(self) -> str:
        """The text of the last user turn that has one."""
        for content in reversed(self.body["contents"]):
            if content.get("role") != "model" and (text := "".join(part.get("text", "") for part in content["parts"])):
                return text
        return ""

    def _config(self) -> Json:
        return self.body.get("generationConfig") or {}

    def _calls(self) -> list[Json]:
        parts: list[Json] = []
        for index, call in enumerate(self.script.tool_calls or self._forced_calls()):
            made: Json = {"name": call["name"], "args": call.get("arguments", {})}
            if self._signs():
                made["id"] = call.get("id", f"s{self.entry.number:04}{index:03}")
            parts.append({"functionCall": made})
        if parts and self._signs():
            parts[0]["thoughtSignature"] = self.signature
        return parts

    def _forced_calls(self) -> list[Json]:
        calling = (self.body.get("toolConfig") or {}).get("functionCallingConfig") or {}
        if self.script.text is not None or calling.get("mode") != "ANY":
            return []
        declared = [each for tool in self.body["tools"] for each in tool.get("functionDeclarations", [])]
        allowed = calling.get("allowedFunctionNames") or [each["name"] for each in declared]
        function = next(each for each in declared if each["name"] in allowed)
        schema = function.get("parametersJsonSchema") or function.get("parameters") or {}
        return [{"name": function["name"], "arguments": instance_of(schema)}]

    def _finish_reason(self) -> str:
        return self.script.finish_reason or "STOP"

    def _usage(self) -> Json:
        if self.script.usage is not None:
            return self.script.usage
        prompt = len(json.dumps(self.body["contents"]).split())
        answered = len(WORDS.findall(self._text())) + 5 * len(self._calls())
        thought = len(WORDS.findall(self.script.reasoning or ""))
        return {
            "promptTokenCount": prompt,
            "candidatesTokenCount": answered,
            "thoughtsTokenCount": thought,
            "totalTokenCount": prompt + answered + thought,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
        }

    def _logprobs(self, text: str) -> Json:
        if not self._config().get("responseLogprobs") or not text:
            return {}
        chosen = [{"token": word, "tokenId": 1, "logProbability": -0.1} for word in WORDS.findall(text)]
        top = [{"candidates": [token] * self._config().get("logprobs", 0)} for token in chosen]
        return {"logprobsResult": {"chosenCandidates": chosen, "topCandidates": top}}


def _frame(value: Json) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\r\n\r\n"


def _refused(status: int, word: str, message: str, *details: Json) -> Refused:
    error: Json = {"code": status, "message": message, "status": word}
    if details:
        error["details"] = list(details)
    return Refused(status, {"error": error})


def _invalid(message: str) -> Refused:
    return _refused(400, "INVALID_ARGUMENT", message)


def _check(model: str, body: Json, signatures: set[str]) -> None:
    """Refuses what Gemini refuses."""
    config: Json = body.get("generationConfig") or {}
    for names, known, where in ((body, _FIELDS, ""), (config, _CONFIG_FIELDS, " at 'generation_config'")):
        for name in names:
            if name not in known:
                raise _invalid(f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.')
    _check_config(model, config, has_tools=bool(body.get("tools")))
    contents: list[Json] = body.get("contents") or []
    if not contents:
        raise _invalid("* GenerateContentRequest.contents: contents is not specified")
    for content in contents:
        _check_content(content)
    contents = _merged(contents)
    _check_calls(contents)
    if model.startswith("gemini-3"):
        _check_signatures(contents, signatures)


def _check_config(model: str, config: Json, *, has_tools: bool) -> None:
    thinking = _thinking(config)
    if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
        raise _invalid("You can only set only one of thinking budget and thinking level.")
    second = model.startswith("gemini-2")
    if second and "thinkingLevel" in thinking:
        raise _invalid("Thinking level is not supported for this model.")
    if second and has_tools and config.get("responseMimeType") == "application/json":
        raise _invalid("Function calling with a response mime type: 'application/json' is unsupported")
    if ("responseSchema" in config or "responseJsonSchema" in config) and "responseMimeType" not in config:
        raise _invalid("Response schema needs a response mime type: 'application/json'")
    if len(config.get("stopSequences", ())) > _MAX_STOPS:
        raise _invalid(f"The number of stop sequences exceeds the limit of {_MAX_STOPS}.")


def _thinking(config: Json) -> Json:
    """How much to think. Names may be spelled either way, and the SDK spells these as the protos do."""
    thinking: Json = config.get("thinkingConfig") or {}
    return {_SPELLED.get(name, name): value for name, value in thinking.items()}


def _check_content(content: Json) -> None:
    if content.get("role", "user") not in ("user", "model"):
        raise _invalid("Please use a valid role: user, model.")
    parts: list[Json] = content.get("parts") or []
    if not parts:
        raise _invalid("* GenerateContentRequest.contents: parts must not be empty.")
    for part in parts:
        if len(_PART_DATA & part.keys()) != 1:
            raise _invalid("required oneof field 'data' must have one initialized field")
        if "fileData" in part and not part["fileData"]["fileUri"].startswith(_FETCHED):
            raise _invalid("Cannot fetch content from the provided URL.")
        for name, value in (("functionCall", "args"), ("functionResponse", "response")):
            if name in part and not isinstance(part[name].get(value, {}), dict):
                raise _invalid(f"Invalid value at '{name}.{value}' (type.googleapis.com/google.protobuf.Struct)")


def _merged(contents: list[Json]) -> list[Json]:
    """Neighbours of one role as one turn. The SDK keeps each frame of a stream as a content of its own."""
    turns: list[Json] = []
    for content in contents:
        role = content.get("role", "user")
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += content["parts"]
        else:
            turns.append({"role": role, "parts": list(content["parts"])})
    return turns


def _check_calls(contents: list[Json]) -> None:
    """All results of a turn follow it in one content: as many as there were calls, by name and in their order."""
    for before, after in zip([{"parts": []}, *contents], [*contents, {"parts": []}], strict=True):
        called = [part["functionCall"] for part in before["parts"] if "functionCall" in part]
        answered = [part["functionResponse"] for part in after["parts"] if "functionResponse" in part]
        if [(call["name"], call.get("id")) for call in called] != [(each["name"], each.get("id")) for each in answered]:
            raise _invalid(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )


def _standard(signature: str) -> str:
    """A signature in the standard alphabet of base64. The SDK sends it in the one for addresses."""
    return signature.translate(str.maketrans("-_", "+/"))


def _check_signatures(contents: list[Json], signatures: set[str]) -> None:
    for content in contents:
        for part in content["parts"]:
            if _standard(part.get("thoughtSignature", _BYPASS)) not in signatures:
                raise _invalid("Thought signature is not valid.")
        first = next((part for part in content["parts"] if "functionCall" in part), None)
        if first is not None and "thoughtSignature" not in first:
            raise _invalid("Function call is missing a thought_signature in functionCall parts.")


if __name__ == "__main__":
    run(GeminiSimulator, __doc__)
