"""Sound and pictures in OpenAI's dialect: speech heard, speech spoken, pictures made."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import cast

import orjson
from google.protobuf.duration_pb2 import Duration

from llmgateway.v1.chat_service_pb2 import Serving
from llmgateway.v1.content_service_pb2 import (
    GeneratedImage,
    GenerateImagesRequest,
    GenerateImagesResponse,
    SynthesizeSpeechRequest,
    SynthesizeSpeechResponse,
    TimedText,
    TranscribeAudioRequest,
    TranscribeAudioResponse,
)
from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.operations import OperationCall
from llmgateway_server.providers.exchange import content_type_of
from llmgateway_server.providers.failures import protocol_error
from llmgateway_server.providers.json_values import (
    UNREADABLE,
    Json,
    Malformed,
    details_of,
    json_objects,
    json_text,
    text_of,
)
from llmgateway_server.providers.multipart import FormField, form_body
from llmgateway_server.providers.omissions import Omissions
from llmgateway_server.providers.openai_operation import (
    add_options,
    post,
    post_json,
    read_failure,
    read_object,
    unreadable,
    usage_of,
    vendor_with,
)
from llmgateway_server.providers.vendors import Operation
from llmgateway_server.providers.wire import Headers, HttpRequest

SPEECH_TYPES: Mapping[str, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""Content types of the formats in which speech is given out."""

_EXTENSIONS: Mapping[str, str] = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/mp4": "mp4",
    "audio/m4a": "m4a",
    "audio/x-m4a": "m4a",
    "audio/webm": "webm",
    "video/webm": "webm",
    "video/mp4": "mp4",
    "audio/ogg": "ogg",
    "audio/opus": "ogg",
    "audio/flac": "flac",
}
"""Endings of file names, which is how the dialect tells the formats of sounds that it is given."""

