"""Where things lie: local folders and object storage behind one set of functions (fsspec).

A file appears whole or not at all: locally it is written under a temporary name in the same folder,
flushed, and renamed; on object storage it is one put. Readers therefore never see half a file, and
a file that exists is done. Temporary names start with ".tmp-" and are ignored by every listing.
"""

import contextlib
import functools
import glob
import io
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from curation.stage import Abort

TEMPORARY = ".tmp-"
CONTINUE = "; run the same command to continue"  # ends the word of what stops a run
VANISHED = "vanished"  # error code of a source that was listed and is not there
READ_AHEAD_BYTES = 4 << 20  # of a remote video: a second or two of it
WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Source:
    """One file of the footage."""

    uri: str
    num_bytes: int
    version: str
    """Modification time in ns (local) or etag (object storage): changes when the bytes do."""


class SourceError(Exception):
    """A source that cannot be read, or is no longer what was listed: a reason code and a
    sentence.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


def is_remote(url: str) -> bool:
    return "://" in url and not url.startswith("file://")


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a url, and the url's path in it. Local paths become absolute."""
    if not is_remote(url):
        return fsspec.filesystem("file"), os.path.abspath(url.removeprefix("file://"))
    try:
        # listings are cached by s3fs unless told not to: a resumed run would not see new files
        fs, path = fsspec.core.url_to_fs(url, **_options(url.split("://")[0]))
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"{url!r} names a storage that cannot be opened ({error}); expected a local path or s3://…"
        ) from error
    return fs, path


@functools.cache
def _options(protocol: str) -> dict[str, Any]:
    return {"use_listings_cache": False} if protocol in ("s3", "s3a") else {}


def lies_inside(url: str, folder: str) -> bool:
    """Whether a url is a folder or below it."""
    (_, inner), (_, outer) = filesystem(url), filesystem(folder)
    return is_remote(url) == is_remote(folder) and f"{inner}/".startswith(f"{outer.rstrip('/')}/")


def join(url: str, *parts: str) -> str:
    return "/".join([url.rstrip("/"), *parts])


def exists(url: str) -> bool:
    fs, path = filesystem(url)
    return fs.exists(path)


def num_bytes(url: str) -> int:
    fs, path = filesystem(url)
    return int(fs.size(path))


def read_bytes(url: str, *, offset: int = 0, size: int | None = None) -> bytes:
    fs, path = filesystem(url)
    if offset == 0 and size is None:
        return fs.cat_file(path)
    return fs.cat_file(path, start=offset, end=None if size is None else offset + size)


def commit(url: str, data: bytes | Path) -> None:
    """Write bytes, or a local file's bytes, so that the file appears whole or not at all."""
    fs, path = filesystem(url)
    if is_remote(url):
        if isinstance(data, Path):
            fs.put_file(str(data), path)
        else:
            fs.pipe_file(path, data)
        return
    with data.open("rb") if isinstance(data, Path) else io.BytesIO(data) as source:
        try:
            _write(source, Path(path))
        except OSError as error:
            raise _unwritable(url, error) from error


def _unwritable(url: str, error: OSError) -> Abort:
    """Whatever is wrong is wrong with the disk or the folder, and not with a row."""
    cause = error.strerror or error
    return Abort(f"{url} cannot be written ({cause}), see to the disk or the folder{CONTINUE}")


