"""What was compiled before, kept on disk: a folder of files, one an entry, each named by the digest of what it stands for.

An entry is written beside its place and moved there, so that it is whole or not there; it ends with a digest of itself, and one that does
not agree counts as not there. So any number of processes may share the folder, and be killed at any point. What the disk or the rights
don't allow is left undone: then the cache forgets, and nothing else happens. Entries are data (JSON and bytes) and never run as Python.

`TILEC_CACHE_DIR` names the folder (default: `tilec` in the user's folder for caches); "off" or nothing means no cache.
`TILEC_CACHE_SIZE` bounds it (default 512M): what was not used for longest goes first.

    file = b"tilec cache 1\\n" | length of head, 8 bytes, little-endian | head, JSON | parts | digest of all before, 16 bytes
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

from tilec.errors import require

try:
    from _blake2 import blake2b  # hashlib's, without loading OpenSSL, which takes longer than all else here; as Python's random does
except ImportError:
    from hashlib import blake2b

MAGIC = b"tilec cache 1\n"
DIGEST = 16  # bytes
ENDING = ".tilec"
PART = ".part"
ABANDONED = 3600.0  # seconds after which an unfinished file is taken for one whose writer was killed
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Entry(NamedTuple):
    """Plain data, and bytes by name."""

    head: dict[str, Any]
    parts: dict[str, bytes]


class Listed(NamedTuple):
    """A kernel in the cache: bytes on disk, seconds since it was compiled and since it was used."""

    kernel: str
    arch: str
    size: int
    age: float
    unused: float


def digest(*parts: str | bytes) -> str:
    """One name for a sequence of texts or bytes, in hexadecimal."""
    found = blake2b(digest_size=DIGEST)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "little"))
        found.update(data)
    return found.hexdigest()


# where


def folder() -> str | None:
    """Where entries lie; None if there is no cache."""
    named = os.environ.get("TILEC_CACHE_DIR")
    if named is not None:
        return None if named.strip().lower() in ("", "off") else os.path.expanduser(named)
    return _default()


@cache
def _default() -> str | None:
    """The `tilec` folder where the system wants caches to be."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return os.path.join(base, "tilec", "Cache") if base else None
    if sys.platform != "darwin" and os.path.isabs(os.environ.get("XDG_CACHE_HOME", "")):
        return os.path.join(os.environ["XDG_CACHE_HOME"], "tilec")
    home = os.path.expanduser("~")
    if not os.path.isabs(home):  # a user without one
        return None
    return os.path.join(home, "Library/Caches" if sys.platform == "darwin" else ".cache", "tilec")


def limit() -> int:
    """The most bytes that entries may take together. Raises TileError if the environment says no size."""
    text = os.environ.get("TILEC_CACHE_SIZE") or "512M"
    found = re.fullmatch(r"\s*(\d+)\s*([KMG]?)B?\s*", text, re.IGNORECASE)
    require(found, f"TILEC_CACHE_SIZE is {text!r}, which is no size", hint="as in 512M or 2G")
    assert found
    return int(found[1]) * UNITS[found[2].upper()]


# entries


def read(key: str) -> Entry | None:
    """The entry of that name, if it is there and whole."""
    place = folder()
    if place is None:
        return None
    path = os.path.join(place, key + ENDING)
    try:
        with open(path, "rb") as file:
            entry = unpacked(file.read(), key)
    except OSError:
        return None
    with suppress(OSError):
        if entry is None:
            os.unlink(path)
        elif time.time() - os.stat(path).st_mtime > 60:
            os.utime(path)  # used now
    return entry


def write(key: str, head: Mapping[str, Any], parts: Mapping[str, bytes] | None = None) -> None:
    """Put an entry in its place, if the disk allows, and drop others if that is too much. Raises TileError for a wrong TILEC_CACHE_SIZE."""
    place = folder()
    data = packed(key, head, parts or {})
    if place is None or len(data) > limit():
        return
    part = os.path.join(place, f".{key}.{os.getpid()}.{os.urandom(4).hex()}{PART}")
    try:
        os.makedirs(place, mode=0o700, exist_ok=True)
        try:
            with open(part, "xb") as file:
                file.write(data)
            os.replace(part, os.path.join(place, key + ENDING))
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise
        _grown(place, len(data))
    except OSError:
        return


