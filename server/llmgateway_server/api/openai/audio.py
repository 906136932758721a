"""Sound on OpenAI's surface: uploads that are written down, and text that is spoken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.duration_pb2 import Duration

from llmgateway.v1.content_pb2 import Media
from llmgateway.v1.content_service_pb2 import (
    SynthesizeSpeechRequest,
    SynthesizeSpeechResponse,
    TimedText,
    TranscribeAudioRequest,
    TranscribeAudioResponse,
)
from llmgateway_server.api.openai import fields
from llmgateway_server.api.openai.fields import Json
from llmgateway_server.api.openai.forms import FormField, read_form
from llmgateway_server.api.openai.operations import OperationBody, OperationDialect, pass_unknown
from llmgateway_server.api.openai.request import parse_body
from llmgateway_server.errors import invalid_field, unsupported

_TEXTS = ("text", "srt", "vtt")
"""Formats of transcripts that are no JSON."""

_TYPES: Mapping[str, str] = {
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "mp4": "audio/mp4",
    "mpeg": "audio/mpeg",
    "mpga": "audio/mpeg",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "wav": "audio/wav",
    "webm": "audio/webm",
}
"""Types of files by their endings, for uploads that do not say theirs."""

_LISTS = ("timestamp_granularities", "include", "known_speaker_names", "known_speaker_references")
"""Fields of the form that may occur several times, with brackets behind their names."""


def _read_transcription(sent: HttpBody) -> OperationBody[TranscribeAudioResponse]:
    return _read_upload(sent, translate=False)


def _read_translation(sent: HttpBody) -> OperationBody[TranscribeAudioResponse]:
    return _read_upload(sent, translate=True)


def _read_upload(sent: HttpBody, *, translate: bool) -> OperationBody[TranscribeAudioResponse]:
    audio, body = _split(read_form(sent.content_type, sent.data))
    if body.get("stream") in ("true", "1"):
        raise unsupported("stream", "transcripts come whole; leave it out.")
    shape = fields.text(body, "response_format", default="json")
    request = TranscribeAudioRequest(
        model=fields.required_text(body, "model"),
        audio=audio,
        translate=translate,
        language=fields.text(body, "language"),
        prompt=fields.text(body, "prompt"),
        format=shape,
        timestamp_granularities=body.get("timestamp_granularities", []),
        strict=body.get("strict") == "true",
    )
    if temperature := fields.text(body, "temperature"):
        request.temperature = _number("temperature", temperature)
    known = ("language", "prompt", "response_format", "temperature", "timestamp_granularities", "stream")
    unknown = pass_unknown(request, body, known)
    if shape in _TEXTS:
        return OperationBody(request, TranscribeAudioResponse, _plain_text, unknown, "text/plain; charset=utf-8")
    task = "translate" if translate else "transcribe"
    write = _short_json if shape == "json" else _verbose_json(task)
    return OperationBody(request, TranscribeAudioResponse, write, unknown)


def _split(form: list[FormField]) -> tuple[Media, Json]:
    """The sound, and everything else as if it had come as JSON."""
    audio: Media | None = None
    body: Json = {}
    for each in form:
        name = each.name.removesuffix("[]")
        if name == "file":
            audio = Media(data=each.value, mime_type=_type_of(each), filename=each.filename)
            continue
        try:
            value = each.value.decode()
        except UnicodeDecodeError as error:
            raise invalid_field(name, "is not UTF-8.") from error
        if name in _LISTS:
            body.setdefault(name, []).append(value)
        else:
            body[name] = value
    if audio is None:
        raise invalid_field("file", "is required.")
    return audio, body


def _type_of(file: FormField) -> str:
    if file.content_type and file.content_type != "application/octet-stream":
        return file.content_type
    return _TYPES.get(file.filename.rpartition(".")[2].lower(), "audio/wav")


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise invalid_field(name, f"must be a number; got {text[:40]!r}.") from error


def _plain_text(answer: TranscribeAudioResponse) -> str:
    return answer.text


def _short_json(answer: TranscribeAudioResponse) -> Json:
    body: Json = {"text": answer.text}
    if answer.usage.ByteSize():
        used = answer.usage
        body["usage"] = {
            "type": "tokens",
            "input_tokens": used.input_tokens,
            "input_token_details": {
                "audio_tokens": used.input_audio_tokens,
                "text_tokens": used.input_tokens - used.input_audio_tokens,
            },
            "output_tokens": used.output_tokens,
            "total_tokens": used.input_tokens + used.output_tokens,
        }
    elif answer.HasField("duration"):
        body["usage"] = {"type": "duration", "seconds": _seconds(answer.duration)}
    return body


def _verbose_json(task: str) -> Any:
    def write(answer: TranscribeAudioResponse) -> Json:
        body: Json = {
            "task": task,
            "language": answer.language,
            "duration": _seconds(answer.duration),
            "text": answer.text,
        }
        if answer.segments:
            body["segments"] = [{"id": index, **_timed(each, "text")} for index, each in enumerate(answer.segments)]
        if answer.words:
            body["words"] = [_timed(each, "word") for each in answer.words]
        return body

    return write


def _timed(piece: TimedText, name: str) -> Json:
    return {name: piece.text, "start": _seconds(piece.start_offset), "end": _seconds(piece.end_offset)}


def _seconds(duration: Duration) -> float:
    return duration.ToMicroseconds() / 1_000_000


def _read_speech(sent: HttpBody) -> OperationBody[SynthesizeSpeechResponse]:
    body = parse_body(sent.data)
    if fields.text(body, "stream_format", default="audio") != "audio":
        raise unsupported("stream_format", "speech comes as audio alone.")
    voice: object = body.get("voice")
    request = SynthesizeSpeechRequest(
        model=fields.required_text(body, "model"),
        text=fields.required_text(body, "input"),
        # A voice of the caller's own is an object with its id.
        voice=fields.required_text(fields.mapping(body, "voice") or {}, "id", "voice.")
        if isinstance(voice, dict)
        else fields.required_text(body, "voice"),
        instructions=fields.text(body, "instructions"),
        format=fields.text(body, "response_format"),
        strict=fields.boolean(body, "strict") or False,
    )
    speed = fields.number(body, "speed")
    if speed is not None:
        request.speed = speed
    known = ("input", "voice", "instructions", "response_format", "speed", "stream_format")
    unknown = pass_unknown(request, body, known)
    return OperationBody(request, SynthesizeSpeechResponse, _bytes, unknown)


def _bytes(answer: SynthesizeSpeechResponse) -> bytes:
    return answer.data


_UPLOAD_NAMES = {"audio.data": "file", "audio": "file", "format": "response_format"}

TRANSCRIPTIONS = OperationDialect(_read_transcription, _UPLOAD_NAMES)
TRANSLATIONS = OperationDialect(_read_translation, _UPLOAD_NAMES)
SPEECH = OperationDialect(_read_speech, {"text": "input", "format": "response_format"})
