"""Catalogues as people write them down: read, checked all at once, each video once."""

from __future__ import annotations

import gzip
import json
import socket
import traceback
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from picture_ground import Served, Shot, plain_picture, serving_pictures

from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.flows import row_files
from prefect_hailuo.flows.manifest import Defaults, Manifest, make_manifest, rows_of
from prefect_hailuo.flows.row_files import read_rows, rows_of_list
from prefect_hailuo.models.catalogue import CATALOGUE, VideoInput

DEFAULTS = Defaults("hailuo-2.3-pro")

CASES = Path(__file__).parent / "row_cases"

RIGHT: dict[str, Any] = json.loads((CASES / "expected.json").read_text(encoding="utf-8"))
"""What the files of `row_cases` ask for, or how they are refused."""


def manifest_of(path: Path, text: str, defaults: Defaults = DEFAULTS) -> Manifest:
    """What a file with that text asks for."""
    path.write_bytes(text.encode())
    return make_manifest(read_rows(str(path)), defaults)


def refusal_of(path: Path, text: str) -> list[str]:
    """The complaints about a file with that text, one a line."""
    with pytest.raises(ConfigurationError) as caught:
        manifest_of(path, text)
    return [line.strip() for line in caught.value.message.splitlines()[1:]]


def optimized(given: VideoInput) -> object:
    """Whether MiniMax may rewrite a prompt, where the model has that choice."""
    return given.body().get("prompt_optimizer")


def told(manifest: Manifest) -> list[tuple[Any, ...]]:
    """What is asked for, for a test to compare."""
    return [
        (
            each.input.endpoint.name,
            each.input.prompt,
            each.input.body().get("prompt_optimizer"),
            each.take,
        )
        for each in manifest.items
    ]


