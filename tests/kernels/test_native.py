"""Small C++ libraries are built once per text, by whoever comes first, and a fault is told rather than worked around."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kernels import native

pytestmark = pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")
HOUSE = Path(native.__file__).parent.parent
TEXT = '#include "seven.h"\nextern "C" int answer() { return SEVEN * 6; }\n'
ASK = "from pathlib import Path; from kernels import native; native.SOURCES = Path({!r}); "


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one library `answer`, and an empty cache."""
    sources = tmp_path / "cpp"
    sources.mkdir()
    (sources / "seven.h").write_text("#define SEVEN 7\n")
    (sources / "answer.cpp").write_text(TEXT)
    monkeypatch.setattr(native, "SOURCES", sources)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(native.tempfile, "tempdir", None)
    forget()
    return sources


def forget() -> None:
    """What a new process does not know yet."""
    for known in (native.library, native.function, native.compiler, native._say_once, native._compiler_version):
        known.cache_clear()


def in_another_process(sources: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ASK.format(str(sources)) + code]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, cwd=HOUSE)


def test_a_library_is_built_on_first_use_and_called(shelf: Path) -> None:
    assert native.names() == ("answer",)
    library = native.library("answer")
    assert library is not None
    assert library.answer() == 42


def test_a_second_process_finds_what_the_first_built(shelf: Path) -> None:
    path = native.built("answer")
    assert path is not None
    written = path.stat().st_mtime_ns
    # with a compiler that cannot even run, only a library that is there already can answer
    done = in_another_process(shelf, "native._build = None; print(native.library('answer').answer())")
    assert (done.stdout, done.stderr) == ("42\n", "")
    assert path.stat().st_mtime_ns == written
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_changed_header_makes_another_library_and_leaves_the_old_one(shelf: Path) -> None:
    old = native.built("answer")
    (shelf / "seven.h").write_text("#define SEVEN 8\n")
    forget()
    new = native.built("answer")
    assert old is not None
    assert new != old
    assert old.is_file()
    library = native.library("answer")
    assert library is not None
    assert library.answer() == 48


def test_many_builders_at_once_leave_one_whole_library(shelf: Path) -> None:
    def build(_: int) -> str:
        return in_another_process(shelf, "print(native.library('answer').answer())").stdout

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(build, range(3))) == ["42\n"] * 3
    path = native.built("answer")
    assert path is not None
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # no half-written file is left


def test_prepare_builds_all_without_torch_and_tells_those_refused(shelf: Path) -> None:
    (shelf / "broken.cpp").write_text("int wrong() { return nothing; }\n")
    done = in_another_process(shelf, "import sys; print(sorted(native.prepare())); print('torch' in sys.modules)")
    assert done.stdout == "['broken']\nFalse\n"
    assert in_another_process(shelf, "native._build = None; print(native.library('answer').answer())").stdout == "42\n"


def test_only_what_is_needed_is_built_and_nobody_is_asked_where_all_is_there(shelf: Path) -> None:
    (shelf / "other.cpp").write_text(TEXT)
    told, asked = list[str](), list[int]()

    def needed() -> list[str]:
        asked.append(1)
        return ["answer", "of another house"]

    assert native.prepare(told.append, needed=needed) == {}
    assert (told, asked) == (["answer"], [1])
    assert native.prepare(told.append, needed=lambda: ["other"]) == {}
    assert native.prepare(told.append, needed=needed) == {}
    assert (told, asked) == (["answer", "other"], [1])


def test_a_broken_text_is_told_in_the_compilers_words_and_never_worked_around(shelf: Path) -> None:
    (shelf / "answer.cpp").write_text("int wrong() { return nothing; }\n")
    with pytest.raises(native.BuildFailed, match=r"(?s)cannot build kernel `answer.cpp`: .*nothing.* not declared|undeclared"):
        native.library("answer")
    assert not list((shelf.parent / "cache").rglob("*.so"))


def test_without_a_compiler_there_is_one_line_and_none(shelf: Path, tmp_path: Path) -> None:
    done = in_another_process(
        shelf, "print(native.library('answer'), native.library('answer'), native.prepare())", PATH=str(tmp_path), CXX=""
    )
    assert done.stdout == "None None {}\n"
    assert done.stderr.count("\n") == 1
    assert "no C++ compiler found" in done.stderr
    assert "slower" in done.stderr


