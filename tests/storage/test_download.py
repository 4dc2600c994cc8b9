"""From fal's link to a whole file: what goes wrong on the way, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import pytest
from children import run_python
from file_server import serving_long_video, smallest_video
from pydantic import SecretStr
from raw_server import (
    HTML,
    TICKET,
    HurriedClock,
    RawServer,
    Reply,
    access_to,
    answer,
    closed_port,
)

from prefect_hailuo import FalCredentials, Hailuo02ProTextToVideo, Ticket
from prefect_hailuo.clock import Clock
from prefect_hailuo.emulator import FalEmulator, Fault, cut, expire_file, wrong_bytes
from prefect_hailuo.errors import Billed, DownloadError, StorageError, VideoExpiredError
from prefect_hailuo.fal.hosts import Hosts
from prefect_hailuo.fal.messages import File, Output
from prefect_hailuo.fal.transport import open_http, open_reading
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.orders import make_order
from prefect_hailuo.runs.settings import current_settings
from prefect_hailuo.storage import download
from prefect_hailuo.storage.addresses import refusal_of
from prefect_hailuo.storage.download import (
    DOWNLOAD_SECONDS,
    MOST_ATTEMPTS,
    BadLinkError,
    Downloads,
    check_reach,
)
from prefect_hailuo.storage.place import CHUNK_BYTES, Directory
from prefect_hailuo.storage.store import VideoStore

VIDEO = smallest_video()
LENGTH = len(VIDEO)
GOOD = answer(200, VIDEO, {"Content-Type": "video/mp4"})

DOWNLOAD_LONG_VIDEO = """
    import asyncio, re, sys
    from pathlib import Path
    from prefect_hailuo.storage.download import Downloads
    from prefect_hailuo.fal.messages import File
    from prefect_hailuo.fal.transport import open_http, open_reading
    from prefect_hailuo.storage.place import Directory

    def peak():
        return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

    async def main(url, folder):
        async with open_reading() as http:
            before = peak()
            size = lambda files, download: download.size
            arrived = await Downloads(http).fetch(
                File(url=url), Directory(folder), size, realm="emulator"
            )
            print(arrived, peak() - before)

    asyncio.run(main(*sys.argv[1:]))
"""


@dataclass(frozen=True)
class Failure:
    """How a download fails.

    Args:
        reply: What the file server sends, each time.
        message: What the error says.
    """

    reply: Reply
    message: str


def without_length(body: bytes) -> Reply:
    """An answer that ends where the connection does, whether or not all of it came."""
    return Reply(b"HTTP/1.1 200 OK\r\n\r\n" + body)


def chunked(body: bytes, end: bytes = b"0\r\n\r\n") -> Reply:
    """An answer in one chunk."""
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    return Reply(head + b"%x\r\n%s\r\n" % (len(body), body) + end)


PASSING = {
    "cut": Failure(GOOD.cut(by=10), "broke off"),
    "reset": Failure(Reply(GOOD.data[:-10], "reset"), "broke off"),
    "no answer": Failure(Reply(), "broke off"),
    "chunked, cut": Failure(chunked(VIDEO, end=b""), "broke off"),
    "chunked, cut, looks whole": Failure(chunked(VIDEO[:-10]), "ends inside its 'moov' box"),
    "no length, cut": Failure(without_length(VIDEO[:-10]), "ends inside its 'moov' box"),
    "no length, cut between boxes": Failure(without_length(VIDEO[:124]), "no 'moov' box"),
    "an error page": Failure(answer(200, HTML), "not an MP4: it begins with b'<html>"),
    "nothing": Failure(answer(200, b""), "is empty"),
    "no content": Failure(
        Reply(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"), "is empty"
    ),
    "said to be gzip": Failure(answer(200, VIDEO, {"Content-Encoding": "gzip"}), "broke off"),
    "a gzip of a gzip": Failure(
        answer(200, gzip.compress(gzip.compress(VIDEO)), {"Content-Encoding": "gzip, gzip"}),
        "compressed it",
    ),
    "429": Failure(answer(429, {}), "HTTP 429"),
    "500": Failure(answer(500, {}), "HTTP 500"),
    "503": Failure(answer(503, HTML), "HTTP 503"),
}
REFUSALS = (401, 403, 404, 410)
"""What proxies say of any file, and file servers of one that has gone, or is not there yet."""

HERE = access_to("http://127.0.0.1").hosts
"""The configured hosts, as those who test have them."""

OpenClient = Callable[[], httpx.AsyncClient]

each_client = pytest.mark.parametrize("open_client", [open_http, open_reading])
each_passing = pytest.mark.parametrize("failure", PASSING.values(), ids=list(PASSING))


async def store(
    folder: Path,
    url: str,
    *,
    size: int | None = None,
    ticket: Ticket = TICKET,
    clock: Clock | None = None,
    open_client: OpenClient = open_reading,
) -> Video:
    """Download a video and keep it; by default no pause between two attempts is waited out."""
    async with open_client() as media:
        clock = clock or HurriedClock()
        storing = VideoStore(Downloads(media), Directory(folder), clock, hosts=HERE)
        stored = await storing.store(ticket, Output(video=File(url=url, file_size=size)))
        return stored.video


class Vanishing(Directory):
    """A directory that is gone as soon as it has been made."""

    @property
    def workspace(self) -> Path:
        folder = super().workspace
        folder.rmdir()
        return folder


async def fetch(
    url: str, folder: Path | Directory, seconds: float = 60, clock: Clock | None = None
) -> None:
    """Download a video, and drop it."""
    place = folder if isinstance(folder, Directory) else Directory(folder)
    async with open_reading() as http:
        await Downloads(http).fetch(
            File(url=url), place, lambda *_: None, seconds, clock, hosts=HERE
        )


def wait_for_draft(folder: Path) -> None:
    """Wait until a download has begun to write."""
    while not names(folder):
        time.sleep(0.01)


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def content(video: Video) -> bytes:
    """What is in a stored video's file."""
    assert video.path
    return video.path.read_bytes()


