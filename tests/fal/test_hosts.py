"""Which addresses may be given the API key, and what a key may be."""

from __future__ import annotations

import traceback
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from raw_server import ENDPOINT, KEY, SECRET, access_to

from prefect_hailuo.errors import ConfigurationError, InsecureHostError, UnknownEndpointError
from prefect_hailuo.fal.hosts import Access, Hosts
from prefect_hailuo.ticket import Ticket

PRIVATE = [
    "https://queue.fal.run",
    "https://proxy.example:8443/fal",
    "http://localhost",
    "http://LOCALHOST:8000",
    "http://127.0.0.1:8000/queue",
    "http://127.8.8.8",
    "http://[::1]:8000",
    "http://[0:0:0:0:0:0:0:1]",
]
EXPOSED = [
    "http://fal.example",
    "http://queue.fal.run",
    "http://127.0.0.1.evil.com",
    "http://localhost.evil.com",
    "http://evil-localhost",
    "http://127.1",
    "http://0.0.0.0",
    "http://[::]",
    "http://169.254.169.254",
    "ftp://fal.example",
    "file:///etc/passwd",
    "fal.example",
    "//fal.example",
    "https://",
    "https:///path",
    "",
]
PASSWORD = "hunter2hunter2"
REVEALING = [
    f"https://id:{PASSWORD}@fal.example",
    f"https://{PASSWORD}@fal.example",
    f"http://127.0.0.1:{PASSWORD}@evil.com",
    f"ftp://id:{PASSWORD}@fal.example",
    f"id:{PASSWORD}@fal.example",
    f"id:{PASSWORD}",
    PASSWORD,
    f"https://id:{PASSWORD}",
    f"https://id:{PASSWORD}@fal.example:port",
    f"https://fal.example?key={PASSWORD}",
    f"https://fal.example#{PASSWORD}",
    f"http://fal.example?key={PASSWORD}",
]


@pytest.mark.parametrize("url", PRIVATE)
def test_https_and_this_machines_loopback_are_private_enough(url: str) -> None:
    """The key goes out encrypted, or not out at all."""
    assert Hosts(queue_url=url).submit_url("a/b") == f"{url}/a/b"


@pytest.mark.parametrize("url", EXPOSED)
def test_what_others_could_read_is_refused(url: str) -> None:
    """Plain http to another machine is refused, however much it looks like this one."""
    with pytest.raises(InsecureHostError, match="Use an https:// address") as caught:
        Hosts(rest_url=url)
    assert "rest_url" in str(caught.value)


@pytest.mark.parametrize("url", REVEALING)
def test_a_refusal_does_not_show_a_password(url: str) -> None:
    """An address with a secret in it is refused, and the secret is not repeated."""
    with pytest.raises(InsecureHostError) as caught:
        Hosts(platform_url=url)
    assert "platform_url" in str(caught.value)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", ["https://fal.example?", "https://fal.example/#"])
def test_a_mark_without_anything_behind_it_is_refused(url: str) -> None:
    """What is put behind such an address would not be part of the path."""
    with pytest.raises(InsecureHostError, match="must be a bare address"):
        Hosts(queue_url=url)


def test_a_slash_at_the_end_makes_no_difference() -> None:
    """Addresses come with and without one."""
    assert Hosts(queue_url="https://fal.example/").submit_url("a/b") == "https://fal.example/a/b"


def test_urls_on_the_configured_origins_are_trusted() -> None:
    """An origin is scheme, host and port, all three; the path does not matter."""
    hosts = Hosts(queue_url="https://q.example", run_url="http://localhost:8000/run")
    trusted = [
        "https://q.example/anything",
        "https://Q.EXAMPLE:443/",
        "http://localhost:8000/requests/r1",
        "https://api.fal.ai/v2",
    ]
    strangers = [
        "http://q.example/",
        "https://q.example:444/",
        "https://q.example.evil.com/",
        "https://evil.com/q.example",
        "https://evil.com\\@q.example/",
        "https://evil.com@q.example/",
        "https://q.example@evil.com/",
        "http://localhost/",
        "/requests/r1",
        "q.example",
        "",
        "https://q.example:port/",
        "https://q.example/\n",
    ]
    assert [url for url in trusted if not hosts.trusts(url)] == []
    assert [url for url in strangers if hosts.trusts(url)] == []


def test_what_fal_said_is_used_where_it_is_trusted() -> None:
    """fal's own advice: use the addresses of the submission's answer, do not build them."""
    hosts = Hosts(queue_url="https://q.example")
    said = "https://q.example/v2/jobs/r1"
    ticket = Ticket(
        endpoint=ENDPOINT,
        request_id="r1",
        response_url=said,
        status_url=f"{said}/status",
        cancel_url=f"{said}/stop",
    )
    assert hosts.response_url(ticket) == said
    assert hosts.status_url(ticket) == f"{said}/status"
    assert hosts.stream_url(ticket) == f"{said}/status/stream"
    assert hosts.cancel_url(ticket) == f"{said}/stop"


@pytest.mark.parametrize("base", [None, "https://evil.com", "http://q.example", "nonsense"])
def test_what_is_not_trusted_is_built_anew(base: str | None) -> None:
    """A foreign address, or none, is replaced: below owner and app, where fal serves requests."""
    hosts = Hosts(queue_url="https://q.example/fal")
    ticket = Ticket(
        endpoint=ENDPOINT, request_id="r1", status_url=base, response_url=base, cancel_url=base
    )
    built = "https://q.example/fal/fal-ai/minimax/requests/r1"
    assert hosts.response_url(ticket) == built
    assert hosts.status_url(ticket) == f"{built}/status"
    assert hosts.stream_url(ticket) == f"{built}/status/stream"
    assert hosts.cancel_url(ticket) == f"{built}/cancel"


