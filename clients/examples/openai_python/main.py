"""OpenAI's SDK for Python against the gateway: a whole answer, then a streamed one."""

import os

from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

ADDRESS = os.environ.get("LLMGATEWAY_REST_ADDRESS", "127.0.0.1:8080")
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello from Python"}]

with OpenAI(base_url=f"http://{ADDRESS}/v1", api_key=os.environ["LLMGATEWAY_API_KEY"]) as client:
    answer = client.chat.completions.create(model="fake/echo", messages=QUESTION)
    print(answer.choices[0].message.content)

    with client.chat.completions.create(
        model="fake/echo", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    ) as stream:
        for chunk in stream:
            if chunk.choices:
                print(chunk.choices[0].delta.content or "", end="", flush=True)
            if chunk.usage:
                print(f" ({chunk.usage.total_tokens} tokens)")
