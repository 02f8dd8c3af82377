"""Random reads from shards: local ones by `pread` on descriptors that stay open, remote ones by a
ranged read, or out of whole shards that were fetched once into a local folder.

A plan reads shards in windows (plan.SHUFFLE_SAMPLES), so a cache that holds two windows fetches
every shard once an epoch. Reading by offset has no place of its own: forked workers may share
descriptors, and a pickled reader opens its own.
"""

import contextlib
import errno
import fcntl
import os
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation import storage
from curation.clip import hash_128

OPEN_FILES = 128
"""Descriptors kept by a process; a usual limit is 1024 for all that it opens."""
GIVEN_UP_S = 600
"""A fetch that has written nothing for so long was killed."""


class Shards:
    """Reads bytes of files under one folder or s3:// URL."""

    def __init__(self, folder: str, *, cache: "ShardCache | None" = None):
        self.folder, self.cache = folder, cache
        self.is_direct = storage.is_remote(folder) and cache is None
        self.files: OrderedDict[str, int] = OrderedDict()

    def read(self, name: str, *, offset: int, size: int) -> bytes:
        """So many bytes of a file; fewer where it ends. Raises OSError where there is none."""
        if self.is_direct:
            url = storage.join(self.folder, name)
            return storage.read_bytes(url, offset=offset, size=size) if size else b""
        return pread(self._opened(name), size=size, offset=offset)

    def _opened(self, name: str) -> int:
        file = self.files.get(name)
        if file is not None:
            self.files.move_to_end(name)
            if self.cache:
                os.utime(file)  # which shards go first
            return file
        url = storage.join(self.folder, name)
        if self.cache:
            file = self.cache.open(url)
            self._close_removed()
        else:
            file = os.open(storage.filesystem(url)[1], os.O_RDONLY | os.O_CLOEXEC)
        self.files[name] = file
        while len(self.files) > OPEN_FILES:
            os.close(self.files.popitem(last=False)[1])
        return file

    def _close_removed(self) -> None:
        """Let go of shards that left the cache: their room is free when nobody has them open."""
        for name, file in list(self.files.items()):
            if not os.fstat(file).st_nlink:
                os.close(self.files.pop(name))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"files": OrderedDict()}

    def __del__(self) -> None:
        for file in self.files.values():
            with contextlib.suppress(OSError):
                os.close(file)


def pread(file: int, *, size: int, offset: int) -> bytes:
    """os.pread, which may return less than is there, until it has all."""
    content = os.pread(file, size, offset)
    while len(content) < size and (
        more := os.pread(file, size - len(content), offset + len(content))
    ):
        content += more
    return content


@dataclass(frozen=True)
class ShardCache:
    """Whole shards in a local folder, which any number of processes share."""

    folder: str
    """local; other files in it are left alone"""
    max_bytes: int
    fetched: list[str] = field(default_factory=list, compare=False)
    """urls that this process fetched"""

    def open(self, url: str) -> int:
        """A descriptor of the local copy, fetched where there is none yet."""
        fs, path = storage.filesystem(url)
        size = int(fs.size(path))
        # a shard that was written again has another name, so that nobody reads the old one
        copy = Path(self.folder) / f"{hash_128(url, str(fs.ukey(path)))}.shard"
        copy.parent.mkdir(parents=True, exist_ok=True)
        with locked(copy.with_suffix(".lock")):
            while True:
                if not copy.exists():
                    self._fetch(fs, path, copy, size=size)
                    self.fetched.append(url)
                with contextlib.suppress(FileNotFoundError):  # made room for another one just now
                    file = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
                    break
        os.utime(file)
        if os.fstat(file).st_size != size:
            os.close(file)
            raise OSError(errno.EIO, f"the copy of {url} is not whole, remove it", str(copy))
        return file

    def _fetch(self, fs: Any, path: str, copy: Path, *, size: int) -> None:
        temporary = copy.with_name(f"{storage.TEMPORARY}{size}-{uuid.uuid4().hex}")
        with locked(
            copy.with_name("room.lock")
        ):  # others fetch meanwhile: each counts what it takes
            self._make_room(size)
            temporary.touch()
        try:
            fs.get_file(path, str(temporary))
            temporary.replace(copy)
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        """Remove the copies that were read longest ago; one larger than the cache stands alone."""
        folder, now = Path(self.folder), time.time()
        for left in folder.glob(f"{storage.TEMPORARY}*-*"):
            with contextlib.suppress(FileNotFoundError):  # has just become a copy
                if now - left.stat().st_mtime > GIVEN_UP_S:
                    left.unlink()
                else:
                    size += int(left.name.removeprefix(storage.TEMPORARY).split("-")[0])
        copies = [(copy.stat(), copy) for copy in folder.glob("*.shard")]
        size += sum(stat.st_size for stat, _ in copies)
        for stat, copy in sorted(copies, key=lambda entry: entry[0].st_mtime_ns):
            if size <= self.max_bytes:
                break
            copy.unlink(missing_ok=True)
            size -= stat.st_size


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone among all processes of the machine; a process that dies lets go."""
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