def cells_of(manifest: Manifest, like: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a manifest asks for, as far as `like` says something of it."""
    told = [
        {
            **each.input.model_dump(),
            "model": each.input.endpoint.name,
            "take": each.take,
            "labels": each.labels,
        }
        for each in manifest.items
    ]
    assert len(told) == len(like)
    return [{name: has[name] for name in wanted} for has, wanted in zip(told, like, strict=True)]


@pytest.mark.parametrize("name", RIGHT)
def test_the_rows_that_people_really_have(name: str) -> None:
    """Each file asks for what its writer meant, or is refused with its line; never bought as is."""
    right = RIGHT[name]
    if refused := right.get("refused"):
        with pytest.raises(ConfigurationError) as caught:
            make_manifest(read_rows(str(CASES / name)), DEFAULTS)
        assert all(each in caught.value.message for each in refused)
        return
    manifest = make_manifest(read_rows(str(CASES / name)), DEFAULTS)
    if "count" in right:
        assert len(manifest.items) == right["count"]
        return
    wanted = [{**each, "take": str(each["take"])} for each in right["rows"]]
    assert cells_of(manifest, wanted) == wanted
    bare = [each.labels for each, row in zip(manifest.items, wanted, strict=True) if len(row) == 2]
    assert not any(bare)


def test_a_line_end_makes_no_other_video() -> None:
    """Whoever saves a file on another system buys nothing again; nor does pandas with its 1.0."""
    lf, crlf = (read_rows(str(CASES / f"line-ends-{each}.csv")) for each in ("lf", "crlf"))
    assert make_manifest(lf, DEFAULTS).digest == make_manifest(crlf, DEFAULTS).digest
    floats: list[Any] = [{"prompt": "A kettle.", "take": each} for each in (1.0, 1, "1")]
    assert len(make_manifest(rows_of_list(floats), DEFAULTS).items) == 1


@pytest.mark.parametrize("name", ["table", "table.tab", "table.txt", "table.dat"])
def test_a_table_is_one_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    """By its header; a format that is said decides."""
    text = (CASES / "hidden-ending.csv.txt").read_text()
    assert [each.take for each in manifest_of(tmp_path / name, text).items] == ["1", "2"]
    as_text = read_rows(str(tmp_path / name), "text").rows
    assert as_text[0].cells == {"prompt": "prompt,model,take"}


@pytest.mark.parametrize(
    "text",
    [
        "A fox;1\nAn owl;2\n",
        "A fox\t1\n",
        '{"prompt": "A fox."\n}\n{"prompt": "An owl."}\n',
        "[\n",
    ],
)
def test_what_may_be_a_table_is_not_bought(text: str, tmp_path: Path) -> None:
    """Where a file says neither what it is nor that it is not, a person has to."""
    (tmp_path / "rows.txt").write_text(text)
    with pytest.raises(ConfigurationError, match="cannot be told") as caught:
        read_rows(str(tmp_path / "rows.txt"))
    assert "--format csv, jsonl, json, yaml, text" in caught.value.cure


@pytest.mark.parametrize(
    "text",
    ["[Push in] A fox; it waits.\n[Pan left], slowly; an owl.\n", "A fox: red.\n", "Take; two.\n"],
)
def test_a_prompt_is_no_table(text: str, tmp_path: Path) -> None:
    """Camera commands, colons and semicolons are a prompt's own."""
    prompts = [each.input.prompt for each in manifest_of(tmp_path / "a.txt", text).items]
    assert prompts == text.splitlines()


@pytest.mark.parametrize(
    ("media_type", "text"),
    [
        ("text/csv; charset=utf-8", "Prompt\nA fox, red\n"),
        ("application/json", '[{"prompt": "A fox."}, {"prompt": "An owl."}]'),
        ("text/plain", "prompt;take\nA fox;1\nAn owl;2\n"),
    ],
)
def test_an_address_without_an_ending(media_type: str, text: str) -> None:
    """The answer's content type tells what it is, or else the text does: no header is bought."""
    with serving_pictures() as server:
        server.files["/export"] = Served(text.encode(), headers={"Content-Type": media_type})
        raw = read_rows(f"{server.url}/export?id=3")
    if media_type.startswith("text/csv"):
        with pytest.raises(ConfigurationError, match="line 2: 2 cells in 1 columns"):
            make_manifest(raw, DEFAULTS)
    else:
        assert len(make_manifest(raw, DEFAULTS).items) == 2


@pytest.mark.parametrize(
    "name", ["prompts.txt", "my rows.xlsx", "rows.ods", "https://example.com/export", "fox.png"]
)
def test_a_files_name_is_no_prompt(name: str, tmp_path: Path) -> None:
    """Neither in a list nor on a line of a text; as a row's `prompt`, it is what was meant."""
    with pytest.raises(ConfigurationError, match=r"row 2: .* looks like a file's name"):
        make_manifest(rows_of_list(["A fox.", name]), DEFAULTS)
    assert "prompts_file (--file)" in refusal_of(tmp_path / "a.txt", f"A fox.\n{name}\n")[0]
    assert make_manifest(rows_of_list([{"prompt": name}]), DEFAULTS).items[0].input.prompt == name


def test_a_workbook_is_refused_with_its_cure(tmp_path: Path) -> None:
    """Whatever it is called."""
    (tmp_path / "rows.csv").write_bytes(b"PK\x03\x04" + bytes(30))
    with pytest.raises(ConfigurationError, match="is a workbook") as caught:
        read_rows(str(tmp_path / "rows.csv"))
    assert "CSV UTF-8" in caught.value.cure


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_without_an_end_is_refused(tmp_path: Path, packed: bool) -> None:
    """A backup that was named by mistake, or a few packed kilobytes, do not fill the memory."""
    path, piece = tmp_path / ("rows.csv.gz" if packed else "rows.csv"), bytes(1 << 20)
    with gzip.open(path, "wb", 1) if packed else path.open("wb") as file:
        for _ in range(300):
            file.write(piece)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigurationError, match="more than 67,108,864 bytes") as caught:
            read_rows(str(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "split it" in caught.value.cure and peak < 3 * row_files.MOST_BYTES


def test_one_video_for_two_articles_is_two_rows() -> None:
    """It is bought once, and each article finds its own line; what is equal to the end is one."""
    rows = [{"prompt": "A fox.", "labels.sku": each} for each in ("F-1", "F-2", "F-1")]
    manifest = make_manifest(rows_of_list(rows), DEFAULTS)
    assert [each.labels["sku"] for each in manifest.items] == ["F-1", "F-2"]
    assert [each.labels["sku"] for each in manifest.purchases] == ["F-1"]
    assert (manifest.places, manifest.repeated) == (("row 1", "row 2"), 2)


def bomb(levels: int) -> str:
    """YAML whose last label repeats the first ten times as often with each level."""
    names = [f"    l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(["- prompt: A fox.", "  labels:", "    l0: &l0 [a, b]", *names, ""])


ENDLESS = {
    "repeated": bomb(12),
    "itself": "- &row {prompt: A fox., labels: *row}\n",
    "deep": f"- prompt: {'[' * 5000}{']' * 5000}\n",
}


@pytest.mark.parametrize("text", ENDLESS.values(), ids=list(ENDLESS))
def test_a_few_lines_that_stand_for_no_end_are_refused(tmp_path: Path, text: str) -> None:
    """Nor is it tried how much memory they take; what rows share by an anchor is theirs."""
    assert len(refusal_of(tmp_path / "rows.yaml", text)) == 1
    shared = "- {prompt: A fox., labels: &ours {client: A}}\n- {prompt: An owl., labels: *ours}\n"
    made = manifest_of(tmp_path / "rows.yaml", shared)
    assert [each.labels for each in made.items] == [{"client": "A"}] * 2


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
        "line 4: the prompt is missing; fill it in",
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
        ("a.csv", "prompt\n" + "x" * 140_000, ["line 2: a cell has more than 131,07"]),
        ("a.csv", "sep=;\ntake;promt\n", ["line 2: there is no column 'promt'"]),
        ("a.csv", "prompt,take\nA,1\n\ufefftake,prompt\nB,2\n", ["line 3: the header again"]),
        ("a.csv", ",prompt,\n0,A,\n1,B,2\n", ["line 3: '2' is in a column without"]),
        ("a.jsonl", '{"prompt": "a", "prompt": "b"}', ["line 1: prompt is there twice"]),
        ("a.jsonl", '{"prompt": "a", "Prompt": "b"}', ["line 1: prompt is there twice"]),
        ("a.json", '[{"prompt": "a", "labels": {"b": 1, "b": 2}}]', ["row 1: labels.b is the"]),
        ("a.jsonl", '{"prompt": "a", "labels.b": 1, "labels": {"b": 2}}', ["line 1: labels.b"]),
        ("a.jsonl", '{"prompt": "a", "take": Infinity}', ["line 1: take: take must be an int or"]),
        ("a.json", "[" * 100_000, ["no JSON: it is nested too deep"]),
        ("a.yaml", "- prompt: a\n  Prompt: b\n", ["line 2: Prompt is there twice"]),
        ("a.txt", 'A fox.\n{"prompt": "b"}\n', ["line 2: it is JSON, and no prompt"]),
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
    (tmp_path / "10:15 fox.png").write_bytes(plain_picture())
    early = "\n".join([rows[0], "a,tests-image-to-video,10:15 fox.png"])
    [at_ten] = manifest_of(tmp_path / "rows.csv", early).items
    assert at_ten.input.model_dump()["image_url"] == str(tmp_path / "10:15 fox.png")
    rows += ["b,tests-image-to-video,https://example.com/fox.png", "c,tests-image-to-video,"]
    (tmp_path / "rows.csv").write_text("\n".join(rows[:3]))
    manifest = make_manifest(read_rows(str(tmp_path / "rows.csv")), DEFAULTS)
    named = [each.input.model_dump()["image_url"] for each in manifest.items]
    assert named == [str(tmp_path / "fox.png"), "https://example.com/fox.png"]
    complaints = refusal_of(tmp_path / "rows.csv", "\n".join(rows))
    assert complaints == ["line 4: the image_url is missing; fill it in"]
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
