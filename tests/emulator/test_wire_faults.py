"""What goes wrong on the wire, as a client sees it."""

from __future__ import annotations

import httpx
import pytest

from prefect_hailuo.emulator import (
    FalEmulator,
    ManualClock,
    bare_result,
    cut,
    delay,
    drop_after_accepting,
    drop_before_accepting,
    edit,
    expire_file,
    expire_result,
    foreign_urls,
    garble,
    lose_answer,
    redirect,
    refuse,
    refuse_without_credit,
    wrong_bytes,
)

from .asking import HAILUO_02, Asking, eventually


def finished(fal: Asking, clock: ManualClock) -> str:
    """A request whose video is made."""
    request_id = fal.buy()
    clock.advance(100)
    return request_id


def test_a_refusal(fal: Asking, emulator: FalEmulator) -> None:
    """The status, body and headers that were asked for; nothing is accepted."""
    emulator.faults.add(refuse("submit", 429, "Slow down", headers={"Retry-After": "2"}))
    reply = fal.submit()
    assert (reply.status_code, reply.json()) == (429, {"detail": "Slow down"})
    assert reply.headers["retry-after"] == "2" and "x-fal-emulator" in reply.headers
    assert emulator.submissions == []
    assert fal.submit().status_code == 200


def test_no_credit(fal: Asking, emulator: FalEmulator) -> None:
    """403 in the words by which fal locks an account."""
    emulator.faults.add(refuse_without_credit())
    assert "Exhausted balance" in fal.submit().json()["detail"]


@pytest.mark.parametrize("reset", [False, True])
def test_dropped_before_accepting(reset: bool, fal: Asking, emulator: FalEmulator) -> None:
    """The connection breaks for real, and the submission did nothing."""
    emulator.faults.add(drop_before_accepting("submit", reset=reset))
    with pytest.raises(httpx.ReadError if reset else httpx.RemoteProtocolError):
        fal.submit()
    assert (emulator.requests["submit"], emulator.submissions) == (1, [])


@pytest.mark.parametrize("reset", [False, True])
def test_dropped_after_accepting(
    reset: bool, fal: Asking, emulator: FalEmulator, clock: ManualClock
) -> None:
    """The connection breaks for real, and the video is made and charged: the one that matters."""
    emulator.faults.add(drop_after_accepting("submit", reset=reset))
    with pytest.raises(httpx.ReadError if reset else httpx.RemoteProtocolError):
        fal.submit("The lost one.")
    clock.advance(100)
    (lost,) = emulator.submissions
    assert (lost.body, lost.state.value) == ({"prompt": "The lost one."}, "COMPLETED")
    assert emulator.charged == 1


def test_drops_reach_clients_over_tls(tls_emulator: FalEmulator, trust: httpx.Client) -> None:
    """The same through TLS."""
    tls_emulator.faults.add(drop_after_accepting("submit"))
    with pytest.raises(httpx.TransportError):
        trust.post(f"/{HAILUO_02}", json={"prompt": "A red fox."})
    assert len(tls_emulator.submissions) == 1


def test_a_lost_answer(fal: Asking, emulator: FalEmulator) -> None:
    """Something between answers 502 in HTML, and the submission was accepted all the same."""
    emulator.faults.add(lose_answer("submit"))
    reply = fal.submit()
    assert (reply.status_code, reply.text[:6]) == (502, "<html>")
    assert len(emulator.submissions) == 1


def test_a_late_answer(fal: Asking, emulator: FalEmulator) -> None:
    """A client that does not wait gives up on a submission that was accepted."""
    emulator.faults.add(delay("submit", 0.5))
    with pytest.raises(httpx.ReadTimeout):
        fal.submit(timeout=0.1)
    assert eventually(lambda: len(emulator.submissions) == 1)


def test_a_late_request(fal: Asking, emulator: FalEmulator) -> None:
    """A submission can take effect after its client gave up."""
    emulator.faults.add(delay("submit", 0.5, after_accepting=False))
    with pytest.raises(httpx.ReadTimeout):
        fal.submit(timeout=0.1)
    assert emulator.submissions == []
    assert eventually(lambda: len(emulator.submissions) == 1)


def test_a_truncated_answer(fal: Asking, emulator: FalEmulator) -> None:
    """The answer breaks off in the middle; the submission was accepted."""
    emulator.faults.add(cut("submit", at=20))
    with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
        fal.submit()
    assert len(emulator.submissions) == 1


def test_a_cut_download_with_its_length(
    fal: Asking, emulator: FalEmulator, clock: ManualClock
) -> None:
    """The file's length is announced, and the connection ends before it is there."""
    url = fal.video_url(finished(fal, clock))
    emulator.faults.add(cut("media", at=5000))
    with httpx.stream("GET", url) as reply:
        assert int(reply.headers["content-length"]) > 5000
        with pytest.raises(httpx.RemoteProtocolError):
            reply.read()
    assert len(httpx.get(url).content) > 5000


def test_a_cut_download_without_length(
    fal: Asking, emulator: FalEmulator, clock: ManualClock
) -> None:
    """Chunked, and broken off."""
    emulator.faults.add(cut("media", at=5000, with_length=False))
    with httpx.stream("GET", fal.video_url(finished(fal, clock))) as reply:
        assert "content-length" not in reply.headers
        with pytest.raises(httpx.RemoteProtocolError):
            reply.read()


