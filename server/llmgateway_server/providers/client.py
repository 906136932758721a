"""The one HTTP client through which the gateway reaches providers, and the bounds on what it takes from them."""

from __future__ import annotations

import io

import aiohttp

from llmgateway_server.providers.wire import HttpRequest

MAX_HEADERS = 128
MAX_HEADER_BYTES = 16 * 1024
"""The largest header, and the largest status line, that is taken."""

_KEEPALIVE_SECONDS = 30.0
_DNS_SECONDS = 30
_LARGE_BODY_BYTES = 1024 * 1024
_READ_BUFFER_BYTES = 256 * 1024


class HttpClient:
    """Keeps connections to providers. It opens when it is first used, within the running event loop.

    It obeys no proxy of the environment, keeps no cookies, follows no redirect and decompresses nothing: a provider is
    not to decide where a credential goes or how much memory an answer takes. It sets no limit on connections, since
    calls are limited before they get here.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._open: set[aiohttp.ClientResponse] = set()

    async def send(self, request: HttpRequest, *, connect: float) -> aiohttp.ClientResponse:
        """Sends a request and waits for the head of the answer; `connect` is in seconds, and the only bound on time.

        Whoever gets the answer gives it to `release`. Raises `aiohttp.ClientError`, and ValueError for what cannot be
        sent.
        """
        if self._closed:
            raise aiohttp.ClientConnectionError("the client is closed")
        if self._session is None:
            self._session = _open_session()
        large = len(request.body) > _LARGE_BODY_BYTES
        response = await self._session.request(
            request.method,
            request.url,
            # Large bodies are sent in pieces; one write of them would hold up everybody else.
            data=io.BytesIO(request.body) if large else request.body,
            headers=request.headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=connect),
        )
        self._open.add(response)
        return response

    def release(self, response: aiohttp.ClientResponse) -> None:
        """Lets go of an answer. Its connection is closed at once, unless the answer was read to its end."""
        self._open.discard(response)
        response.close()

    async def close(self) -> None:
        """Closes all connections. Calls under way fail, and so do later ones."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            # Closing the session alone would leave those who read an answer waiting.
            for response in self._open:
                response.close()
            self._open.clear()
            await session.close()


def _open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS, ttl_dns_cache=_DNS_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        # Each call sets its own timeouts.
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"user-agent": "llm-gateway", "accept-encoding": "identity"},
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        max_headers=MAX_HEADERS,
        read_bufsize=_READ_BUFFER_BYTES,
    )