_JSON_FORMATS = ("json", "verbose_json")
_IMAGE_TYPES: Mapping[str, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
_ONLY_BYTES = ("gpt-image", "chatgpt-image")
"""Beginnings of the names of models that answer with bytes, and refuse to be asked how."""


class Transcription:
    """Turns speech into text, in its own language or in English."""

    def encode(self, call: OperationCall) -> HttpRequest:
        request = cast("TranscribeAudioRequest", call.request)
        operation = Operation.TRANSLATIONS if request.translate else Operation.TRANSCRIPTIONS
        vendor = vendor_with(call, operation)
        omissions = Omissions(strict=request.strict)
        fields: Json = {"model": call.endpoint.upstream_model, "response_format": request.format or "json"}
        if request.prompt:
            fields["prompt"] = request.prompt
        if request.HasField("temperature"):
            fields["temperature"] = request.temperature
        if request.translate:
            for name in ("language", "timestamp_granularities"):
                if getattr(request, name):
                    omissions.ignore(name, "the provider does not take it for translations.")
        elif request.language:
            fields["language"] = request.language
        add_options(call, fields, omissions)
        form = [FormField(name, _form_text(value)) for name, value in fields.items()]
        if not request.translate:
            form += [FormField("timestamp_granularities[]", each) for each in request.timestamp_granularities]
        audio = request.audio
        name = audio.filename or f"audio.{_EXTENSIONS.get(audio.mime_type, 'wav')}"
        form.append(FormField("file", audio.data, filename=name, content_type=audio.mime_type))
        content_type, body = form_body(form)
        return post(call, vendor, operation, body, content_type, omissions)

    def decode(self, call: OperationCall, headers: Headers, body: bytes) -> TranscribeAudioResponse:
        request = cast("TranscribeAudioRequest", call.request)
        try:
            if (request.format or "json") in _JSON_FORMATS:
                return _transcript(read_object(body))
            if content_type_of(headers) == "text/html":
                raise protocol_error("the provider answered with HTML.")
            return TranscribeAudioResponse(text=body.decode(), serving=Serving())
        except UNREADABLE as error:
            raise unreadable() from error

    def failure(self, status: int, headers: Headers, body: bytes) -> GatewayError:
        fields = {"file": "audio", "language": "language", "prompt": "prompt", "temperature": "temperature"}
        named = {"response_format": "format", "timestamp_granularities": "timestamp_granularities"}
        return read_failure(status, body, {**fields, **named})


def _form_text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _transcript(answer: Json) -> TranscribeAudioResponse:
    response = TranscribeAudioResponse(
        text=json_text(answer.get("text")),
        language=text_of(answer, "language"),
        segments=[_timed(each, "text") for each in json_objects(answer.get("segments") or [])],
        words=[_timed(each, "word") for each in json_objects(answer.get("words") or [])],
        usage=usage_of(answer),
        serving=Serving(),
    )
    seconds = answer.get("duration", details_of(answer, "usage").get("seconds"))
    if seconds is not None:
        response.duration.CopyFrom(_duration(seconds))
    return response


def _timed(item: Json, name: str) -> TimedText:
    return TimedText(
        text=text_of(item, name), start_offset=_duration(item.get("start")), end_offset=_duration(item.get("end"))
    )


def _duration(seconds: object) -> Duration:
    """A time in seconds, which some write as text."""
    if not isinstance(seconds, (int, float, str)):
        raise Malformed
    duration = Duration()
    duration.FromMicroseconds(round(float(seconds) * 1_000_000))
    return duration


class Speech:
    """Turns text into speech."""

    def encode(self, call: OperationCall) -> HttpRequest:
        request = cast("SynthesizeSpeechRequest", call.request)
        vendor = vendor_with(call, Operation.SPEECH)
        body: Json = {"model": call.endpoint.upstream_model, "input": request.text, "voice": request.voice}
        if request.instructions:
            body["instructions"] = request.instructions
        body["response_format"] = request.format or "mp3"
        if request.HasField("speed"):
            body["speed"] = request.speed
        return post_json(call, vendor, Operation.SPEECH, body, Omissions(strict=request.strict))

    def decoder(self, call: OperationCall, headers: Headers) -> _Sound:
        request = cast("SynthesizeSpeechRequest", call.request)
        told = content_type_of(headers)
        if told.startswith("audio/"):
            return _Sound(told)
        if told in ("", "application/octet-stream"):
            return _Sound(SPEECH_TYPES[request.format or "mp3"])
        raise protocol_error(f"the provider answered with the content type {told[:80]!r}.")

    def failure(self, status: int, headers: Headers, body: bytes) -> GatewayError:
        fields = {"input": "text", "voice": "voice", "instructions": "instructions"}
        return read_failure(status, body, {**fields, "response_format": "format", "speed": "speed"})


class _Sound:
    """One sound on its way through. The bytes themselves say nothing of whether they are all."""

    def __init__(self, mime_type: str) -> None:
        self._mime_type = mime_type
        self._begun = False

    def feed(self, data: bytes) -> SynthesizeSpeechResponse:
        if self._begun:
            return SynthesizeSpeechResponse(data=data)
        self._begun = True
        return SynthesizeSpeechResponse(data=data, mime_type=self._mime_type)

    def end(self) -> SynthesizeSpeechResponse:
        if not self._begun:
            raise protocol_error("the provider answered with no sound at all.")
        return SynthesizeSpeechResponse(serving=Serving())


class GeneratedImages:
    """Makes pictures."""

    def encode(self, call: OperationCall) -> HttpRequest:
        request = cast("GenerateImagesRequest", call.request)
        vendor = vendor_with(call, Operation.IMAGES)
        omissions = Omissions(strict=request.strict)
        model = call.endpoint.upstream_model
        body: Json = {"model": model, "prompt": request.prompt}
        if request.HasField("count"):
            body["n"] = request.count
        for name in ("size", "quality", "style"):
            if value := getattr(request, name):
                body[name] = value
        if not model.startswith(_ONLY_BYTES):
            body["response_format"] = "url" if request.as_url else "b64_json"
        elif request.as_url:
            omissions.ignore("as_url", "the model gives pictures as bytes only.")
        if request.end_user:
            if vendor.profile.end_user:
                body["user"] = request.end_user
            else:
                omissions.ignore("end_user", "the provider takes no end user.")
        return post_json(call, vendor, Operation.IMAGES, body, omissions)

    def decode(self, call: OperationCall, headers: Headers, body: bytes) -> GenerateImagesResponse:
        answer = read_object(body)
        try:
            mime_type = _IMAGE_TYPES.get(text_of(answer, "output_format") or "png", "")
            images = [_image(each, mime_type) for each in json_objects(answer.get("data"))]
        except UNREADABLE as error:
            raise unreadable() from error
        if not images:
            raise unreadable()
        return GenerateImagesResponse(images=images, usage=usage_of(answer), serving=Serving())

    def failure(self, status: int, headers: Headers, body: bytes) -> GatewayError:
        fields = {name: name for name in ("prompt", "size", "quality", "style")}
        return read_failure(status, body, {**fields, "n": "count", "response_format": "as_url", "user": "end_user"})


def _image(item: Json, mime_type: str) -> GeneratedImage:
    image = GeneratedImage(revised_prompt=text_of(item, "revised_prompt"))
    if encoded := text_of(item, "b64_json"):
        try:
            image.image.data = b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise Malformed from error
        image.image.mime_type = mime_type
    else:
        image.image.url = json_text(item.get("url"))
    return image
