"""Where the ledger is: nowhere that forgets what was bought, and no password shown."""

from __future__ import annotations

import traceback
from collections.abc import Collection
from pathlib import Path

import pytest
from children import run_python
from pydantic import SecretStr
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from prefect_hailuo.errors import Billed, LedgerError
from prefect_hailuo.ledger import address
from prefect_hailuo.ledger.address import (
    Allowance,
    LedgerAddress,
    Mount,
    check_disk,
    ledger_address,
    mount_of,
    parse_mounts,
)
from prefect_hailuo.ticket import Realm

HOME = Path("/home/fox/.prefect/hailuo")

CONTAINER = r"""
612 480 0:66 / / rw,relatime master:240 - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir=/d/diff
613 612 0:69 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
614 612 0:70 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
620 612 254:1 /docker/volumes/l/_data /srv/my\040ledger rw shared:1 master:2 - ext4 /dev/vda1 rw
621 612 0:75 / /efs rw,relatime - nfs4 fs-1.example:/ rw,vers=4.1
622 612 0:76 / /home rw,relatime - autofs systemd-1 rw,direct
623 622 8:17 / /home rw,relatime - xfs /dev/sdb1 rw

garbage
"""
"""A container's mount table: what it is laid over, a volume, a share, one that hides another."""


@pytest.fixture(autouse=True)
def a_plain_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with a single lasting disk, whatever these tests run on. Returns its mount table."""
    table = tmp_path / "mountinfo"
    table.write_text("27 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n")
    monkeypatch.setattr(address, "MOUNT_TABLE", table)
    monkeypatch.setattr(address, "CONTAINER_MARKS", ())
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return table


def url_of(given: str, realm: Realm = "fal") -> str:
    """What SQLAlchemy is given in the end."""
    return ledger_address(given, realm, HOME).url.get_secret_value()


def refusal_of(given: str) -> LedgerError:
    """The error about a URL, which names the setting and speaks of no purchase."""
    with pytest.raises(LedgerError) as caught:
        ledger_address(given, "fal", HOME)
    assert "PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL" in caught.value.cure
    assert (caught.value.billed, caught.value.retryable) == (Billed.NO, False)
    return caught.value


@pytest.mark.parametrize("realm", ["fal", "emulator"])
def test_the_default_is_a_file_of_the_realms_own(realm: Realm) -> None:
    """Unless something is set, each realm has a file under Prefect's home."""
    address = ledger_address(None, realm, HOME)
    assert address.file == HOME / realm / "ledger.db"
    assert make_url(address.url.get_secret_value()).drivername == "sqlite"
    assert (address.name, address.realm) == (str(address.file), realm)


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+aiosqlite", "sqlite+pysqlite"])
def test_a_sqlite_file_is_served_by_one_driver(scheme: str) -> None:
    """However the URL is spelled, and with what it asks for."""
    assert url_of(f"{scheme}:////srv/ledger.db?timeout=9") == ("sqlite:////srv/ledger.db?timeout=9")


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ("ledger.db", "ledger-emulator.db"),
        ("paid.sqlite3", "paid-emulator.sqlite3"),
        ("ledger", "ledger-emulator"),
        (".ledger", ".ledger-emulator"),
    ],
)
def test_a_given_file_is_the_realm_fals(given: str, own: str) -> None:
    """The emulator's ledger is another file beside it."""
    assert ledger_address(f"sqlite:////srv/{given}", "fal", HOME).file == Path("/srv", given)
    assert ledger_address(f"sqlite:////srv/{given}", "emulator", HOME).file == Path("/srv", own)


def test_a_file_is_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absolute and from the home directory: one ledger, wherever one goes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    urls = ["sqlite:///~/out/a.db", f"sqlite:///{tmp_path}/out/a.db"]
    addresses = {ledger_address(url, "fal", HOME) for url in urls}
    monkeypatch.chdir("/")
    assert {address.file for address in addresses} == {tmp_path / "out" / "a.db"}
    assert len(addresses) == 1


@pytest.mark.parametrize("given", ["ledger.db", "./ledger.db", "../out/ledger.db"])
def test_a_relative_file_is_no_ledger_of_real_money(given: str) -> None:
    """It is another one in each working directory; the emulator's may be anywhere."""
    assert "working directory" in refusal_of(f"sqlite:///{given}").message
    with pytest.raises(LedgerError, match="working directory"):
        ledger_address(None, "fal", Path("relative", "home"))
    assert ledger_address(f"sqlite:///{given}", "emulator", HOME).file
    assert ledger_address(None, "emulator", Path("relative", "home")).file