# What goes wrong


@each_client
@each_passing
async def test_what_does_not_arrive_whole_is_an_error(
    tmp_path: Path, failure: Failure, open_client: OpenClient
) -> None:
    """It says what came, that the video is paid for, and which it is; no draft is left."""
    with (
        RawServer(failure.reply) as server,
        pytest.raises(DownloadError, match=failure.message) as caught,
    ):
        await store(tmp_path, server.url, open_client=open_client)
    error = caught.value
    assert (type(error), error.billed, error.ticket) == (DownloadError, Billed.YES, TICKET)
    assert error.retryable
    # aiohttp asks once more by itself where there was no answer at all.
    twice = open_client is open_reading and failure.reply == Reply()
    asked = MOST_ATTEMPTS * (2 if twice else 1)
    assert (len(server.requests), names(tmp_path)) == (asked, [])


@each_client
@pytest.mark.parametrize("size", [LENGTH - 1, LENGTH + 1, 1, 0])
async def test_what_fal_said_of_the_length_decides_nothing(
    tmp_path: Path, size: int, open_client: OpenClient
) -> None:
    """The file server's length and the boxes say that it is whole: it is paid for, and taken."""
    with RawServer(GOOD) as server:
        video = await store(tmp_path, server.url, size=size, open_client=open_client)
    assert (content(video), video.size, len(server.requests)) == (VIDEO, LENGTH, 1)


async def test_what_fal_said_of_the_length_may_explain(tmp_path: Path) -> None:
    """A file that is cut, though nothing of the transfer shows it, is told with fal's figure."""
    message = f"It has {LENGTH - 10} bytes, and fal announced {LENGTH}"
    with RawServer(chunked(VIDEO[:-10])) as server, pytest.raises(DownloadError, match=message):
        await store(tmp_path, server.url, size=LENGTH)


# What is not there yet, or hidden


@each_client
@pytest.mark.parametrize("status", REFUSALS)
async def test_a_young_file_that_is_refused_is_waited_for(
    tmp_path: Path, status: int, open_client: OpenClient
) -> None:
    """It may not be there yet: however often that is, it is one download."""
    with RawServer(*[answer(status)] * 20, GOOD) as server:
        video = await store(tmp_path, server.url, open_client=open_client)
    assert (content(video), len(server.requests)) == (VIDEO, 21)