def packed(key: str, head: Mapping[str, Any], parts: Mapping[str, bytes]) -> bytes:
    """An entry as a file."""
    said = json.dumps({"key": key, "made": time.time(), "parts": [[n, len(p)] for n, p in parts.items()], **head}).encode()
    data = b"".join([MAGIC, len(said).to_bytes(8, "little"), said, *parts.values()])
    return data + blake2b(data, digest_size=DIGEST).digest()


def unpacked(data: bytes, key: str) -> Entry | None:
    """The entry that a file holds; None if it is not whole, or another's."""
    body = memoryview(data)[:-DIGEST]
    if not data.startswith(MAGIC) or blake2b(body, digest_size=DIGEST).digest() != data[-DIGEST:]:
        return None
    head, at = _head(body)
    if head["key"] != key:
        return None
    parts = {}
    for name, size in head["parts"]:
        parts[name] = bytes(body[at : at + size])
        at += size
    return Entry(head, parts)


def _head(data: bytes | memoryview) -> tuple[dict[str, Any], int]:
    """The head of an entry and where its parts begin."""
    start = len(MAGIC) + 8
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    return json.loads(bytes(data[start:end])), end


# all of them


class _File(NamedTuple):
    path: str
    size: int
    used: float


def _files(place: str, ending: str = ENDING) -> Iterator[_File]:
    """Files of the cache; what vanishes meanwhile is left out."""
    with os.scandir(place) as found:
        for file in found:
            if file.name.endswith(ending):
                with suppress(OSError):
                    about = file.stat()
                    yield _File(file.path, about.st_size, about.st_mtime)


_taken: dict[str, list[int]] = {}  # by folder: bytes at the last look plus what was written since, and how many writes that were


def _grown(place: str, size: int) -> None:
    """Keep to the limit. The folder is looked through only if it may be too large by now, or after some writes, as others write too."""
    known = _taken.setdefault(place, [limit() + 1, 0])
    known[0] += size
    known[1] += 1
    if known[0] > limit() or known[1] >= 64:
        known[:] = [trim(place, limit()), 0]


def trim(place: str, most: int) -> int:
    """Remove the entries that were not used for longest until the others take at most `most` bytes, and what killed writers left behind.

    Returns the bytes taken then. Raises OSError if the folder can't be read.
    """
    for file in _files(place, PART):
        if time.time() - file.used > ABANDONED:
            with suppress(OSError):
                os.unlink(file.path)
    kept = sorted(_files(place), key=lambda f: f.used)
    total = sum(f.size for f in kept)
    for file in kept:
        if total <= most:
            break
        with suppress(OSError):
            os.unlink(file.path)
        total -= file.size
    return total


def entries() -> list[Listed]:
    """The kernels in the cache, the one used last first. Empty if there is no cache."""
    found: list[tuple[float, Listed]] = []
    now = time.time()
    with suppress(OSError):
        for file in _files(folder() or os.devnull):
            with suppress(OSError, ValueError, KeyError), open(file.path, "rb") as opened:
                head, _ = _head(opened.read(1 << 20))
                if "kernel" in head:
                    found.append((file.used, Listed(head["kernel"], head["arch"], file.size, now - head["made"], now - file.used)))
    return [listed for _, listed in sorted(found, key=lambda f: -f[0])]


def clear() -> tuple[int, int]:
    """Remove all entries; returns how many kernels and how many bytes in all. Raises OSError for a folder that can't be changed."""
    place, count, size = folder(), len(entries()), 0
    if place is None or not os.path.isdir(place):
        return 0, 0
    for file in [*_files(place), *_files(place, PART)]:
        os.unlink(file.path)
        size += file.size
    _taken.pop(place, None)
    return count, size