def _write(source: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        with temporary.open("wb") as out:
            shutil.copyfileobj(source, out, 1 << 22)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            temporary.unlink()


def require_writable(url: str) -> None:
    """Raise ValueError where files cannot be written under a folder or s3://… url."""
    probe = join(url, f"{TEMPORARY}probe")
    failures: tuple[type[Exception], ...] = (OSError, Abort)
    if is_remote(url):
        from botocore.exceptions import BotoCoreError

        failures = (OSError, Abort, BotoCoreError)
    try:
        commit(probe, b"")
        remove(probe)
    except failures as error:
        cause = error.__cause__ or error
        raise ValueError(
            f"DATA={url!r} cannot be written ({type(cause).__name__}: {cause}); "
            f"expected a folder that you may write to, or s3://… with a bucket that exists"
        ) from error


def remove(url: str) -> None:
    fs, path = filesystem(url)
    try:
        fs.rm_file(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise _unwritable(url, error) from error


def list_files(folder: str, suffix: str = "") -> list[str]:
    """Urls of the files under a folder (at any depth) that end in suffix, sorted."""
    fs, path = filesystem(folder)
    if not is_remote(folder) and not os.path.isdir(path):
        return []
    try:
        found = fs.find(path)
    except FileNotFoundError:
        return []
    names = (name for name in found if name.endswith(suffix))
    return sorted(
        fs.unstrip_protocol(name) if is_remote(folder) else name
        for name in names
        if not os.path.basename(name).startswith(TEMPORARY)
    )


def sweep(folder: str) -> None:
    """Remove what a killed run left half written (local storage only: a put leaves nothing)."""
    if is_remote(folder):
        return
    for name in glob.iglob(
        os.path.join(glob.escape(folder), "**", f"{TEMPORARY}*"), recursive=True
    ):
        Path(name).unlink(missing_ok=True)


def list_sources(footage: str) -> list[Source]:
    """Every file of a folder (at any depth), a glob or one file, sorted by uri; hidden files left
    out.

    Raises ValueError where there is nothing.
    """
    fs, path = filesystem(footage)
    root = path
    try:
        if not is_remote(footage) and os.path.exists(path):
            found = [path] if os.path.isfile(path) else fs.find(path)
        elif glob.has_magic(path):
            root = WILDCARD.split(path)[0].rpartition("/")[0]  # named by the user, so not hidden
            found = [name for name in fs.glob(path) if fs.isfile(name)]
        else:
            found = fs.find(path)
    except FileNotFoundError:  # no such bucket
        found = []
    names = [n for n in found if not any(part.startswith(".") for part in _below(n, root))]
    sources = [_source(fs, name, footage) for name in sorted(names)]
    if not sources:
        raise ValueError(
            f"FOOTAGE={footage!r} holds no files; "
            f"expected a folder, a glob or s3://… with footage in it"
        )
    return sources


def _below(name: str, root: str) -> list[str]:
    return name.removeprefix(root).strip("/").split("/")


def _source(fs: Any, name: str, footage: str) -> Source:
    if not is_remote(footage):
        # a name that is no UTF-8 goes into no table as it is: the escaped one is not found later
        uri = os.fsencode(name).decode("utf-8", "backslashreplace")
        try:
            stat = os.stat(name)
        except OSError:  # a link to nowhere keeps its row too; who reads it says why
            return Source(uri, 0, "")
        return Source(uri, stat.st_size, str(stat.st_mtime_ns))
    info = fs.info(name)
    version = str(info.get("ETag") or info.get("etag") or info.get("LastModified") or "")
    return Source(fs.unstrip_protocol(name), int(info["size"]), version.strip('"'))


@contextlib.contextmanager
def unchanged(listed: Source) -> Iterator[None]:
    """Hold what the block finds out about a source to the file that was listed.

    Raises SourceError where another one lies there, or none, before the block or after it, whatever
    else the block raised: bytes of two files tell nothing about either.
    """
    _check_unchanged(listed)
    try:
        yield
    finally:
        _check_unchanged(listed)


def _check_unchanged(listed: Source) -> None:
    fs, path = filesystem(listed.uri)
    try:
        now = _source(fs, path, listed.uri)
    except FileNotFoundError:
        now = Source(listed.uri, 0, "")
    except PermissionError as error:
        raise SourceError("unreadable", type(error).__name__) from error
    if (now.num_bytes, now.version) == (listed.num_bytes, listed.version):
        return
    if not now.version:
        raise SourceError(VANISHED, "the file was there when the run began")
    raise SourceError("source_changed", "the file is not the one that the run began with")


@contextlib.contextmanager
def local_copy(url: str) -> Iterator[Path]:
    """A local path with the url's bytes: the file itself, or a temporary copy of a remote one."""
    if not is_remote(url):
        yield Path(url.removeprefix("file://"))
        return
    fs, path = filesystem(url)
    with tempfile.TemporaryDirectory(prefix="dailies-") as folder:
        copy = Path(folder) / "copy"
        fs.get_file(path, str(copy))
        yield copy


@contextlib.contextmanager
def open_source(url: str) -> Iterator[Any]:
    """What a video can be read from without copying it: a local path, or a remote file whose ranges
    are fetched as they are read.
    """
    if not is_remote(url):
        yield Path(url.removeprefix("file://"))
        return
    fs, path = filesystem(url)
    with fs.open(path, "rb", block_size=READ_AHEAD_BYTES) as file:
        yield file


def table_bytes(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file: the same table gives the same bytes."""
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def write_table(url: str, table: pa.Table) -> None:
    commit(url, table_bytes(table))


def read_table(url: str, *, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file, or all Parquet files of a folder one after another in the order of their
    names.

    Files may differ in columns (a later version of a stage adds some): missing ones read as null.
    """
    files = [url] if url.endswith(".parquet") else list_files(url, ".parquet")
    if not files:
        raise FileNotFoundError(f"{url} holds no Parquet files")
    return read_tables(files, columns=columns)


def read_tables(files: list[str], *, columns: list[str] | None = None) -> pa.Table:
    tables = [_read_parquet(file, columns) for file in files]
    return pa.concat_tables(tables, promote_options="permissive").combine_chunks()


def _read_parquet(url: str, columns: list[str] | None) -> pa.Table:
    source = url if not is_remote(url) else io.BytesIO(read_bytes(url))
    with pq.ParquetFile(source) as file:
        present = None if columns is None else [c for c in columns if c in file.schema_arrow.names]
        return file.read(columns=present)