def test_a_cut_download_that_looks_whole(
    fal: Asking, emulator: FalEmulator, clock: ManualClock
) -> None:
    """Chunked, and ended in good order: only the file itself tells that half is missing."""
    emulator.faults.add(cut("media", at=5000, with_length=False, looks_whole=True))
    assert len(httpx.get(fal.video_url(finished(fal, clock))).content) == 5000


def test_wrong_bytes(fal: Asking, emulator: FalEmulator, clock: ManualClock) -> None:
    """Another file comes in the video's place."""
    url = fal.video_url(finished(fal, clock))
    emulator.faults.add(wrong_bytes())
    assert httpx.get(url).content == b"not a video"


@pytest.mark.parametrize("status", [404, 410])
def test_an_expired_file(
    status: int, fal: Asking, emulator: FalEmulator, clock: ManualClock
) -> None:
    """The file is gone for good."""
    url = fal.video_url(finished(fal, clock))
    emulator.faults.add(expire_file(status, count=None))
    assert [httpx.get(url).status_code for _ in range(3)] == [status] * 3


def test_an_expired_result(fal: Asking, emulator: FalEmulator, clock: ManualClock) -> None:
    """The result is no longer kept, as after an hour."""
    request_id = finished(fal, clock)
    emulator.faults.add(expire_result())
    assert fal.result(request_id).json() == {"status": "NOT_FOUND"}


def test_answers_that_are_not_fals(fal: Asking, emulator: FalEmulator) -> None:
    """200 with what is no JSON, or JSON of another shape."""
    request_id = fal.buy()
    emulator.faults.add(garble("status"), garble("status", ["what"], nth=2))
    assert fal.status(request_id).text.startswith("<html>")
    assert fal.status(request_id).json() == ["what"]


def test_an_edited_answer(fal: Asking, emulator: FalEmulator) -> None:
    """Any change to the true answer, in a status and in the frames of a stream."""
    request_id = fal.buy()
    change = edit("status", lambda body: {**body, "status": "PONDERING"})
    emulator.faults.add(change, edit("stream", lambda body: {"status": "COMPLETED"}))
    assert fal.state(request_id) == "PONDERING"
    path = f"/fal-ai/minimax/requests/{request_id}/status/stream"
    with fal.http.stream("GET", path) as reply:
        assert next(reply.iter_lines()) == 'data: {"status":"COMPLETED"}'


def test_a_bare_result(fal: Asking, emulator: FalEmulator, clock: ManualClock) -> None:
    """Only what fal guarantees: the URL."""
    emulator.faults.add(bare_result())
    video = fal.result(finished(fal, clock)).json()["video"]
    assert (set(video), video["content_type"]) == ({"url", "content_type"}, None)


def test_foreign_urls(fal: Asking, emulator: FalEmulator) -> None:
    """The addresses in the answer to a submission lead to another host."""
    emulator.faults.add(foreign_urls("https://elsewhere.example"))
    body = fal.submit().json()
    assert body["status_url"].startswith("https://elsewhere.example/fal-ai/minimax/requests/")
    assert fal.submit().json()["status_url"].startswith(emulator.url)


@pytest.mark.parametrize("kind", ["status", "media"])
def test_a_redirect(kind: str, fal: Asking, emulator: FalEmulator, clock: ManualClock) -> None:
    """302 to wherever a test wants to lead the key."""
    request_id = finished(fal, clock)
    url = fal.video_url(request_id)
    emulator.faults.add(redirect("status", "http://localhost:9/"), redirect("media", "http://x/"))
    reply = fal.status(request_id) if kind == "status" else httpx.get(url)
    assert (reply.status_code, reply.is_redirect) == (302, True)


def test_a_stream_that_breaks_off(fal: Asking, emulator: FalEmulator, clock: ManualClock) -> None:
    """A stream can end before completion."""
    emulator.faults.add(cut("stream", at=30, with_length=False))
    path = f"/fal-ai/minimax/requests/{fal.buy()}/status/stream"
    with fal.http.stream("GET", path) as reply, pytest.raises(httpx.RemoteProtocolError):
        reply.read()


def test_faults_choose_by_number(fal: Asking, emulator: FalEmulator) -> None:
    """From the nth on, so many of them."""
    emulator.faults.add(refuse("submit", 503, nth=2, count=2))
    assert [fal.submit().status_code for _ in range(5)] == [200, 503, 503, 200, 200]


def test_faults_choose_by_what_is_asked_about(
    fal: Asking, emulator: FalEmulator, clock: ManualClock
) -> None:
    """By prompt and by endpoint, also for requests that only carry an id."""
    emulator.faults.add(refuse("status", 502, prompt="owl", count=None))
    emulator.faults.add(refuse("submit", 500, endpoint=HAILUO_02))
    fox, owl = fal.buy("A red fox."), fal.buy("An owl.")
    assert [fal.status(each).status_code for each in (fox, owl, fox, owl)] == [202, 502, 202, 502]
    assert [fal.submit().status_code, fal.submit(endpoint=HAILUO_02).status_code] == [200, 500]


def test_faults_can_be_counted_and_cleared(fal: Asking, emulator: FalEmulator) -> None:
    """A test can ask whether its fault struck, and end all of them."""
    fault = refuse("submit", 503, count=None)
    emulator.faults.add(fault)
    fal.submit(), fal.submit()
    assert emulator.faults.struck(fault) == 2
    emulator.faults.clear()
    assert fal.submit().status_code == 200


def test_faults_count_from_one() -> None:
    """A fault on the zeroth request is a mistake, and said to be one."""
    with pytest.raises(ValueError, match="begin at 1"):
        refuse("submit", 500, nth=0)