def test_the_engine_opens_the_very_file_that_is_named(tmp_path: Path) -> None:
    """Also where its path holds blanks, percent signs and letters of all kinds."""
    address = ledger_address(None, "fal", tmp_path / "my 100% %20 ünd")
    assert address.file
    address.file.parent.mkdir(parents=True)
    engine = create_engine(address.url.get_secret_value())
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE paid (id INTEGER)")
    engine.dispose()
    assert address.file.read_bytes().startswith(b"SQLite format 3")


def test_a_path_that_no_url_can_carry_is_never_cut_short(tmp_path: Path) -> None:
    """Before SQLAlchemy 2.1 a question mark ends the path; since then it is none the worse."""
    try:
        assert ledger_address(None, "fal", tmp_path / "what?").file == (
            tmp_path / "what?" / "fal" / "ledger.db"
        )
    except LedgerError as error:
        assert "question mark" in str(error)


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+asyncpg"]
)
def test_a_postgresql_database_serves_both_realms(scheme: str) -> None:
    """However the URL is spelled: its rows tell the realms apart."""
    urls = {url_of(f"{scheme}://fox:red@db:5433/hailuo", realm) for realm in ("fal", "emulator")}
    assert urls == {"postgresql+asyncpg://fox:red@db:5433/hailuo"}
    assert ledger_address(f"{scheme}://db/hailuo", "fal", HOME).file is None


def test_a_providers_url_asks_for_encryption_in_the_drivers_word() -> None:
    """Others' `sslmode` is asyncpg's `ssl`; the rest of the query stays."""
    given = "postgres://fox:red@db/hailuo?sslmode=require&command_timeout=9"
    assert make_url(url_of(given)).query == {"ssl": "require", "command_timeout": "9"}


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://fox:s3cret@db/hailuo",
        "postgresql://fox:s3cret%40s3cret%2F@db/hailuo",
        "postgresql://fox:s3cret@/hailuo?host=db",
        "postgresql://fox@db/hailuo?password=s3cret",
        "postgresql://db/hailuo?user=fox&password=s3cret&passfile=s3cret",
    ],
)
def test_no_password_is_shown(given: str) -> None:
    """Neither to whoever prints the address, nor in the name for people, which says where it is."""
    address = ledger_address(given, "fal", HOME)
    assert "s3cret" in address.url.get_secret_value()
    assert "s3cret" not in f"{address} {address!r} {address.name}"
    assert "db" in address.name


def test_an_address_is_a_key() -> None:
    """Equal addresses are one key; another realm, or another password, makes another."""
    urls = [SecretStr(f"postgresql+asyncpg://fox:{color}@db/hailuo") for color in ("red", "grey")]
    red, grey = (LedgerAddress(url, "fal") for url in urls)
    assert {red: 1}[LedgerAddress(SecretStr(urls[0].get_secret_value()), "fal")] == 1
    assert len({red, grey, LedgerAddress(urls[0], "emulator")}) == 3


@pytest.mark.parametrize("realm", ["fal", "emulator"])
@pytest.mark.parametrize(
    "given",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite+aiosqlite:///:memory:",
        "sqlite:///file::memory:",
        "sqlite:///file::memory:?cache=shared&uri=true",
        "sqlite:///file:ledger?mode=memory&uri=true",
        "sqlite:///ledger.db?mode=memory",
    ],
)
def test_a_ledger_in_memory_is_refused(given: str, realm: Realm) -> None:
    """It would forget what was bought; the emulator's too, whose reruns it would repeat."""
    with pytest.raises(LedgerError, match="forgets what was bought"):
        ledger_address(given, realm, HOME)


@pytest.mark.parametrize(
    "given",
    [
        "sqlite:///file:/srv/ledger.db?nolock=1&uri=true",
        "sqlite:////srv/ledger.db?uri=true&vfs=memdb",
        "sqlite:////",
        "sqlite:////srv/ledger\0.db",
        "sqlite:///~no-such-person/ledger.db",
        "sqlite://ledger.db",
        "sqlite://fox:s3cret@db/ledger.db",
        "sqlite://:s3cret@/ledger.db",
    ],
)
def test_a_sqlite_url_without_a_plain_file_is_refused(given: str) -> None:
    """One that does without locks, names a directory, or has a host where its file should be."""
    assert "s3cret" not in str(refusal_of(given))


