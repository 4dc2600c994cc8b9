"""A console that knows few characters is told all the same, by every family of commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from commands import Console

from prefect_hailuo import Hailuo02ProTextToVideo, generate_video
from prefect_hailuo.cli import main
from prefect_hailuo.emulator import FalEmulator

PROMPT = "狐が雪原を渡る。🦊"


def test_a_prompt_in_japanese_ends_no_command(
    prefect_server: None, emulator: FalEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each prints what it can on a terminal of Western Europe's characters, also into a file."""
    monkeypatch.setenv("PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL", emulator.url)
    fox = Hailuo02ProTextToVideo(prompt=PROMPT)
    video = generate_video(fox, credentials=emulator.credentials(), storage=tmp_path)
    rows, exported = tmp_path / "rows.csv", str(tmp_path / "ledger.jsonl")
    rows.write_text(f"prompt\n{PROMPT}\n", encoding="utf-8")
    for call in (
        ["ledger", "list"],
        ["ledger", "list", "--json"],
        ["ledger", "show", str(video.key)],
        ["ledger", "export", exported],
        ["ledger", "import", exported],
        ["ledger", "reconcile"],
        ["ledger", "prune", "--older-than", "1", "--dry-run"],
        ["spend"],
        ["budget", "list"],
        ["models"],
        ["run", "batch", str(rows), "--plan", "--emulator", emulator.url],
    ):
        out, err = Console(), Console()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main(call)
        assert not ended.value.code, (call, ended.value.code, err.told)
        if "--json" in call:
            assert PROMPT in json.dumps(json.loads(out.told), ensure_ascii=False)
    command = [
        sys.executable,
        "-c",
        "from prefect_hailuo.cli import main; main()",
        "ledger",
        "list",
    ]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