def test_a_compiler_that_the_user_names_is_the_one_asked(shelf: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text(f'#!/bin/sh\necho asked >> {tmp_path}/asked\nexec {native.compiler()} "$@"\n')
    mine.chmod(0o700)
    before = native.built("answer")
    done = in_another_process(shelf, "print(native.built('answer'))", CXX=str(mine))
    assert (tmp_path / "asked").read_text() == "asked\n"
    assert done.stdout.strip() != str(before)  # another compiler, another library


@pytest.mark.parametrize("obstacle", ["a file in the way", "a folder that cannot be written to"])
def test_a_home_that_takes_no_files_is_replaced_by_a_private_temporary_folder(shelf: Path, obstacle: str) -> None:
    cache = shelf.parent / "cache"
    if obstacle == "a file in the way":
        cache.write_text("")
    else:
        (cache / "touchstone" / "native").mkdir(parents=True)
        (cache / "touchstone" / "native").chmod(0o500)
        if os.access(cache / "touchstone" / "native", os.W_OK):
            pytest.skip("this user may write everywhere")
    path = native.built("answer")
    assert path is not None
    assert path.parent == shelf.parent / f"touchstone-native-{os.getuid()}"
    assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["half of it is lost", "one bit is another", "nothing is left"])
def test_a_damaged_library_is_built_anew(shelf: Path, damage: str) -> None:
    path = native.built("answer")
    assert path is not None
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "half of it is lost": whole[:middle],
            "one bit is another": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "nothing is left": b"",
        }[damage]
    )
    done = in_another_process(shelf, "print(native.library('answer').answer())")
    assert (done.stdout, done.stderr) == ("42\n", "")
    assert path.read_bytes() == whole


def test_a_full_disk_costs_one_line_and_the_second_folder_is_used(shelf: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.write_text(
        f"""#!/bin/sh
case "$*" in *"{tmp_path}/cache/"*) echo 'fatal error: writing to answer.o: No space left on device' >&2; exit 1;; esac
exec {native.compiler()} "$@"
"""
    )
    full.chmod(0o700)
    done = in_another_process(shelf, "print(native.library('answer').answer(), native.built('answer').parent)", CXX=str(full))
    second = f"{tmp_path}/touchstone-native-{os.getuid()}"
    assert done.stdout == f"42 {second}\n"
    first = f"`{tmp_path}/cache/touchstone/native`: No space left on device"
    assert done.stderr == f"kernels: `answer` lies in `{second}`, as nothing can be written to {first}\n"
    assert not list((tmp_path / "cache").rglob("*answer*"))


def test_where_both_folders_are_full_both_are_named(shelf: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.write_text("#!/bin/sh\necho 'fatal error: Disk quota exceeded' >&2\nexit 1\n")
    full.chmod(0o700)
    done = in_another_process(shelf, "native.library('answer')", CXX=str(full))
    assert f"(`{tmp_path}/cache/touchstone/native`: Disk quota exceeded; `{tmp_path}/touchstone-native-" in done.stderr
    assert "set XDG_CACHE_HOME or TMPDIR" in done.stderr


def test_a_compiler_may_have_words_before_and_after_it(shelf: Path, tmp_path: Path) -> None:
    (shelf / "answer.cpp").write_text('extern "C" int answer() { return SEVEN * 6; }\n')
    cached = tmp_path / "cached"
    cached.write_text('#!/bin/sh\nexec "$@"\n')
    cached.chmod(0o700)

    def ask(command: str) -> tuple[str, ...]:
        done = in_another_process(shelf, "print(native.library('answer').answer(), native.built('answer').name)", CXX=command)
        return tuple(done.stdout.split())

    (seven, first), (eight, second) = (ask(f"{cached} {native.compiler()} -DSEVEN={n}") for n in (7, 8))
    assert (seven, eight) == ("42", "48")
    assert first != second


def test_a_kernel_without_memory_is_a_memory_error_and_others_go_on(shelf: Path) -> None:
    parallel = HOUSE / "kernels" / "cpp" / "parallel.h"
    (shelf / "answer.cpp").write_text(
        f"""#include "{parallel}"
#include <atomic>
#include <new>
extern "C" int answer(long lacking, int threads, int* done) {{
    std::atomic<int> count{{0}};
    const int failed = parallel(1000, threads, [&](long i) {{
        if (i == lacking) throw std::bad_alloc();
        ++count;
    }});
    *done = count;
    return failed;
}}
"""
    )
    done = ctypes.c_int()
    answer = native.function("answer", "answer", ctypes.c_long, ctypes.c_int, ctypes.c_void_p)
    for threads in (1, 3):
        with pytest.raises(MemoryError, match="kernel `answer` could not allocate its buffers"):
            answer(17, threads, ctypes.byref(done))
        answer(-1, threads, ctypes.byref(done))
        assert done.value == 1000


def test_a_library_in_somebody_elses_folder_is_not_run(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = native.built("answer")
    assert path is not None
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.raises(PermissionError, match="no folder can be written to"):
        native.built("answer")


def test_a_library_that_does_not_exist_is_told_with_those_that_do(shelf: Path) -> None:
    with pytest.raises(ValueError, match="no kernel library `anwser`; there are answer"):
        native.library("anwser")


def test_every_library_of_the_house_builds() -> None:
    forget()
    assert native.prepare() == {}