@pytest.mark.parametrize(
    "given",
    [
        "",
        "s3cret",
        "s3cret://s3cret",
        "mysql://fox:s3cret@db/hailuo",
        "postgresql+psycopg://fox:s3cret@db/hailuo",
        "postgresql://fox:s3cret@db",
        "postgresql://fox:s3cret@db/",
        "postgresql://fox:s3cret@db:s3cret/hailuo",
        "postgresql://fox:s3cret@db:/hailuo",
        "postgresql://fox:x@s3cret@db/hailuo",
        "postgresql://fox:x@s3cret/s3cret@db/hailuo",
        "postgresql://fox:x@s3cret/s3cret?s3cret@db/hailuo",
        "postgresql://fox:s3cret/hailuo",
        "/srv/s3cret.db",
    ],
)
def test_what_is_no_database_is_refused_unseen(given: str) -> None:
    """What was pasted there may be a secret: neither the error nor what led to it shows any."""
    error = refusal_of(given)
    everything = [
        *traceback.format_exception(error),
        repr(error.__context__),
        repr(error.__cause__),
    ]
    shown = "\n".join(line for line in everything if "refusal_of(" not in line)
    assert "s3cret" not in shown


def test_a_mount_table_is_read() -> None:
    """With blanks in its paths, and without minding what is no line of it."""
    mounts = parse_mounts(CONTAINER)
    root = "/docker/volumes/l/_data"
    assert mounts[3] == Mount(Path("/srv/my ledger"), "ext4", root)
    assert [mount.kind for mount in mounts] == [
        "overlay",
        "proc",
        "tmpfs",
        "ext4",
        "nfs4",
        "autofs",
        "xfs",
    ]


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("/opt/prefect/hailuo/fal/ledger.db", "overlay"),
        ("/srv/my ledger/not/yet/there/ledger.db", "ext4"),
        ("/srv/my ledgers/ledger.db", "overlay"),
        ("/dev/shm/ledger.db", "tmpfs"),  # noqa: S108 (nothing is written there)
        ("/home/fox/ledger.db", "xfs"),
    ],
)
def test_a_file_is_on_what_is_mounted_nearest_above_it(file: str, kind: str) -> None:
    """Whether it exists or not; of two mounted at one place, the later counts."""
    mount = mount_of(Path(file), parse_mounts(CONTAINER))
    assert mount is not None and mount.kind == kind
    assert mount_of(Path(file), []) is None


def refused_on(
    kind: str, *, allow: Collection[Allowance] = (), contained: bool = False, root: str = "/"
) -> str:
    """What is said of a ledger on such a disk; nothing if it may be there."""
    mounts = [Mount(Path("/"), "ext4"), Mount(Path("/srv"), kind, root)]
    try:
        check_disk(Path("/srv/ledger.db"), mounts, contained=contained, allow=allow)
    except LedgerError as error:
        return str(error)
    return ""


