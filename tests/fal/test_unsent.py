"""What never went out has bought nothing, and is told apart from what may have."""

from __future__ import annotations

import socket

import httpx
import pytest
from raw_server import BODY, ENDPOINT, HTML, RawServer, Reply, access_to, answer, closed_port

from prefect_hailuo.errors import Billed, UnreachableError
from prefect_hailuo.fal import client as fal_client
from prefect_hailuo.fal import post
from prefect_hailuo.fal.client import AsyncFalClient


async def test_a_refused_connection_bought_nothing() -> None:
    """Where nobody listens, nothing was sent: the submission may be tried again."""
    with closed_port() as url:
        async with AsyncFalClient(access_to(url)) as client:
            for buy in (client.submit, client.run):
                with pytest.raises(UnreachableError, match="Check the network, the pr") as caught:
                    await buy(ENDPOINT, BODY)
    assert (caught.value.billed, caught.value.retryable) == (Billed.NO, True)


async def test_a_failed_handshake_bought_nothing() -> None:
    """Where TLS does not come about, nothing was sent."""
    with RawServer(Reply(ending="slam")) as server:
        async with AsyncFalClient(access_to(server.url.replace("http:", "https:"))) as client:
            with pytest.raises(UnreachableError) as caught:
                await client.submit(ENDPOINT, BODY)
    assert caught.value.billed is Billed.NO


async def test_a_connection_that_does_not_come_about_bought_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server too busy to take the connection was sent nothing."""
    monkeypatch.setattr(post, "CONNECT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as busy:
        address = busy.getsockname()
        with socket.create_connection(address):  # fills the queue of connections
            async with AsyncFalClient(access_to(f"http://127.0.0.1:{address[1]}")) as client:
                with pytest.raises(UnreachableError, match="No connection to"):
                    await client.submit(ENDPOINT, BODY)


async def test_a_proxy_that_refuses_was_sent_neither_order_nor_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy is asked to connect, and no more, before TLS stands."""
    with RawServer(answer(403, HTML)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with AsyncFalClient(access_to("https://fal.example")) as client:
            with pytest.raises(UnreachableError) as caught:
                await client.submit(ENDPOINT, BODY)
    assert caught.value.billed is Billed.NO
    assert proxy.methods == ["CONNECT"]
    assert "authorization" not in proxy.requests[0].headers


async def test_no_free_connection_means_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission that waits in vain for its turn at the connections has bought nothing."""
    monkeypatch.setattr(fal_client, "SUBMIT_SECONDS", 0.3)
    with RawServer(Reply(b"HTTP/1.1 200 OK\r\n\r\n", "hang")) as server:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(limits=limits) as http, http.stream("GET", server.url):
            with pytest.raises(UnreachableError, match="No connection to"):
                await AsyncFalClient(server.access(), http).submit(ENDPOINT, BODY)
    assert server.methods == ["GET"]
