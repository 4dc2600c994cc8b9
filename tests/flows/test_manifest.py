"""Catalogues as people write them down: read, checked all at once, each video once."""

from __future__ import annotations

import gzip
import json
import socket
import traceback
from pathlib import Path
from typing import Any

import pytest
from picture_ground import Shot, plain_picture

from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.flows.rows import (
    Defaults,
    Manifest,
    make_manifest,
    read_rows,
    rows_of,
    rows_of_list,
)
from prefect_hailuo.models.catalogue import CATALOGUE

DEFAULTS = Defaults("hailuo-2.3-pro")


def manifest_of(path: Path, text: str, defaults: Defaults = DEFAULTS) -> Manifest:
    """What a file with that text asks for."""
    path.write_bytes(text.encode())
    return make_manifest(read_rows(str(path)), defaults)


def refusal_of(path: Path, text: str) -> list[str]:
    """The complaints about a file with that text, one a line."""
    with pytest.raises(ConfigurationError) as caught:
        manifest_of(path, text)
    return [line.strip() for line in caught.value.message.splitlines()[1:]]


def told(manifest: Manifest) -> list[tuple[Any, ...]]:
    """What is asked for, for a test to compare."""
    return [
        (each.input.endpoint.name, each.input.prompt, each.input.prompt_optimizer, each.take)
        for each in manifest.items
    ]


SAME = {
    "rows.csv": "\ufeffprompt,model,take,prompt_optimizer,labels.sku\r\n"
    'A fox.,,,,F-1\r\n"Two\nlines, ""said"" she.",hailuo-02-pro,2,no,\r\n',
    "rows.tsv": "Prompt\tModel\tTake\tPrompt optimizer\tlabels.sku\nA fox.\t\t\t\tF-1\n"
    '"Two\nlines, ""said"" she."\thailuo-02-pro\t2\tno\t\n',
    "excel.csv": "prompt;model;take;prompt_optimizer;labels.sku\nA fox.;;;;F-1\n;;;;\n"
    '"Two\nlines, ""said"" she.";hailuo-02-pro;2;no;\n',
    "rows.jsonl": '{"prompt": "A fox.", "labels": {"sku": "F-1"}, "take": null}\n\n'
    '{"prompt": "Two\\nlines, \\"said\\" she.", "model": "hailuo-02-pro", "take": 2, '
    '"prompt_optimizer": false}\n',
    "rows.json": '[{"prompt": "A fox.", "labels.sku": "F-1"}, {"prompt": "Two\\nlines, \\"said\\" '
    'she.", "model": "hailuo-02-pro", "take": "2", "prompt_optimizer": false}]',
    "rows.yaml": '- prompt: A fox.\n  labels: {sku: F-1}\n- prompt: |-\n    Two\n    lines, "said" '
    "she.\n  model: hailuo-02-pro\n  take: 2\n  prompt_optimizer: no\n",
}


@pytest.mark.parametrize("name", SAME)
def test_every_kind_of_file_says_the_same(name: str, tmp_path: Path) -> None:
    """Columns for the fields, the model, the take and labels; an empty cell is the default."""
    manifest = manifest_of(tmp_path / name, SAME[name])
    assert told(manifest) == [
        ("hailuo-2.3-pro", "A fox.", True, "0"),
        ("hailuo-02-pro", 'Two\nlines, "said" she.', False, "2"),
    ]
    assert [each.labels for each in manifest.items] == [{"sku": "F-1"}, {}]


def test_a_text_has_a_prompt_on_each_line_and_may_be_compressed(tmp_path: Path) -> None:
    """What is said for all holds for those that do not say."""
    (tmp_path / "prompts.txt.gz").write_bytes(gzip.compress("A fox.\n\nEin Käuzchen.\n".encode()))
    defaults = Defaults("hailuo-02-pro", "monday", {"prompt_optimizer": False})
    manifest = make_manifest(read_rows(str(tmp_path / "prompts.txt.gz")), defaults)
    assert told(manifest) == [
        ("hailuo-02-pro", "A fox.", False, "monday"),
        ("hailuo-02-pro", "Ein Käuzchen.", False, "monday"),
    ]


