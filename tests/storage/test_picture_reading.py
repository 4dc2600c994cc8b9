"""How pictures are read: from the web without credentials, from files once, and looked at again."""

from __future__ import annotations

import gc
import gzip
import socket
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from picture_ground import PictureServer, Served, noisy_picture, plain_picture, serving_pictures
from roads import Hundredfold

from prefect_hailuo.emulator import FalEmulator, refuse
from prefect_hailuo.errors import BadKeyError, Billed, ImageError
from prefect_hailuo.fal.client import KEPT_SECONDS
from prefect_hailuo.fal.hosts import Access
from prefect_hailuo.fal.transport import open_http
from prefect_hailuo.models.image import Image
from prefect_hailuo.models.media import PICTURE, Medium
from prefect_hailuo.storage.pictures import CONTENT_BYTES, Pictures, read_picture

SECRET = "?X-Amz-Signature=hush-hush"


@pytest.fixture
def server() -> Iterator[PictureServer]:
    """A web server of pictures."""
    with serving_pictures() as started:
        yield started


async def fetched(url: str) -> bytes:
    """What is read at a URL, with a hundred times the patience."""
    async with open_http() as http:
        return await read_picture(url, http, Hundredfold())


async def refusal(url: str) -> ImageError:
    """How a URL fails; its query is not told."""
    with pytest.raises(ImageError) as raised:
        await fetched(url)
    error = raised.value
    assert "hush-hush" not in f"{error!s} {error!r} {error.__cause__!r} {error.__context__!r}"
    assert error.billed is Billed.NO
    return error


async def test_a_url_is_fetched_without_credentials(server: PictureServer) -> None:
    """Also where it redirects to; no key, no cookie, no referrer goes along."""
    content = plain_picture()
    server.files["/old.png"] = Served(
        status=302, headers={"Location": f"/new.png{SECRET}", "Set-Cookie": "a=b"}
    )
    server.files["/new.png"] = Served(content)
    assert await fetched(f"{server.url}/old.png{SECRET}") == content
    sent = {name.lower() for _, headers in server.requests for name in headers}
    assert len(server.requests) == 2
    assert sent.isdisjoint({"authorization", "cookie", "referer"})


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_url_that_is_refused(server: PictureServer, status: int) -> None:
    """It is asked for once, and the cure is a new signature, or another way."""
    server.files["/still.png"] = Served(status=status)
    error = await refusal(f"{server.url}/still.png{SECRET}")
    assert f"HTTP {status}" in error.message and f"{server.url}/still.png" in error.message
    assert "sign" in error.cure and not error.retryable
    assert len(server.requests) == 1


async def test_a_server_in_trouble_is_asked_again(server: PictureServer) -> None:
    """Its fault may pass; if it does not, trying again later can help."""
    server.files["/still.png"] = Served(status=503)
    error = await refusal(f"{server.url}/still.png{SECRET}")
    assert error.retryable and "HTTP 503" in error.message
    assert len(server.requests) > 1


