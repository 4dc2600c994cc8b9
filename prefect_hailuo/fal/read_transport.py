"""aiohttp's transport below httpx: for reads, never for the POST."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import httpx
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientOSError,
    ClientSession,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
)
from httpx_aiohttp import AiohttpTransport

KEEP_ALIVE_SECONDS = 5.0
"""How long an idle connection is kept, as httpx does it."""


class ReadTransport(AiohttpTransport):
    """aiohttp's transport, without cookies, without a limit of its own, and with httpx's errors.

    When a connection drops before a read is answered, aiohttp repeats the read once by itself. So
    no purchase goes over it; besides, of a POST that was accepted and dropped it says that no
    connection stood.

    Args:
        certificates: The authorities that are trusted.
    """

    def __init__(self, certificates: ssl.SSLContext) -> None:
        super().__init__(verify=certificates, client=self._open_session)

    def _open_session(self) -> ClientSession:
        connector = TCPConnector(
            limit=0, ssl=self.ssl_context, keepalive_timeout=KEEP_ALIVE_SECONDS
        )
        return ClientSession(connector=connector, cookie_jar=DummyCookieJar())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            ValueError: It is a POST.
        """
        if request.method == "POST":
            raise ValueError("A POST goes over httpx's own transport, which knows what was sent.")
        try:
            response = await super().handle_async_request(request)
        except FAULTS as error:
            seen = _httpx_error(error, request)
        else:
            stream = response.stream
            assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - for the type checker
            response.stream = _Stream(stream, request)
            return response
        raise seen  # out here: inside, its context would be aiohttp's error


class _Stream(httpx.AsyncByteStream):
    """A body, whose errors are httpx's."""

    def __init__(self, stream: httpx.AsyncByteStream, request: httpx.Request) -> None:
        self._stream = stream
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
            return
        except FAULTS as error:
            seen = _httpx_error(error, self._request)
        raise seen

    async def aclose(self) -> None:
        try:
            return await self._stream.aclose()
        except FAULTS as error:
            seen = _httpx_error(error, self._request)
        raise seen


FAULTS = (httpx.RequestError, ClientError, OSError)


def _httpx_error(
    error: httpx.RequestError | ClientError | OSError, request: httpx.Request
) -> httpx.RequestError:
    """httpx's error for what aiohttp's transport lets through, or wrongly calls a timeout.

    It has no cause: aiohttp's errors hold the request's headers, and cannot be pickled.
    """
    if not isinstance(error, httpx.RequestError):
        return httpx.RemoteProtocolError(str(error) or repr(error), request=request)
    kind = type(error)
    if isinstance(error, httpx.ConnectTimeout):
        match error.__cause__:
            case ClientConnectorError():
                kind = httpx.ConnectError
            case ServerDisconnectedError() | ClientOSError():
                kind = httpx.ReadError
    return kind(str(error), request=request)