def test_equal_rows_are_one_video() -> None:
    """Also where accents are written otherwise; another take or model is another video."""
    fox = {"prompt": "A caf\u00e9.", "take": 1}
    rows: list[Any] = [fox, {**fox, "prompt": "A cafe\u0301.", "take": " 1 "}]
    rows += [{**fox, "take": 2}, {**fox, "model": "hailuo-02-pro"}]
    manifest = make_manifest(rows_of_list(rows), DEFAULTS)
    assert (len(manifest.items), manifest.repeated) == (3, 1)
    assert manifest.places == ("row 1", "row 3", "row 4")


def test_every_wrong_row_is_named_at_once(tmp_path: Path) -> None:
    """Each with its line and what cures it; nothing is taken of a file that has one."""
    text = 'prompt,model,take\n,,\nA fox.,hailuo-02-prp,\n,hailuo-02-pro,\n"x\ny",,3\nA, b,,x\n'
    text += f"{'x' * 2001},,\nGood.,,\n"
    assert refusal_of(tmp_path / "rows.csv", text) == [
        "line 3: model: There is no endpoint 'hailuo-02-prp'. Did you mean 'hailuo-02-pro'?",
        "line 4: prompt: it is missing; fill it in",
        "line 7: 4 cells in 3 columns; put a text with a delimiter in it in double quotes",
        "line 8: prompt: String should have at most 2000 characters",
    ]