@pytest.mark.parametrize("status", REFUSALS)
async def test_a_young_file_is_never_called_expired(tmp_path: Path, status: int) -> None:
    """After the download's time, running it again is the cure, and the host is named."""
    clock = HurriedClock()
    with (
        RawServer(answer(status)) as server,
        pytest.raises(DownloadError, match=f"HTTP {status} for the video") as caught,
    ):
        await store(tmp_path, server.url, clock=clock)
    error = caught.value
    assert (type(error), error.retryable, error.ticket) == (DownloadError, True, TICKET)
    assert "run it again" in error.cure and "127.0.0.1" in error.cure
    assert DOWNLOAD_SECONDS - 15 <= sum(clock.slept) < DOWNLOAD_SECONDS


@pytest.mark.parametrize("status", REFUSALS)
async def test_an_old_file_expires_where_it_is_not_found(tmp_path: Path, status: int) -> None:
    """After fal's seven days, 404 and 410 say so; 401 and 403 never do."""
    bought = datetime.now(timezone.utc) - timedelta(days=8)
    ticket = TICKET.model_copy(update={"submitted_at": bought})
    with RawServer(answer(status)) as server, pytest.raises(DownloadError) as caught:
        await store(tmp_path, server.url, ticket=ticket)
    expired = status in (404, 410)
    assert (type(caught.value) is VideoExpiredError) == expired
    assert caught.value.retryable != expired
    assert (len(server.requests), caught.value.ticket) == (MOST_ATTEMPTS, ticket)


@each_client
@each_passing
async def test_what_passes_is_repeated(
    tmp_path: Path, failure: Failure, open_client: OpenClient
) -> None:
    """The download is, and only the download: the second answer is the video."""
    with RawServer(failure.reply, GOOD) as server:
        video = await store(tmp_path, server.url, open_client=open_client)
    assert (content(video), video.size, len(server.requests)) == (VIDEO, LENGTH, 2)
    assert len(names(tmp_path)) == 2  # the video and its record


async def test_fals_link_need_not_tell_more_than_its_url(tmp_path: Path) -> None:
    """Without a length, from the server or from fal, the boxes say that the file is whole."""
    for reply in (GOOD, without_length(VIDEO), chunked(VIDEO)):
        with RawServer(reply) as server:
            assert content(await store(tmp_path, server.url)) == VIDEO


async def test_the_file_server_may_ask_for_a_pause(tmp_path: Path) -> None:
    """A Retry-After is waited out, and one beyond the deadline is not waited for in vain."""
    clock, busy = HurriedClock(), answer(429, {}, {"Retry-After": "7"})
    with RawServer(busy, GOOD) as server:
        await store(tmp_path, server.url, clock=clock)
    assert clock.slept == [7]
    closed = answer(503, {}, {"Retry-After": str(2 * DOWNLOAD_SECONDS)})
    with RawServer(closed) as server, pytest.raises(DownloadError, match="HTTP 503") as caught:
        await store(tmp_path, server.url, clock=clock)
    assert (clock.slept, caught.value.retry_after) == ([7], 2 * DOWNLOAD_SECONDS)


async def test_nobody_there_is_waited_out_too(tmp_path: Path) -> None:
    """A refused connection is tried again, longer apart each time, and then an error."""
    clock = HurriedClock()
    with closed_port() as url, pytest.raises(DownloadError, match="ConnectError") as caught:
        await store(tmp_path, url, clock=clock)
    assert len(clock.slept) == MOST_ATTEMPTS - 1 and clock.slept[-1] > clock.slept[0]
    assert (caught.value.retryable, caught.value.billed) == (True, Billed.YES)


async def test_an_endless_answer_ends_at_the_deadline(tmp_path: Path) -> None:
    """A body that trickles in for ever breaks no read timeout, so the deadline ends it."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    with (
        RawServer(Reply(head + VIDEO, "trickle")) as server,
        pytest.raises(DownloadError, match=r"did not arrive within 0\.3 seconds"),
    ):
        await fetch(server.url, tmp_path, 0.3)
    assert (len(server.requests), names(tmp_path)) == (1, [])


async def test_a_cancelled_download_leaves_nothing(tmp_path: Path) -> None:
    """Neither a draft nor an open file, of which Python would warn."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n"
    beginning = smallest_video(bytes(2 * CHUNK_BYTES))[:-10]
    with RawServer(Reply(head + beginning, "trickle")) as server:
        task = asyncio.create_task(store(tmp_path, server.url))
        await asyncio.to_thread(wait_for_draft, tmp_path)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert names(tmp_path) == []