@pytest.mark.parametrize("id_", ["../../x", "a/b", "a?b=c", "a#b", "a\nb", "ü", "%2e%2e", " "])
def test_a_request_id_stays_one_segment_of_the_path(id_: str) -> None:
    """No id, whoever made it up, leads to another address than its own."""
    ticket = Ticket(endpoint=ENDPOINT, request_id=id_)
    url = httpx.URL(Hosts(queue_url="https://q.example").cancel_url(ticket))
    *before, segment, last = url.raw_path.decode().split("/")
    assert before == ["", "fal-ai", "minimax", "requests"]
    assert (unquote(segment), last) == (id_, "cancel")
    assert (url.host, url.query, url.fragment) == ("q.example", b"", "")


@pytest.mark.parametrize(
    "endpoint", ["", "hailuo", "../x", "a/../b", "a/b?c", "a/b#c", "a//b", "/a/b", "a/b/", "a/b\n"]
)
def test_an_endpoint_that_leads_elsewhere_is_refused(endpoint: str) -> None:
    """What is no endpoint's id is not sent a submission, nor asked about a request."""
    hosts = Hosts()
    for build in (hosts.submit_url, hosts.synchronous_url):
        with pytest.raises(UnknownEndpointError, match=r"is no endpoint's id\. Pass one such as"):
            build(endpoint)
    with pytest.raises(UnknownEndpointError):
        hosts.cancel_url(Ticket(endpoint=endpoint, request_id="r1"))


@pytest.mark.parametrize("id_", [".", ".."])
def test_an_id_that_every_server_would_take_for_a_way_up_is_refused(id_: str) -> None:
    """Dots cannot be written so that no server on the way resolves them."""
    with pytest.raises(ConfigurationError, match=r"is no request id\..*dashboard"):
        Hosts().request_url(Ticket(endpoint=ENDPOINT, request_id=id_))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
@given(id_=st.text(min_size=1, max_size=20).filter(lambda text: text not in (".", "..")))
def test_no_request_id_at_all_leaves_its_place(id_: str) -> None:
    """The same of whatever text there is."""
    url = httpx.URL(Hosts().request_url(Ticket(endpoint=ENDPOINT, request_id=id_)))
    assert url.host == "queue.fal.run"
    assert url.raw_path.decode().split("/")[:4] == ["", "fal-ai", "minimax", "requests"]
    assert unquote(url.raw_path.decode().split("/", 4)[4]) == id_


@pytest.mark.parametrize(
    "key",
    ["", " ", "id:sec ret1", "id:secret1\n", "\nid:secret1", "id:secret1\r\nX: y", "id:sécret"],
)
def test_what_cannot_be_a_key_is_refused_and_not_shown(key: str) -> None:
    """A key pasted with a line end is refused here: HTTP's own error would show it."""
    with pytest.raises(ConfigurationError, match=r"Copy it again from https://fal\.ai") as caught:
        Access(SecretStr(key))
    shown = "".join(traceback.format_exception(caught.value))
    assert not [part for part in ("sec ret1", "secret1", "sécret") if part in shown]


def test_access_does_not_show_its_key() -> None:
    """What is printed or logged of it is of no use to a thief."""
    access = access_to("http://127.0.0.1:8000")
    assert SECRET not in repr(access) + str(access)
    assert access.authorization == {"Authorization": f"Key {KEY}"}


def test_a_text_is_concealed() -> None:
    """The key is blotted out of a text, and so is its secret part by itself; its id may stay."""
    access = access_to("http://127.0.0.1:8000")
    identity = KEY.partition(":")[0]
    assert access.conceal(f"Key {KEY}, or {SECRET}.") == "Key **********, or **********."
    assert access.conceal(identity) == identity


def test_a_few_letters_are_no_secret() -> None:
    """A toy key does not blot out ordinary words."""
    toy = Access(SecretStr("a:key"))
    assert toy.conceal("The key is a:key.") == "The key is a:key."


@pytest.mark.parametrize(
    "host",
    [
        "https://queue.fal.run",
        "https://QUEUE.FAL.RUN",
        "https://queue.fal.run.",
        "https://fal.run:443/x",
        "https://api.fal.ai",
        "https://queue.falrun.com",
    ],
)
@pytest.mark.parametrize("name", ["queue_url", "run_url", "rest_url", "platform_url"])
def test_the_emulators_realm_is_never_at_fals_hosts(name: str, host: str) -> None:
    """Credentials that say that they cost nothing cannot lead to where money is spent."""
    local = dict.fromkeys(("queue_url", "run_url", "rest_url", "platform_url"), "http://localhost")
    hosts = Hosts(**{**local, name: host})
    with pytest.raises(
        ConfigurationError, match=r"name a host of fal, .*emulator\.credentials\(\)"
    ):
        Access(SecretStr(KEY), hosts, "emulator")


def test_a_host_that_only_sounds_like_fals_is_not_fals() -> None:
    """An emulator may run anywhere else."""
    hosts = Hosts(*["https://notfal.run"] * 4)
    assert Access(SecretStr(KEY), hosts, "emulator").realm == "emulator"


def test_an_account_is_named_by_a_digest_of_the_keys_id() -> None:
    """Two secrets of one id are one account; the label gives neither away; a given one stays."""
    first, rotated, other = (
        Access(SecretStr(key)).account for key in ("id1:secret-a", "id1:secret-b", "id2:secret-a")
    )
    assert first == rotated == "f3436f50b2f7"
    assert first != other
    assert Access(SecretStr(KEY), account="studio").account == "studio"