async def test_a_server_that_is_not_there() -> None:
    """Nothing answers: that may pass too."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/still.png"
        assert (await refusal(url + SECRET)).retryable


async def test_redirects_come_to_an_end(server: PictureServer) -> None:
    """A loop is left, and nothing but the web is followed to."""
    server.files["/round.png"] = Served(status=302, headers={"Location": f"/round.png{SECRET}"})
    server.files["/file.png"] = Served(status=302, headers={"Location": "file:///etc/passwd"})
    server.files["/login.png"] = Served(
        status=302, headers={"Location": "http://me:hush-hush@localhost/"}
    )
    assert "more than 5 times" in (await refusal(f"{server.url}/round.png")).message
    for name in ("file", "login"):
        assert "no plain web address" in (await refusal(f"{server.url}/{name}.png")).message


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "2852039166", "[fe80::1]", "[::ffff:169.254.169.254]"]
)
async def test_no_clouds_secrets_are_asked_for(server: PictureServer, host: str) -> None:
    """However the address is written, and whether the URL or a redirect names it."""
    there = f"http://{host}/latest/meta-data/{SECRET}"
    server.files["/still.png"] = Served(status=302, headers={"Location": there})
    for url in (there, f"{server.url}/still.png"):
        error = await refusal(url)
        assert "at which clouds keep" in error.message
        assert not error.retryable


async def test_no_redirect_leads_into_a_private_network(server: PictureServer) -> None:
    """A public server cannot have this machine ask its neighbours; it can send it elsewhere."""
    content = plain_picture()
    old, new = "http://93.184.216.34/old.png", "http://93.184.216.35/new.png"
    near = {"Location": f"{server.url}/new.png"}
    server.files |= {old: Served(status=302, headers=near), "/new.png": Served(content)}
    server.files[new] = Served(content)
    async with httpx.AsyncClient(proxy=server.url) as http:  # by which those are within reach
        with pytest.raises(ImageError, match="into a private network"):
            await read_picture(old, http)
        assert len(server.requests) == 1
        server.files[old] = Served(status=302, headers={"Location": new})
        assert await read_picture(old, http) == content


async def test_what_is_too_large_is_not_read_to_its_end(server: PictureServer) -> None:
    """Whether its length is announced or not."""
    announced = Served(bytes(10), headers={"Content-Length": "30000000"})
    server.files["/announced.png"] = announced
    server.files["/silent.png"] = Served(
        b"%x\r\n" % 21_000_000 + bytes(21_000_000) + b"\r\n0\r\n\r\n",
        headers={"Transfer-Encoding": "chunked"},
    )
    for name in ("announced", "silent"):
        error = await refusal(f"{server.url}/{name}.png")
        assert "less than 20 MB" in error.message and not error.retryable


# What is remembered


async def test_what_is_compressed_is_not_unpacked(server: PictureServer) -> None:
    """A few kilobytes may stand for gigabytes; while they are unpacked, nothing else goes on."""
    bomb = gzip.compress(gzip.compress(bytes(50_000_000)))
    server.files["/still.png"] = Served(bomb, headers={"Content-Encoding": "gzip, gzip"})
    tracemalloc.start()
    error = await refusal(f"{server.url}/still.png{SECRET}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "compressed it (gzip, gzip)" in error.message and peak < 5_000_000
    content = plain_picture()
    server.files["/plain.png"] = Served(content, headers={"Content-Encoding": "aws-chunked"})
    assert await fetched(f"{server.url}/plain.png") == content


async def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    """And not as long as it has not."""
    path = tmp_path / "still.png"
    path.write_bytes(plain_picture())
    async with open_http() as http:
        pictures = Pictures(http)
        first = await pictures.look(Medium(str(path), PICTURE))
        assert await pictures.look(Medium(str(path), PICTURE)) is first
        path.write_bytes(plain_picture(shade=1))
        assert (await pictures.look(Medium(str(path), PICTURE))).identity != first.identity
        path.unlink()
        with pytest.raises(ImageError, match="no picture"):
            await pictures.look(Medium(str(path), PICTURE))


async def test_a_url_is_fetched_once_for_all_who_ask(server: PictureServer) -> None:
    """However many at once; and again after a while."""
    server.files["/still.png"] = Served(plain_picture())
    async with open_http() as http:
        pictures = Pictures(http, clock := Hundredfold())
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(pictures.look, Medium(f"{server.url}/still.png", PICTURE))
        assert len(server.requests) == 1
        await clock.sleep(301)
        await pictures.look(Medium(f"{server.url}/still.png", PICTURE))
        assert len(server.requests) == 2


async def test_contents_are_not_kept_for_long(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What is remembered of many pictures is what they are; their contents are read again."""
    size = 8 << 20
    tracemalloc.start()
    request.addfinalizer(tracemalloc.stop)
    async with open_http() as http:
        pictures = Pictures(http)
        for number in range(8):
            path = tmp_path / f"{number}.png"
            path.write_bytes(plain_picture(shade=number) + bytes(size))
            await pictures.look(Medium(str(path), PICTURE))
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < CONTENT_BYTES + size


# The way to fal


def access_of(emulator: FalEmulator) -> Access:
    """The emulator's account."""
    return emulator.credentials().access()


async def uploaded(pictures: Pictures, path: Path, emulator: FalEmulator) -> tuple[str, Image]:
    """A picture's URL at fal, and what it is."""
    image = await pictures.look(Medium(str(path), PICTURE))
    return await pictures.sendable(Medium(str(path), PICTURE), image, access_of(emulator)), image


async def test_an_upload_is_repeated_until_it_succeeds(tmp_path: Path, tiny: FalEmulator) -> None:
    """fal's faults pass, at the question and at the file itself."""
    path = tmp_path / "still.png"
    path.write_bytes(noisy_picture())
    tiny.faults.add(refuse("upload", 500))
    tiny.faults.add(refuse("upload", 403, nth=3))  # the PUT, after the second question
    async with open_http() as http:
        url, _ = await uploaded(Pictures(http, Hundredfold()), path, tiny)
        assert (await http.get(url)).content == path.read_bytes()
    [upload] = tiny.uploads
    assert upload.expires_at == pytest.approx(time.time() + KEPT_SECONDS, abs=600)


async def test_a_bad_key_uploads_nothing(tmp_path: Path, tiny: FalEmulator) -> None:
    """What fal says of the key, it says of the upload too; no money was spent."""
    path = tmp_path / "still.png"
    path.write_bytes(noisy_picture())
    tiny.faults.add(refuse("upload", 401))
    async with open_http() as http:
        with pytest.raises(BadKeyError) as raised:
            await uploaded(Pictures(http), path, tiny)
    assert raised.value.billed is Billed.NO
    assert tiny.uploads == []


async def test_a_picture_that_changes_under_way_is_not_sent(
    tmp_path: Path, tiny: FalEmulator
) -> None:
    """The generation is of what it was; what it is now is another one."""
    path = tmp_path / "still.png"
    path.write_bytes(plain_picture())
    async with open_http() as http:
        image = await Pictures(http).look(Medium(str(path), PICTURE))
        path.write_bytes(plain_picture(shade=1))
        with pytest.raises(ImageError, match="changed") as raised:
            await Pictures(http).sendable(Medium(str(path), PICTURE), image, access_of(tiny))
    assert raised.value.retryable and raised.value.billed is Billed.NO