@pytest.mark.parametrize(
    ("name", "text", "complaints"),
    [
        ("a.csv", "promt,take\nA fox.,1\n", ["line 1: there is no column 'promt': did you me"]),
        ("a.csv", "A fox.\nAn owl.\n", ["line 1: there is no column 'A fox.': there are "]),
        ("a.csv", "prompt,prompt\na,b\n", ["line 1: there are several columns 'prompt'"]),
        ("a.csv", "take\n1\n", ["line 1: there is no column 'prompt'; begin"]),
        ("a.csv", 'prompt\nA fox.\n"An owl.\n', ["line 3: no CSV: "]),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt"\n[1]\n', ["line 2: no JSON: ", "line 3: a row"]),
        ("a.jsonl", '{"prompt": "a", "tak": 1}\n', ["line 1: there is no column 'tak': did you"]),
        ("a.json", '{"prompt": "a"}', ["the file holds no list"]),
        ("a.yaml", "prompt: a\n", ["the file holds no list"]),
        ("a.yaml", "- prompt: a\n- prompt: [\n", ["line 3: no YAML: "]),
        ("a.yaml", "- a\n- prompt: yes\n", ["line 2: prompt: Input should be a valid string"]),
        ("a.yaml", "- prompt: a\n  take: [1]\n", ["line 1: take: take must be an int or a str"]),
        ("a.yaml", "- prompt: a\n  labels: 1\n", ["line 1: labels: write a mapping"]),
        ("a.txt", "A fox.\n" + "x" * 2001, ["line 2: prompt: String should have at most 2000"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(
    name: str, text: str, complaints: list[str], tmp_path: Path
) -> None:
    """Columns that nobody knows are refused with the nearest that there is."""
    found = refusal_of(tmp_path / name, text)
    assert len(found) == len(complaints), found
    for each, complaint in zip(found, complaints, strict=True):
        assert each.startswith(complaint)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"prompt\nK\xe4uzchen\n", "not UTF-8"), (b"", "no rows"), (None, "cannot be read")],
)
def test_a_file_that_cannot_be_read_is_refused(
    content: bytes | None, why: str, tmp_path: Path
) -> None:
    """As is an empty one."""
    path = tmp_path / "rows.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=why):
        make_manifest(read_rows(str(path)), DEFAULTS)


def test_dates_of_yaml_are_takes(tmp_path: Path) -> None:
    """As they are written, and so are numbers."""
    text = "- {prompt: a, take: 2026-01-31}\n- {prompt: a, take: 1.5}\n"
    assert [each.take for each in manifest_of(tmp_path / "a.yaml", text).items] == [
        "2026-01-31",
        "1.5",
    ]


def test_items_survive_being_rows_again() -> None:
    """As a run passes them to its shards, which know nothing of its defaults."""
    rows = ["A fox.", {"prompt": "b", "model": "hailuo-02-pro", "take": 2, "labels": {"a": "1"}}]
    defaults = Defaults("hailuo-2.3-pro", "x", {"prompt_optimizer": False})
    items = make_manifest(rows_of_list(rows), defaults).items
    passed = json.loads(json.dumps(rows_of(items, "hailuo-2.3-pro")))
    assert make_manifest(rows_of_list(passed), DEFAULTS).items == items


def test_a_field_that_some_models_have_is_a_column(tmp_path: Path) -> None:
    """A number or a text, as the kind of file has it; a model that has it not refuses it."""
    yaml = "- {prompt: a, model: hailuo-02-standard, duration: 10}\n"
    comma = "prompt,model,duration\na,hailuo-02-standard,10\nb,hailuo-02-pro,\n"
    [item] = manifest_of(tmp_path / "a.yaml", yaml).items
    assert item.input.model_dump()["duration"] == "10"
    assert manifest_of(tmp_path / "a.csv", comma).items[0] == item
    wrong = comma.replace("b,hailuo-02-pro,", "b,hailuo-02-pro,6\nc,hailuo-02-standard,7")
    complaints = refusal_of(tmp_path / "a.csv", wrong)
    assert complaints[0].startswith("line 3: duration: hailuo-02-pro has no such field; leave it e")
    assert "hailuo-2.3-standard" in complaints[0]
    assert complaints[1].startswith("line 4: duration: Input should be '6', '10'")


def test_a_picture_is_looked_for_beside_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's own directory says nothing; a URL, and what is not there, stay as they are."""
    monkeypatch.setitem(CATALOGUE, Shot.endpoint.id, Shot)
    (tmp_path / "fox.png").write_bytes(plain_picture())
    rows = ["prompt,model,image_url", "a,tests-image-to-video,fox.png"]
    rows += ["b,tests-image-to-video,https://example.com/fox.png", "c,tests-image-to-video,"]
    (tmp_path / "rows.csv").write_text("\n".join(rows[:3]))
    manifest = make_manifest(read_rows(str(tmp_path / "rows.csv")), DEFAULTS)
    named = [each.input.model_dump()["image_url"] for each in manifest.items]
    assert named == [str(tmp_path / "fox.png"), "https://example.com/fox.png"]
    complaints = refusal_of(tmp_path / "rows.csv", "\n".join(rows))
    assert complaints == ["line 4: image_url: it is missing; fill it in"]
    rows[1] = "a,tests-image-to-video,~nobody-here/fox.png"
    assert "a home that is not known" in refusal_of(tmp_path / "rows.csv", "\n".join(rows[:2]))[0]


@pytest.mark.parametrize("login", ["", "me:hush-hush@"])
def test_a_signed_address_that_cannot_be_read_is_not_shown(login: str) -> None:
    """Neither in the error, nor in what it came from: a run's log shows both."""
    secret = "hush-" * 2
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        there = f"127.0.0.1:{taken.getsockname()[1]}/rows.csv"
        with pytest.raises(ConfigurationError, match="cannot be read from") as caught:
            read_rows(f"http://{login}{there}?X-Amz-Signature={secret}")
    error = caught.value
    assert there in error.message
    assert secret[:-1] not in "".join(traceback.format_exception(error))
