"""The store behind the cache: whatever happens to it, it gives back what was put there or nothing, and never raises."""

from __future__ import annotations

import errno
import io
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tilec import cache
from tilec.cli import main
from tilec.errors import TileError

KEY = cache.digest("some", b"key")
HEAD = {"kernel": "k", "arch": "sm_80", "numbers": [1, 2.5, None], "text": "ä\n"}
PARTS = {"cubin": bytes(range(256)), "none": b"", "ptx": b"//"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TILEC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("TILEC_CACHE_SIZE", raising=False)
    return tmp_path / "cache"


def whole(entry: cache.Entry | None, head: dict = HEAD, parts: dict = PARTS) -> bool:
    return entry is not None and entry.parts == parts and {k: v for k, v in entry.head.items() if k in head} == head


def file_of(place: Path) -> Path:
    (path,) = place.iterdir()
    return path


def test_what_is_written_is_read(place: Path) -> None:
    assert cache.read(KEY) is None
    cache.write(KEY, HEAD, PARTS)
    assert whole(cache.read(KEY))
    assert cache.read(cache.digest("another")) is None
    cache.write(KEY, {"kernel": "new"}, {})
    assert whole(cache.read(KEY), {"kernel": "new"}, {})


def test_a_digest_tells_parts_apart() -> None:
    assert cache.digest("ab", "c") != cache.digest("a", "bc") != cache.digest("abc")
    assert cache.digest("ab", "c") == cache.digest(b"ab", "c")


def test_every_cut_and_every_changed_byte_is_seen(place: Path) -> None:
    cache.write(KEY, HEAD, PARTS)
    path = file_of(place)
    good = path.read_bytes()
    rng = random.Random()
    wrong = [good[:n] for n in range(len(good))] + [good + b"\0", b"", bytes(len(good)), good[:-16] + good[-16:][::-1]]
    wrong += [good[:n] + bytes([good[n] ^ rng.randrange(1, 256)]) + good[n + 1 :] for n in range(len(good))]
    for data in wrong:
        path.write_bytes(data)
        assert cache.read(KEY) is None
        assert not path.exists()
    cache.write(KEY, HEAD, PARTS)
    assert whole(cache.read(KEY))


def test_an_entry_in_the_place_of_another_is_not_taken(place: Path) -> None:
    cache.write(KEY, HEAD, PARTS)
    other = cache.digest("another")
    file_of(place).rename(place / f"{other}{cache.ENDING}")
    assert cache.read(other) is None


@pytest.mark.parametrize("value", ["", "off", " OFF "])
def test_it_can_be_switched_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEC_CACHE_DIR", value)
    assert cache.folder() is None
    cache.write(KEY, HEAD, PARTS)
    assert cache.read(KEY) is None
    assert cache.entries() == []
    assert cache.clear() == (0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have their own places")
def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TILEC_CACHE_DIR", raising=False)
    for variable, value, expected in (("XDG_CACHE_HOME", "/some/where", "/some/where/tilec"), ("XDG_CACHE_HOME", "", f"{tmp_path}/.cache/tilec")):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv(variable, value)
        cache._default.cache_clear()
        assert str(cache.folder()) == expected
    cache._default.cache_clear()


# what the disk does


def test_a_full_disk(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write(KEY, HEAD, PARTS)

    class Full(io.FileIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            super().write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", self.name)

    monkeypatch.setattr(cache, "open", lambda path, mode: Full(path, mode) if "x" in mode else io.FileIO(path, mode), raising=False)
    cache.write(KEY, {"kernel": "other"}, {})
    cache.write(cache.digest("new"), HEAD, PARTS)
    assert len(list(place.iterdir())) == 1
    assert whole(cache.read(KEY))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_write_that_the_system_cuts_short(place: Path) -> None:
    """A limit on the size of files stands in for a full disk: part of the data is written, then the system refuses."""
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\nfrom tilec import cache\n"
    code += "cache.write('a' * 32, {}, {'x': bytes(20000)}); cache.write('b' * 32, {}, {'x': bytes(2000)}); print(cache.read('a' * 32))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("None\n", "")
    assert [p.name for p in place.iterdir()] == ["b" * 32 + cache.ENDING]


def unusable(tmp_path: Path) -> list[str]:
    (tmp_path / "file").write_text("")
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0o500)  # the superuser may write there all the same
    return [str(tmp_path / "file"), str(tmp_path / "file/below"), "/proc/none/tilec", "/dev/null", str(tmp_path / "locked"), "a" * 5000]


def test_places_that_can_not_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in unusable(tmp_path):
        monkeypatch.setenv("TILEC_CACHE_DIR", name)
        cache.write(KEY, HEAD, PARTS)
        assert cache.read(KEY) is None or "locked" in name
        assert cache.entries() == [] or "locked" in name


def test_a_folder_in_the_place_of_an_entry(place: Path) -> None:
    (place / f"{KEY}{cache.ENDING}").mkdir(parents=True)
    cache.write(KEY, HEAD, PARTS)
    assert cache.read(KEY) is None
    assert [p.is_dir() for p in place.iterdir()] == [True]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_writer_that_is_killed(place: Path) -> None:
    """Processes that write large entries over and over are killed at any moment; what is there afterwards is whole."""
    code = "import sys\nfrom tilec import cache\nn = 0\nprint('go', flush=True)\nwhile True:\n n += 1\n"
    code += " cache.write(cache.digest(str(n % 3)), {'n': n}, {'x': n.to_bytes(4, 'little') * 100_000})"
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert writer.stdout
        writer.stdout.readline()
        time.sleep(random.uniform(0.0, 0.03))
        writer.kill()
        writer.communicate()
        for n in range(3):
            found = cache.read(cache.digest(str(n)))
            assert found is None or found.parts["x"] == found.head["n"].to_bytes(4, "little") * 100_000
    for part in place.glob("*" + cache.PART):
        os.utime(part, (0, 0))
    cache.trim(str(place), 1 << 30)
    assert not list(place.glob("*" + cache.PART))


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is open can't be replaced")
def test_an_entry_that_is_written_anew_is_there_all_the_time(place: Path) -> None:
    code = "from tilec import cache\nn = 0\nwhile True:\n n += 1\n"
    code += f" cache.write({KEY!r}, {{'n': n}}, {{'x': n.to_bytes(4, 'little') * 100_000}})\n if n == 1: print('go', flush=True)"
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert writer.stdout
    writer.stdout.readline()
    seen = set()
    for _ in range(300):
        found = cache.read(KEY)
        assert found is not None
        assert found.parts["x"] == found.head["n"].to_bytes(4, "little") * 100_000
        seen.add(found.head["n"])
    writer.kill()
    writer.communicate()
    assert len(seen) > 1


# the bound


def test_what_was_not_used_for_longest_goes_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [cache.digest(str(n)) for n in range(4)]
    for n, name in enumerate(names):
        cache.write(name, {"kernel": str(n), "arch": "sm_80"}, {"x": bytes(10_000)})
        os.utime(place / f"{name}{cache.ENDING}", (1000 + n, 1000 + n))
    assert cache.read(names[0])  # is now the one used last
    monkeypatch.setenv("TILEC_CACHE_SIZE", "35K")
    cache.write(cache.digest("new"), {"kernel": "new", "arch": "sm_80"}, {"x": bytes(10_000)})
    assert {e.kernel for e in cache.entries()} == {"0", "3", "new"}
    assert sum(f.stat().st_size for f in place.iterdir()) <= 35 * 1024
    cache.write(cache.digest("large"), {"kernel": "large", "arch": "sm_80"}, {"x": bytes(40_000)})  # has no room at all
    assert {e.kernel for e in cache.entries()} == {"0", "3", "new"}


@pytest.mark.parametrize(("text", "size"), [("1000", 1000), ("3k", 3072), ("2M", 1 << 21), ("1 GB", 1 << 30), ("", 1 << 29)])
def test_sizes(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEC_CACHE_SIZE", text)
    assert cache.limit() == size


def test_a_size_that_is_none(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEC_CACHE_SIZE", "plenty")
    with pytest.raises(TileError, match="TILEC_CACHE_SIZE is 'plenty', which is no size"):
        cache.write(KEY, HEAD, PARTS)


# the command


def test_the_command_lists_and_clears(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n, name in enumerate(("matmul", "softmax")):
        cache.write(cache.digest(name), {"kernel": name, "arch": "sm_90a", "made": time.time() - 7200 - n}, {"x": bytes(5550)})
        os.utime(place / f"{cache.digest(name)}{cache.ENDING}", (time.time() - 3600 * (3 + n),) * 2)
    cache.write(cache.digest("other"), {"exact": "x"})
    (place / f"{'0' * 32}{cache.ENDING}").write_bytes(b"nonsense")
    (place / f".x.1{cache.PART}").write_bytes(b"half")
    (place / "mine.txt").write_text("not the cache's")
    assert main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["kernel", "arch", "KB", "made", "used"], ["matmul", "sm_90a", "5.6", "2h", "3h"], ["softmax", "sm_90a", "5.6", "2h", "4h"],
    ]  # fmt: skip
    assert lines[3].startswith("2 kernels, ")
    assert str(place) in lines[3]
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out.startswith("removed 2 kernels, ")
    assert [p.name for p in place.iterdir()] == ["mine.txt"]
    assert main(["cache"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 kernels, 0.0 KB")


def test_the_command_without_a_cache(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TILEC_CACHE_DIR", "off")
    assert main(["cache"]) == 0
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == "there is no cache: TILEC_CACHE_DIR is off\n" * 2