SHARED = ["nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "9p", "afs", "virtiofs"]
SHARED += ["lustre", "beegfs", "fuse.sshfs", "fuse.s3fs", "fuse.glusterfs", "fuse.gcsfuse"]
FLEETING = ["tmpfs", "ramfs", "overlay", "fuse.fuse-overlayfs"]


@pytest.mark.parametrize("kind", SHARED)
def test_a_network_file_system_is_refused_unless_it_is_allowed(kind: str) -> None:
    """SQLite's locks do not hold there; the error names it, and every cure."""
    said = refused_on(kind)
    assert f"/srv/ledger.db is on {kind}, a network's disk" in said
    assert """PREFECT_INTEGRATIONS_HAILUO_LEDGER_ALLOW='["network-filesystem"]'""" in said
    assert refused_on(kind, allow=["ephemeral-disk"]) == said
    assert refused_on(kind, allow=["network-filesystem"]) == ""


@pytest.mark.parametrize("kind", FLEETING)
def test_a_disk_that_does_not_last_is_refused_unless_it_is_allowed(kind: str) -> None:
    """What was bought would be forgotten; the error names it, and every cure."""
    said = refused_on(kind)
    assert f"/srv/ledger.db is on {kind}, a disk that does not last" in said
    assert "PREFECT_HOME" in said
    assert """PREFECT_INTEGRATIONS_HAILUO_LEDGER_ALLOW='["ephemeral-disk"]'""" in said
    assert refused_on(kind, allow=["network-filesystem"]) == said
    assert refused_on(kind, allow={"ephemeral-disk"}) == ""


def test_lasting_disks_are_not_refused() -> None:
    """Nor is aufs, unless it is a container's: elsewhere it joins lasting disks."""
    assert {refused_on(kind) for kind in ["ext4", "xfs", "btrfs", "zfs", "fuseblk", "aufs"]} == {""}
    assert refused_on("ext4", contained=True) == ""
    assert "does not last" in refused_on("aufs", contained=True)


HEX = "4f" * 32

THROWAWAY = [
    "/var/lib/kubelet/pods/4f-2a/volumes/kubernetes.io~empty-dir/data",
    "/pods/4f-2a/volumes/kubernetes.io~empty-dir/data/below",
    f"/var/lib/containerd/io.containerd.grpc.v1.cri/containers/{HEX}/volumes/{HEX}",
    f"/var/lib/docker/volumes/{HEX}/_data",
    f"/docker/volumes/{HEX}/_data/below",
    f"/home/fox/.local/share/containers/storage/volumes/{HEX}/_data",
]
"""What a pod's and a container's own directories are on their disk."""

LASTING = [
    "/",
    "/var/lib/docker/volumes/ledger/_data",
    f"/var/lib/docker/volumes/ledger-{HEX}/_data",
    "/var/lib/kubelet/pods/4f-2a/volumes/kubernetes.io~csi/pvc-1/mount",
    "/srv/hailuo",
]
"""Named volumes, claims, and directories of the host."""


@pytest.mark.parametrize("root", THROWAWAY)
def test_what_goes_with_its_container_is_refused(root: str) -> None:
    """Though it is on a lasting disk's file system: an emptyDir, and a volume without a name."""
    said = refused_on("ext4", root=root, contained=True)
    assert "of its container's or pod's own, a disk that does not last" in said
    assert refused_on("ext4", root=root) == said
    assert refused_on("ext4", root=root, allow=["ephemeral-disk"]) == ""


@pytest.mark.parametrize("root", LASTING)
def test_what_stays_when_its_container_goes_is_not(root: str) -> None:
    """A volume with a name, a claim, a directory of the host."""
    assert refused_on("ext4", root=root, contained=True) == ""


@pytest.mark.parametrize("given", [None, "sqlite:///{}/given.db"])
def test_a_ledger_of_real_money_is_refused_where_it_would_be_lost(
    a_plain_machine: Path, tmp_path: Path, given: str | None
) -> None:
    """In a container without a volume, by default or as set; the emulator's may be anywhere."""
    a_plain_machine.write_text(CONTAINER)
    url = given and given.format(tmp_path)
    with pytest.raises(LedgerError, match="does not last"):
        ledger_address(url, "fal", tmp_path / "not-yet")
    assert ledger_address(url, "fal", tmp_path, allow=["ephemeral-disk"]).file
    assert ledger_address(url, "emulator", tmp_path).file
    assert ledger_address("postgresql://db/hailuo", "fal", tmp_path).file is None


def test_a_link_is_followed_to_the_disk_behind_it(a_plain_machine: Path, tmp_path: Path) -> None:
    """A ledger is where its bytes are."""
    (tmp_path / "link").symlink_to("/no-such-share/hailuo")
    with a_plain_machine.open("a") as table:
        table.write("28 27 0:9 / /no-such-share rw - cifs //nas/share rw\n")
    with pytest.raises(LedgerError, match=r"/no-such-share/hailuo/fal/ledger\.db"):
        ledger_address(None, "fal", tmp_path / "link")


def test_nothing_is_refused_where_no_mounts_are_told(a_plain_machine: Path) -> None:
    """As on macOS, which has no /proc."""
    a_plain_machine.unlink()
    assert ledger_address(None, "fal", HOME).file


@pytest.mark.parametrize("mark", ["file", "variable"])
def test_a_container_is_known_by_its_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    """Docker and Podman leave a file, Kubernetes sets a variable."""
    assert not address.in_container()
    if mark == "file":
        monkeypatch.setattr(address, "CONTAINER_MARKS", (tmp_path,))
    else:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert address.in_container()


def test_importing_the_address_does_not_import_sqlalchemy() -> None:
    """That takes a while, and is waited for only by whoever opens a ledger."""
    program = "import sys, prefect_hailuo.ledger.address; print('sqlalchemy' in sys.modules)"
    assert run_python(program).stdout.split() == ["False"]
