"""The gateway's own Python client: a whole answer, then a streamed one."""

import asyncio
import os

from llmgateway_client import GatewayClient, GatewayError, text_of, user

ADDRESS = os.environ.get("LLMGATEWAY_GRPC_ADDRESS", "127.0.0.1:50051")
QUESTION = [user("Hello from the client")]


async def main() -> None:
    async with GatewayClient(ADDRESS, os.environ["LLMGATEWAY_API_KEY"]) as client:
        answer = await client.complete(model="fake/echo", messages=QUESTION)
        print(text_of(answer.message))

        async with client.stream(model="fake/echo", messages=QUESTION) as stream:
            async for text in stream.text_stream():
                print(text, end="", flush=True)
            final = await stream.final_response()
        print(f" ({final.usage.output_tokens if final.usage else 'unknown'} tokens)")

        try:
            await client.complete(model="fake/none", messages=QUESTION)
        except GatewayError as error:
            print(f"{error.reason.name}: {error.message} (request {error.request_id})")


asyncio.run(main())
