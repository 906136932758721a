"""Names: the field at fault as the caller of OpenAI's dialect wrote it."""

import pytest

from llmgateway_server.api.openai.names import dialect_name, rename_fields
from llmgateway_server.errors import invalid_field


@pytest.mark.parametrize(
    ("native", "dialect"),
    [
        ("model", "model"),
        ("messages", "messages"),
        ("messages[3].role", "messages[3].role"),
        ("messages[3].parts", "messages[3].content"),
        ("messages[3].parts[1]", "messages[3].content[1]"),
        ("messages[3].parts[1].image.url", "messages[3].content[1].image.url"),
        ("messages[0].parts[2].tool_call.id", "messages[0].tool_calls.id"),
        ("messages[2].parts[0].tool_result.call_id", "messages[2].tool_call_id"),
        ("messages[2].parts[0].tool_result.parts[1]", "messages[2].content[1]"),
        ("tools[0].function.name", "tools[0].function.name"),
        ("tool_choice.names", "tool_choice"),
        ("tool_choice.parallel", "parallel_tool_calls"),
        ("generation.temperature", "temperature"),
        ("generation.max_output_tokens", "max_completion_tokens"),
        ("generation.logit_bias['7']", "logit_bias['7']"),
        ("generation.response_format.schema", "response_format.json_schema.schema"),
        ("generation.response_format.type", "response_format.type"),
        ("generation.output_modalities", "modalities"),
        ("generation.audio_voice", "audio.voice"),
        ("labels['k']", "metadata['k']"),
        ("end_user", "user"),
        ("x-request-timeout-ms", "x-request-timeout-ms"),
        ("", ""),
    ],
)
def test_a_field_has_a_name_in_the_dialect(native: str, dialect: str) -> None:
    assert dialect_name(native) == dialect


PLACES = [[0], [1], [2, 3, 4], [5]]
"""A user, an assistant with three calls, their three results, a user."""


@pytest.mark.parametrize(
    ("native", "dialect"),
    [
        ("messages[0].parts[0]", "messages[0].content[0]"),
        ("messages[2].parts[0].tool_result.call_id", "messages[2].tool_call_id"),
        ("messages[2].parts[2].tool_result.call_id", "messages[4].tool_call_id"),
        ("messages[2].parts[1].tool_result.parts[7].image", "messages[3].content[7].image"),
        ("messages[3].parts[1].image", "messages[5].content[1].image"),
        ("messages[3].name", "messages[5].name"),
        ("messages[9].name", "messages[9].name"),
    ],
)
def test_a_message_is_found_where_it_came_from(native: str, dialect: str) -> None:
    assert dialect_name(native, PLACES) == dialect


def test_an_error_is_told_in_the_dialect() -> None:
    error = invalid_field("generation.top_p", "must be less.")
    rename_fields(error)
    assert (error.field, error.message, error.metadata) == ("top_p", "top_p: must be less.", {"field": "top_p"})


def test_an_error_without_a_field_stays() -> None:
    error = invalid_field("", "no.")
    rename_fields(error)
    assert (error.field, error.message) == ("", ": no.")
