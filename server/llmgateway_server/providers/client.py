"""The one HTTP client through which the gateway reaches providers, and the bounds on what it takes from them."""

from __future__ import annotations

import aiohttp

MAX_HEADERS = 128
MAX_HEADER_BYTES = 16 * 1024
"""The largest header, and the largest status line, that is taken."""

_KEEPALIVE_SECONDS = 30.0
_DNS_SECONDS = 30
_READ_BUFFER_BYTES = 256 * 1024


class HttpClient:
    """Keeps connections to providers. It opens when it is first used, within the running event loop.

    It obeys no proxy of the environment, keeps no cookies, follows no redirect and decompresses nothing: a provider is
    not to decide where a credential goes or how much memory an answer takes. It sets no limit on connections, since
    calls are limited before they get here.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    keepalive_timeout=_KEEPALIVE_SECONDS,
                    ttl_dns_cache=_DNS_SECONDS,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                # Each call sets its own timeouts.
                timeout=aiohttp.ClientTimeout(total=None),
                skip_auto_headers=("User-Agent",),
                headers={"user-agent": "llm-gateway", "accept-encoding": "identity"},
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
                max_headers=MAX_HEADERS,
                read_bufsize=_READ_BUFFER_BYTES,
            )
        return self._session

    async def close(self) -> None:
        """Closes all connections. Calls under way fail."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
