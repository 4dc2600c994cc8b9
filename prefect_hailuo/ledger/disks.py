"""What kind of file system a file is on, as Linux tells it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MOUNT_TABLE = Path("/proc/self/mountinfo")
"""Linux's list of all that is mounted; see proc_pid_mountinfo(5)."""

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
"""The same among those that a program serves: each is called `fuse.` and one of these."""

IN_MEMORY = frozenset({"devtmpfs", "ramfs", "rootfs", "tmpfs"})

LAYERED = frozenset({"fuse.fuse-overlayfs", "overlay", "overlayfs"})
"""What container engines lay over an image; it goes when the container does."""


@dataclass(frozen=True)
class Mount:
    """Where a file system is mounted, and its type in the kernel's own word."""

    point: Path
    kind: str


def parse_mounts(text: str) -> list[Mount]:
    r"""The lines of a mount table; what is none is passed over.

    Example:
        >>> parse_mounts(r"36 35 98:0 / /my\040disk rw shared:1 - ext4 /dev/sda1 rw")
        [Mount(point=PosixPath('/my disk'), kind='ext4')]
    """
    lines = [line.partition(" - ") for line in text.splitlines()]
    fields = [(head.split(), tail.split()) for head, _, tail in lines]
    return [
        Mount(Path(_unescape(head[4])), tail[0]) for head, tail in fields if len(head) > 4 and tail
    ]


def file_system_of(path: Path, mounts: Iterable[Mount]) -> str | None:
    """The type of the file system that a file is on, or would be.

    Args:
        path: Absolute and resolved; it need not exist, for where something is mounted exists.
        mounts: All that is mounted, in the order of the mount table.

    Example:
        >>> mounts = [Mount(Path("/"), "ext4"), Mount(Path("/home"), "nfs4")]
        >>> file_system_of(Path("/home/fox/ledger.db"), mounts)
        'nfs4'
        >>> file_system_of(Path("/homely/ledger.db"), mounts)
        'ext4'
    """
    kind, depth = None, 0
    for mount in mounts:
        # Of two mounted at one place, the later hides the earlier.
        if path.is_relative_to(mount.point) and len(mount.point.parts) >= depth:
            kind, depth = mount.kind, len(mount.point.parts)
    return kind


def is_shared(kind: str) -> bool:
    """Whether a type of file system is a network's.

    Example:
        >>> is_shared("nfs4"), is_shared("fuse.sshfs"), is_shared("ext4"), is_shared("fuseblk")
        (True, True, False, False)
    """
    return kind in SHARED or (kind.startswith("fuse.") and kind[5:] in SHARED_FUSE)


def is_fleeting(kind: str, *, contained: bool) -> bool:
    """Whether what is written to a type of file system is gone one day.

    Args:
        kind: The type.
        contained: Whether this is a container. Outside of one, aufs may join lasting disks.

    Example:
        >>> is_fleeting("tmpfs", contained=False), is_fleeting("ext4", contained=True)
        (True, False)
    """
    return kind in IN_MEMORY or kind in LAYERED or (contained and kind == "aufs")


def mounts_here() -> list[Mount]:
    """All that this process sees mounted; nothing where that cannot be read, as on macOS."""
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
