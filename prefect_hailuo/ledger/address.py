"""Where the ledger is: a SQLite file or a PostgreSQL database; and which disks are safe for it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import SecretStr

from prefect_hailuo.errors import LedgerError
from prefect_hailuo.ticket import Realm

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

MOUNT_TABLE = Path("/proc/self/mountinfo")
"""Linux's list of all mounts; see proc_pid_mountinfo(5)."""

CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
"""What Docker and Podman leave in every container."""

OF_NETWORKS = {"9p", "afs", "ceph", "cifs", "davfs", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
OF_CLUSTERS = {"beegfs", "gfs2", "glusterfs", "gpfs", "lustre", "ocfs2", "orangefs", "wekafs"}
OF_HOSTS = {"fakeowner", "osxfs", "prl_fs", "vboxsf", "virtiofs", "vmhgfs"}
"""A host's, shared with its virtual machines."""

SHARED = OF_NETWORKS | OF_CLUSTERS | OF_HOSTS
"""File systems that another machine may have open too."""

OF_BUCKETS = {"blobfuse", "blobfuse2", "gcsfuse", "goofys", "juicefs", "mount-s3", "s3fs", "s3ql"}
OF_SERVERS = {"curlftpfs", "davfs", "davfs2", "hdfs", "rclone", "smbnetfs", "sshfs"}
OF_SPREAD_SERVERS = {"ceph", "ceph-fuse", "mfs", "moosefs", "quobyte", "seaweedfs"}
OF_FUSED_HOSTS = {"grpcfuse", "vmhgfs-fuse"}

SHARED_FUSE = SHARED | OF_BUCKETS | OF_SERVERS | OF_SPREAD_SERVERS | OF_FUSED_HOSTS
"""The same for file systems in user space: each is called `fuse.` and one of these."""

IN_MEMORY = frozenset({"devtmpfs", "ramfs", "rootfs", "tmpfs"})

ANONYMOUS_VOLUME = re.compile(r"(^|/)volumes/[0-9a-f]{64}/_data(/|$)")
"""An anonymous volume of Docker's or Podman's: it is removed with its container, or lost."""

OF_PODS = ("/kubernetes.io~empty-dir/", "/io.containerd.grpc.v1.cri/containers/")
"""What a pod's own directories have in their paths: an `emptyDir`, and a volume of its image's."""

LAYERED = frozenset({"fuse.fuse-overlayfs", "overlay", "overlayfs"})
"""What container engines lay over an image; it is removed with the container."""


@dataclass(frozen=True)
class Mount:
    """Where a file system is mounted, and its type in the kernel's own word.

    Args:
        point: Where.
        kind: The type.
        root: Which of its directories is mounted there, as a path on that file system.
    """

    point: Path
    kind: str
    root: str = "/"


def parse_mounts(text: str) -> list[Mount]:
    r"""The lines of a mount table; other lines are skipped.

    Example:
        >>> parse_mounts(r"36 35 98:0 / /my\040disk rw shared:1 - ext4 /dev/sda1 rw")
        [Mount(point=PosixPath('/my disk'), kind='ext4', root='/')]
    """
    lines = [line.partition(" - ") for line in text.splitlines()]
    fields = [(head.split(), tail.split()) for head, _, tail in lines]
    return [
        Mount(Path(_unescape(head[4])), tail[0], _unescape(head[3]))
        for head, tail in fields
        if len(head) > 4 and tail
    ]


def mount_of(path: Path, mounts: Iterable[Mount]) -> Mount | None:
    """The mount that a file is on, or would be.

    Args:
        path: Absolute and resolved; it need not exist, for where something is mounted exists.
        mounts: All that is mounted, in the order of the mount table.

    Example:
        >>> mounts = [Mount(Path("/"), "ext4"), Mount(Path("/home"), "nfs4")]
        >>> mount_of(Path("/home/fox/ledger.db"), mounts).kind
        'nfs4'
        >>> mount_of(Path("/homely/ledger.db"), mounts).kind
        'ext4'
    """
    found, depth = None, 0
    for mount in mounts:
        # Of two mounted at one place, the later hides the earlier.
        if path.is_relative_to(mount.point) and len(mount.point.parts) >= depth:
            found, depth = mount, len(mount.point.parts)
    return found


def is_shared(kind: str) -> bool:
    """Whether a type of file system is a network's.

    Example:
        >>> is_shared("nfs4"), is_shared("fuse.sshfs"), is_shared("ext4"), is_shared("fuseblk")
        (True, True, False, False)
    """
    return kind in SHARED or (kind.startswith("fuse.") and kind[5:] in SHARED_FUSE)


def is_fleeting(kind: str, *, contained: bool) -> bool:
    """Whether what is written to a type of file system does not last.

    Args:
        kind: The type.
        contained: Whether this is a container. Outside of one, aufs may join lasting disks.

    Example:
        >>> is_fleeting("tmpfs", contained=False), is_fleeting("ext4", contained=True)
        (True, False)
    """
    return kind in IN_MEMORY or kind in LAYERED or (contained and kind == "aufs")


def is_throwaway(root: str) -> bool:
    """Whether a mounted directory is removed with its container or pod, whatever disk it is on.

    Args:
        root: Its path on its file system.

    Example:
        >>> is_throwaway("/pods/4f/volumes/kubernetes.io~empty-dir/data")
        True
        >>> is_throwaway("/docker/volumes/ledger/_data")
        False
    """
    pods = any(part in f"{root}/" for part in OF_PODS)
    return pods or ANONYMOUS_VOLUME.search(root) is not None


def mounts_here() -> list[Mount]:
    """All mounts that this process sees; none where they cannot be read, as on macOS."""
    try:
        return parse_mounts(MOUNT_TABLE.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:
        return []


def in_container() -> bool:
    """Whether this process runs in a container that says so."""
    marked = any(mark.exists() for mark in CONTAINER_MARKS)
    return marked or "KUBERNETES_SERVICE_HOST" in os.environ


def _unescape(field: str) -> str:
    r"""Blanks, tabs, line ends and backslashes stand there as `\040` and the like."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


# SQLAlchemy is imported inside the functions that need it: it takes a while, and importing the
# package alone must not wait for it.

Allowance = Literal["network-filesystem", "ephemeral-disk"]
"""A disk that is unfit for a ledger, and can be allowed by this name all the same."""

URL_SETTING = "PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL"
ALLOW_SETTING = "PREFECT_INTEGRATIONS_HAILUO_LEDGER_ALLOW"

SQLITE = "sqlite"
POSTGRESQL = "postgresql+asyncpg"

DRIVERS = {
    "sqlite": SQLITE,
    "sqlite+aiosqlite": SQLITE,
    "sqlite+pysqlite": SQLITE,
    "postgres": POSTGRESQL,
    "postgresql": POSTGRESQL,
    "postgresql+asyncpg": POSTGRESQL,
    "postgresql+psycopg2": POSTGRESQL,
}
"""What SQLAlchemy calls the driver for each name that may be written in a URL."""

DANGERS: dict[Allowance, str] = {
    "network-filesystem": "a network's disk, where SQLite's locks do not hold: a video may be "
    "bought twice",
    "ephemeral-disk": "a disk that does not last: what was bought is forgotten when it goes, and "
    "may be bought again",
}

CURE = (
    f"Set {URL_SETTING} to postgresql://user:password@host/database, or to a file's absolute path "
    "as in sqlite:////var/lib/hailuo/ledger.db; without it, the ledger is in Prefect's home."
)


@dataclass(frozen=True)
class LedgerAddress:
    """Where one realm's ledger is. It can be a dictionary's key, and its `repr` shows no password.

    Args:
        url: SQLAlchemy's URL.
        realm: Whose purchases are recorded there.

    Example:
        >>> address = LedgerAddress(SecretStr("postgresql+asyncpg://fox:red@db/hailuo"), "fal")
        >>> address.name
        'postgresql+asyncpg://fox:***@db/hailuo'
    """

    url: SecretStr
    realm: Realm

    @property
    def name(self) -> str:
        """The address for people: SQLite's file, or the URL without its password."""
        url = self._parsed()
        # A password may also stand in the query; a host only there.
        shown = {key: value for key, value in url.query.items() if key in ("host", "port")}
        return str(self.file or url.set(query=shown).render_as_string(hide_password=True))

    @property
    def file(self) -> Path | None:
        """SQLite's file; None for PostgreSQL."""
        url = self._parsed()
        return Path(str(url.database)) if url.get_backend_name() == SQLITE else None

    @property
    def has_own_folder(self) -> bool:
        """Whether the folder is this package's own, in Prefect's home, and not a configured one."""
        file = self.file
        return file is not None and file.parts[-3:] == ("hailuo", self.realm, "ledger.db")

    def _parsed(self) -> URL:
        from sqlalchemy.engine import make_url

        return make_url(self.url.get_secret_value())


def ledger_address(
    url: str | None, realm: Realm, home: Path, allow: Collection[Allowance] = ()
) -> LedgerAddress:
    """The address of a realm's ledger, where it is safe to keep one.

    Args:
        url: What is set: a URL of SQLite or PostgreSQL; by default, a file under `home`.
        realm: Each has its own file, and both share a PostgreSQL database.
        home: This package's directory in Prefect's home.
        allow: The unfit disks that are allowed all the same.

    Raises:
        LedgerError: The URL names no such database, or one that forgets what was bought, or the
            realm `fal` would have its file on a disk that is unfit for it.

    Example:
        >>> ledger_address(None, "emulator", Path("/home/fox/.prefect/hailuo")).name
        '/home/fox/.prefect/hailuo/emulator/ledger.db'
        >>> ledger_address("sqlite:////srv/ledger.db", "emulator", Path("/home/fox")).name
        '/srv/ledger-emulator.db'
        >>> ledger_address("postgres://fox:red@db/hailuo", "fal", Path("/home/fox")).name
        'postgresql+asyncpg://fox:***@db/hailuo'
    """
    address = _default(realm, home) if url is None else _given(url, realm)
    # The emulator's ledger protects no money.
    if realm == "fal" and address.file:
        # Resolved first: on the way there, a file system may get mounted.
        file = address.file.resolve()
        check_disk(file, mounts_here(), contained=in_container(), allow=allow)
    return address


def check_disk(
    file: Path, mounts: Iterable[Mount], *, contained: bool, allow: Collection[Allowance] = ()
) -> None:
    """Refuse a disk on which a ledger of real money would be lost or torn.

    Args:
        file: The ledger's, absolute and resolved.
        mounts: All mounts; if they are unknown, nothing is refused.
        contained: Whether this is a container.
        allow: Unsafe disks that are allowed all the same.

    Raises:
        LedgerError: The disk is a network's, or does not last, and that is not allowed.

    Example:
        >>> check_disk(Path("/srv/ledger.db"), [Mount(Path("/"), "ext4")], contained=False)
        >>> check_disk(Path("/srv/ledger.db"), [Mount(Path("/"), "nfs4")], contained=False)
        Traceback (most recent call last):
        ...
        prefect_hailuo.errors.LedgerError: The ledger's file /srv/ledger.db is on nfs4, ...
    """
    mount = mount_of(file, mounts)
    danger = danger_of(mount, contained=contained) if mount else None
    if mount is None or danger is None or danger in allow:
        return
    throwaway = "a directory of its container's or pod's own"
    where = throwaway if is_throwaway(mount.root) else mount.kind
    raise LedgerError(
        f"The ledger's file {file} is on {where}, {DANGERS[danger]}.",
        cure=f"Put it on a lasting disk of this machine with {URL_SETTING} or PREFECT_HOME, or "
        f"into a PostgreSQL database with {URL_SETTING}; or allow it by name with "
        f"{ALLOW_SETTING}='[\"{danger}\"]'.",
    )


def danger_of(mount: Mount, *, contained: bool) -> Allowance | None:
    """What would become of a ledger there; None where it is safe.

    Args:
        mount: What it is on.
        contained: Whether this is a container.
    """
    if is_shared(mount.kind):
        return "network-filesystem"
    fleeting = is_fleeting(mount.kind, contained=contained) or is_throwaway(mount.root)
    return "ephemeral-disk" if fleeting else None


def _default(realm: Realm, home: Path) -> LedgerAddress:
    return _of_file(_absolute(home / realm / "ledger.db", realm), {}, realm)


def _given(text: str, realm: Realm) -> LedgerAddress:
    url = _parse(text)
    driver = DRIVERS.get(url.drivername.lower()) if url else None
    # What is pasted into the wrong place may be a secret: nothing of it is shown.
    if url is None or driver is None:
        raise LedgerError("The ledger's URL is none of SQLite's or PostgreSQL's.", cure=CURE)
    if driver == SQLITE:
        return _of_file(_own_file(_sqlite_file(url, realm), realm), url.query, realm)
    if text.count("@") > 1:
        # Part of the password would be taken for the host, and shown.
        raise LedgerError("The ledger's URL holds more than one @.", cure=f"Write %40. {CURE}")
    return _of_database(url, realm)


def _parse(text: str) -> URL | None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    # Its errors may show the text, so that none is raised from them either.
    try:
        return make_url(text)
    except (ArgumentError, TypeError, ValueError):
        return None


def _of_database(url: URL, realm: Realm) -> LedgerAddress:
    if not url.database:
        raise LedgerError("The ledger's URL names no database.", cure=CURE)
    query = dict(url.query)
    # asyncpg's own word for what is called sslmode everywhere else.
    if "sslmode" in query:
        query.setdefault("ssl", query.pop("sslmode"))
    return _address(url.set(drivername=POSTGRESQL, query=query), realm)


def _of_file(file: Path, query: Mapping[str, str | tuple[str, ...]], realm: Realm) -> LedgerAddress:
    from sqlalchemy.engine import URL

    address = _address(URL.create(SQLITE, database=str(file), query=query), realm)
    # Before SQLAlchemy 2.1 a URL's path is not escaped.
    if address.file != file:
        raise LedgerError(f"The ledger's file {file} has a question mark in its path.", cure=CURE)
    return address


def _address(url: URL, realm: Realm) -> LedgerAddress:
    return LedgerAddress(SecretStr(url.render_as_string(hide_password=False)), realm)


def _own_file(file: Path, realm: Realm) -> Path:
    return file if realm == "fal" else file.with_name(f"{file.stem}-{realm}{file.suffix}")


def _sqlite_file(url: URL, realm: Realm) -> Path:
    """The file that a URL of SQLite's names by its path."""
    path = url.database or ""
    if url.username or url.password or url.host or url.port:
        raise LedgerError("The ledger's SQLite URL names a host before its file.", cure=CURE)
    if path in ("", ":memory:", "file::memory:") or url.query.get("mode") == "memory":
        raise LedgerError("A ledger in memory forgets what was bought.", cure=CURE)
    # Such an address can do without locks, or have its file in memory, in more ways than one.
    if path.startswith("file:") or "uri" in url.query or "\0" in path:
        raise LedgerError("The ledger's SQLite URL names its file not by its path.", cure=CURE)
    return _absolute(Path(path), realm)


def _absolute(path: Path, realm: Realm) -> Path:
    try:
        file = path.expanduser()
    except RuntimeError:  # ~somebody, who has no home here
        raise LedgerError("The ledger's file is in a home that is not known.", cure=CURE) from None
    if realm == "fal" and not file.is_absolute():
        raise LedgerError(
            f"The ledger's file {file} is another one in each working directory: what was bought "
            "from one is not known in the others, and may be bought again.",
            cure=f"Name the file of this ledger by its absolute path. {CURE}",
        )
    file = file.absolute()
    if file.is_dir():
        raise LedgerError(f"The ledger's file {file} is a directory.", cure=CURE)
    return file