async def test_a_draft_that_cannot_be_written_is_no_download_error(tmp_path: Path) -> None:
    """The disk is to blame, so repeating the download is no cure; the video is paid for."""
    with (
        RawServer(GOOD) as server,
        pytest.raises(StorageError, match="missing cannot be written") as caught,
    ):
        await fetch(server.url, Vanishing(tmp_path / "missing"))
    assert (len(server.requests), caught.value.billed) == (1, Billed.YES)


# What is sent, and where


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://203.0.113.1/video.mp4", "is not https"),
        ("http://example.com/video.mp4", "is not https"),
        ("ftp://127.0.0.1/video.mp4", "is not https"),
        ("file:///etc/passwd", "is not https"),
        ("video.mp4", "is not https"),
        ("http://[::1", "is no URL"),
    ],
)
async def test_a_link_that_others_could_read_is_refused(
    tmp_path: Path, url: str, message: str
) -> None:
    """Only https, or this machine's loopback: nothing else is connected to, not even once."""
    with pytest.raises(DownloadError, match=message) as caught:
        await store(tmp_path, url)
    assert (caught.value.retryable, caught.value.billed) == (False, Billed.YES)
    assert names(tmp_path) == []


INSIDE = [
    *("https://127.0.0.1/video.mp4", "https://[::1]/", "https://localhost./", "https://0.0.0.0/"),
    *("https://127.1/", "https://0x7f.1/", "https://2130706433/", "http://127.0.0.1:6379/"),
    *("https://10.1.2.3/", "https://192.168.0.1/", "https://100.64.0.1/", "https://[fd12::1]/"),
    *("https://169.254.169.254/", "https://[fd00:ec2::254]/", "https://[fe80::a9fe:a9fe]/"),
    *("https://[::ffff:127.0.0.1]/", "https://[64:ff9b::10.0.0.1]/", "https://[2002:a00:1::]/"),
    *("https://[64:ff9b::a9fe:a9fe]/", "https://[64:ff9b:1::192.168.0.1]/"),
    *("https://168.63.129.16/", "https://[::]/", "https://[fec0::1]/", "https://224.0.0.1/"),
]


@pytest.mark.parametrize("url", INSIDE)
async def test_a_link_into_this_machine_or_its_network_is_refused(tmp_path: Path, url: str) -> None:
    """With fal's own hosts, a link leads to a public one, however its address is written."""
    async with open_reading() as http:
        with pytest.raises(DownloadError, match="nothing was sent there") as caught:
            storing = VideoStore(Downloads(http), Directory(tmp_path), clock=HurriedClock())
            await storing.store(TICKET, Output(video=File(url=url)))
    assert (caught.value.retryable, caught.value.billed) == (False, Billed.YES)
    assert names(tmp_path) == []


async def test_a_link_to_this_machine_is_followed_only_where_fal_is_here(tmp_path: Path) -> None:
    """Whoever has a fal of their own on this machine has its files here, too; others do not."""
    with RawServer(GOOD, GOOD) as server:
        async with open_reading() as http:
            for hosts in (Hosts(), Hosts(queue_url=server.url)):
                storing = VideoStore(Downloads(http), Directory(tmp_path), hosts=hosts)
                other = Output(video=File(url=server.url.replace("127.0.0.1", "localhost")))
                with pytest.raises(DownloadError, match="leads to localhost, this machine"):
                    await storing.store(TICKET, other)
        assert server.connections == 0
        assert (await store(tmp_path, server.url)).size == LENGTH


async def test_private_addresses_are_refused_with_local_hosts_too(tmp_path: Path) -> None:
    """A fal of one's own on this machine says nothing about the network around it."""
    for url in ("https://10.0.0.1/", "https://169.254.169.254/"):
        with pytest.raises(DownloadError, match="nothing was sent there"):
            await store(tmp_path, url)


