"""A console that knows few characters is told all the same, by every family of commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from prefect_hailuo import Hailuo02ProTextToVideo, generate_video
from prefect_hailuo.emulator import FalEmulator

PROMPT = "狐が雪原を渡る。🦊"
MAIN = "from prefect_hailuo.cli import main; main()"


def test_a_prompt_in_japanese_ends_no_command(
    prefect_server: None, emulator: FalEmulator, tmp_path: Path
) -> None:
    """Each prints what it can on a terminal of Western Europe's characters, also into a file."""
    fox = Hailuo02ProTextToVideo(prompt=PROMPT)
    video = generate_video(fox, credentials=emulator.credentials(), storage=tmp_path)
    rows = tmp_path / "rows.csv"
    rows.write_text(f"prompt\n{PROMPT}\n", encoding="utf-8")
    environment = os.environ | {
        "PYTHONIOENCODING": "cp1252",
        "PREFECT_INTEGRATIONS_HAILUO_EMULATOR_URL": emulator.url,
    }
    calls = [
        ["ledger", "list"],
        ["ledger", "list", "--json"],
        ["ledger", "show", str(video.key)],
        ["ledger", "export", str(tmp_path / "ledger.jsonl")],
        ["spend"],
        ["budget", "list"],
        ["models"],
        ["run", "batch", str(rows), "--plan", "--emulator", emulator.url],
    ]
    for call in calls:
        command = [sys.executable, "-c", MAIN, *call]
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, (call, done.stderr)
        told = done.stdout.decode("cp1252")
        if "--json" in call:
            assert PROMPT in json.dumps(json.loads(told), ensure_ascii=False)