async def test_a_password_in_a_link_is_neither_sent_nor_kept(tmp_path: Path) -> None:
    """It would be in the ledger, in the record and in errors."""
    with RawServer(GOOD) as server:
        link = server.url.replace("//", "//fox:hunter2@")
        assert "hunter2" not in File(url=link).model_dump_json()
        with pytest.raises(DownloadError, match="user name or a password") as caught:
            await store(tmp_path, link)
    assert server.connections == 0
    assert "hunter2" not in str(caught.value)


@each_client
async def test_a_few_redirects_are_followed(tmp_path: Path, open_client: OpenClient) -> None:
    """To another host too, and relative ones; the record keeps fal's own link."""
    with RawServer(answer(302, b"", {"Location": "/video.mp4"}), GOOD) as other:
        moved = answer(307, b"", {"Location": other.url})
        with RawServer(moved) as server:
            video = await store(tmp_path, server.url, open_client=open_client)
    assert (content(video), video.url) == (VIDEO, server.url)
    assert [each.target for each in other.requests] == ["/", "/video.mp4"]


async def test_redirects_without_end_are_an_error(tmp_path: Path) -> None:
    """It is one that may pass."""
    with (
        RawServer(answer(302, b"", {"Location": "/"})) as server,
        pytest.raises(DownloadError, match="redirected more than 5 times") as caught,
    ):
        await store(tmp_path, server.url)
    assert (len(server.requests), caught.value.retryable) == (6 * MOST_ATTEMPTS, True)


@pytest.mark.parametrize(
    "location",
    [
        "http://203.0.113.1/video.mp4",
        "https://user:word@example.com/video.mp4",
        "ftp://127.0.0.1/video.mp4",
        "https://169.254.169.254/latest/meta-data",
        "http://[::1",
    ],
)
async def test_a_redirect_to_anywhere_else_is_refused(tmp_path: Path, location: str) -> None:
    """Neither to plain http, nor with a login, nor to where clouds keep a machine's secrets."""
    with (
        RawServer(answer(302, b"", {"Location": location})) as server,
        pytest.raises(DownloadError, match="was redirected to"),
    ):
        await store(tmp_path, server.url)
    assert (len(server.requests), names(tmp_path)) == (1, [])


async def test_a_redirect_from_outside_into_this_network_is_refused() -> None:
    """A file server out there has no business here."""
    here = httpx.URL("http://127.0.0.1:8000/video.mp4")
    with pytest.raises(BadLinkError, match="no public host"):
        await check_reach(httpx.URL("https://93.184.216.34/video.mp4"), here)
    await check_reach(here, here)


@pytest.mark.parametrize(
    ("named", "url", "said"),
    [
        ((), "https://10.20.0.1/v.mp4", "a private network"),
        (("10.20.0.0/16",), "https://10.20.0.1/v.mp4", None),
        (("10.20.0.0/16",), "https://[::ffff:10.20.0.1]/v.mp4", None),
        (("10.20.0.0/16",), "https://10.21.0.1/v.mp4", "a private network"),
        (("10.20.0.0/16",), "http://10.20.0.1/v.mp4", "is not https"),
        (("10.20.0.0/16",), "https://me:word@10.20.0.1/v.mp4", "carries a user name"),
        (("127.0.0.0/8",), "https://127.0.0.1/v.mp4", None),
        (("localhost",), "https://localhost/v.mp4", None),
        (("localhost",), "https://127.0.0.1/v.mp4", "this machine"),
        (("0.0.0.0/0",), "https://169.254.169.254/v.mp4", "nowhere that holds files"),
        (("169.254.169.254",), "https://169.254.169.254/v.mp4", "nowhere that holds files"),
    ],
)
async def test_the_environment_may_name_hosts_in_a_private_network(
    named: tuple[str, ...], url: str, said: str | None
) -> None:
    """A link, or a redirect, leads to just these; never to where clouds keep secrets."""
    refusal = await refusal_of(httpx.URL(url), "fal", file_hosts=named)
    assert (refusal is None) if said is None else (refusal is not None and said in refusal)
    outside = httpx.URL("https://93.184.216.34/video.mp4")
    if said is None:
        await check_reach(outside, httpx.URL(url), named)
    elif said in ("a private network", "this machine", "nowhere that holds files"):
        with pytest.raises(BadLinkError, match="no public host"):
            await check_reach(outside, httpx.URL(url), named)


def test_file_hosts_are_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order takes them from there, however they are written; what is no host is refused."""
    name = "PREFECT_INTEGRATIONS_HAILUO_FILE_HOSTS"
    monkeypatch.setenv(name, '[" Files.example.internal", "10.20.0.0/16"]')
    fox = Hailuo02ProTextToVideo(prompt="A red fox.")
    order = make_order(fox, credentials=FalCredentials(api_key=SecretStr("a:b")))
    assert order.file_hosts == {"files.example.internal", "10.20.0.0/16"}
    for wrong in ("https://files.example", "files.example/path", "10.20.0.1/16", "a:8443", ""):
        monkeypatch.setenv(name, json.dumps([wrong]))
        with pytest.raises(ValueError, match="file_hosts"):
            current_settings()


async def test_the_file_server_learns_nothing(tmp_path: Path) -> None:
    """No key, no cookie of an earlier answer, and a request for the bytes as they are."""
    with RawServer(answer(200, HTML, {"Set-Cookie": "id=1"}), GOOD) as server:
        await fetch(server.url, tmp_path, clock=HurriedClock())
    assert len(server.requests) == 2
    for request in server.requests:
        assert not {"authorization", "cookie"} & request.headers.keys()
        assert request.headers["accept-encoding"] == "identity"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak")
def test_a_long_video_takes_little_memory(tmp_path: Path) -> None:
    """200 MiB pass through a process that grows by a few."""
    with serving_long_video(chunks=200) as (url, size):
        child = run_python(DOWNLOAD_LONG_VIDEO, url, tmp_path)
    assert child.code == 0, child.stderr
    arrived, grown_kib = map(int, child.stdout.split())
    assert (arrived, names(tmp_path)) == (size, [])
    assert grown_kib < 30 * 1024


# From the emulator


@pytest.fixture
def bought(emulator: FalEmulator, credentials: FalCredentials) -> tuple[Ticket, str]:
    """A request of the emulator's, and where its video is."""
    client, fox = credentials.get_client(), Hailuo02ProTextToVideo(prompt="A red fox.")
    ticket = client.submit(fox.endpoint.id, fox.body())
    client.stream(ticket, lambda status: None)
    return ticket, client.result(ticket).video.url


@pytest.mark.parametrize(
    "fault",
    [
        cut("media", 10_000),
        cut("media", 10_000, with_length=False),
        cut("media", 10_000, with_length=False, looks_whole=True),
        wrong_bytes(),
    ],
    ids=["cut", "chunked", "looks whole", "wrong bytes"],
)
async def test_the_emulators_mishaps_are_repeated(
    tmp_path: Path, emulator: FalEmulator, bought: tuple[Ticket, str], fault: Fault
) -> None:
    """Each costs another download, without a key, and no other video."""
    ticket, url = bought
    emulator.faults.add(fault)
    video = await store(tmp_path, url, ticket=ticket)
    assert (video.size, video.codec) == (len(content(video)), "h264")
    assert (emulator.requests["media"], emulator.charged) == (2, 1)
    assert not any(request.authorized for request in emulator.media_requests)


async def test_an_old_file_that_is_gone_is_said_with_its_ticket(
    tmp_path: Path, emulator: FalEmulator, bought: tuple[Ticket, str]
) -> None:
    """What fal no longer serves after its seven days is gone."""
    ticket, url = bought
    assert ticket.submitted_at
    ticket = ticket.model_copy(update={"submitted_at": ticket.submitted_at - timedelta(days=8)})
    emulator.faults.add(expire_file(count=None))
    with pytest.raises(VideoExpiredError) as caught:
        await store(tmp_path, url, ticket=ticket)
    assert (caught.value.ticket, emulator.requests["media"]) == (ticket, MOST_ATTEMPTS)


async def test_a_file_far_longer_than_fal_said_is_not_written_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fal's figure may be off, but not by any factor; nor is a file without a length endless."""
    monkeypatch.setattr(download, "LEAST_BOUND_BYTES", 100)
    monkeypatch.setattr(download, "MOST_BYTES", 500)
    for size, bound in ((100, 400), (None, 500)):
        with (
            RawServer(without_length(VIDEO + bytes(1000))) as server,
            pytest.raises(DownloadError, match=f"More than {bound} bytes arrived"),
        ):
            await store(tmp_path, server.url, size=size)
    assert names(tmp_path) == []
