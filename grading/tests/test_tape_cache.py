"""What is kept on disk: shared, checked, made again when damaged, and never in the way."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import bn_grading
import bn_oracle
import bn_properties
import bn_worker
import numpy as np
import pytest
from bn_grading import tape_cache
from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import built_in
from bn_grading.grade import grade
from bn_grading.intake.paths import single
from bn_grading.tape_cache import FOLDER, SUFFIX, Cache
from bn_properties.records import SubmissionResult

FIXTURES = Path(__file__).parents[2] / "fixtures"
COURSES = list(built_in().values())
NONE: tuple[object, ...] = ()


class Making:
    """Counts how often something is made."""

    def __init__(self, content: object = (np.arange(3.0), "text")) -> None:
        self.times, self._content = 0, content

    def __call__(self) -> Any:
        self.times += 1
        return self._content


def test_what_is_kept_is_made_once(tmp_path: Path) -> None:
    making, folder = Making(), tmp_path / "deep" / "folder"
    for _ in range(3):
        array, text = Cache(folder).kept(("key", 1), making)
        assert ([0.0, 1.0, 2.0], "text") == (array.tolist(), text)
    assert 1 == making.times
    Cache(folder).kept(("key", 2), making)
    assert 2 == making.times
    assert Cache(folder).has(("key", 1))
    assert not Cache(folder).has(("key", 3))


def damage(content: bytes) -> list[bytes]:
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    return [b"", content[:9], content[:-1], bytes(flipped), b"another program's", content + b"x"]


@pytest.mark.parametrize("number", range(6))
def test_what_is_damaged_is_made_again_without_a_word(
    number: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    making, cache = Making(), Cache(tmp_path)
    cache.kept(NONE, making)
    (file,) = tmp_path.glob(f"*{SUFFIX}")
    whole = file.read_bytes()
    file.write_bytes(damage(whole)[number])
    cache.kept(NONE, making)
    assert 2 == making.times
    assert whole == file.read_bytes()
    assert ("", "") == capfd.readouterr()


@pytest.mark.parametrize(
    "spoil", [lambda file: os.truncate(file, 64), lambda file: file.write_bytes(b"x" * 10**5)]
)
def test_what_becomes_of_a_file_once_it_is_read_does_not_matter(
    spoil: Callable[[Path], object], tmp_path: Path
) -> None:
    """A submission can write to it: what was checked must not change, nor the process die."""
    content = (np.arange(100_000.0),)
    Cache(tmp_path).kept(NONE, Making(content))
    making = Making(content)
    (array,) = Cache(tmp_path).kept(NONE, making)
    (file,) = tmp_path.glob(f"*{SUFFIX}")
    with file.open("r+b") as stream:  # in place, as a mapped file would show it
        stream.seek(-80_000, os.SEEK_END)
        stream.write(b"\xff" * 80_000)
    spoil(file)
    assert (array == content[0]).all()
    assert 0 == making.times


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this platform")
def test_what_is_no_file_is_neither_read_nor_counted(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.kept(NONE, Making())
    (file,) = tmp_path.glob(f"*{SUFFIX}")
    file.unlink()
    os.mkfifo(file)
    (tmp_path / f"folder{SUFFIX}").mkdir()
    (tmp_path / f"dangling{SUFFIX}").symlink_to(tmp_path / "nowhere")
    making = Making()
    assert (0, 0) == cache.holds()
    cache.kept(NONE, making)
    cache.kept(NONE, making)
    assert (1, 1) == (making.times, cache.holds().files)


def test_another_code_makes_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    making = Making()
    Cache(tmp_path).kept(NONE, making)
    monkeypatch.setattr(tape_cache, "made_by", lambda: "another version")
    Cache(tmp_path).kept(NONE, making)
    assert (2, 2) == (making.times, Cache(tmp_path).holds().files)


@pytest.mark.parametrize("package", ["numpy", "hypothesis"])
def test_the_versions_that_cases_and_tapes_rest_on_are_part_of_the_key(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by = tape_cache.made_by.__wrapped__
    before = made_by()
    assert made_by() == before
    monkeypatch.setattr(
        tape_cache, "version", lambda name: "another" if name == package else version(name)
    )
    assert made_by() != before


@pytest.mark.parametrize("room", [bn_oracle, bn_properties, bn_worker, bn_grading])
def test_the_code_that_cases_and_tapes_are_made_by_is_part_of_the_key(
    room: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tape_cache.made_by.__wrapped__()
    copy = tmp_path / "copy"
    shutil.copytree(Path(room.__file__ or "").parent, copy)
    monkeypatch.setattr(room, "__file__", str(copy / "__init__.py"))
    assert tape_cache.made_by.__wrapped__() == before
    with (copy / "__init__.py").open("a") as file:
        file.write("# changed\n")
    assert tape_cache.made_by.__wrapped__() != before


@pytest.mark.parametrize("place", ["a file", "below a file", "no folder"])
def test_where_nothing_can_be_kept_it_is_made_each_time(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    named = {"a file": blocked, "below a file": blocked / "folder", "no folder": ""}[place]
    monkeypatch.setenv(FOLDER, str(named))
    making, cache = Making(), Cache()
    cache.kept(NONE, making)
    cache.kept(NONE, making)
    assert 2 == making.times
    assert (0, 0) == cache.holds()
    assert "mine" == blocked.read_text()
    assert [blocked] == list(tmp_path.iterdir())


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    assert tmp_path == Cache().folder
    monkeypatch.delenv(FOLDER)
    found = Cache().folder
    assert found is not None
    assert "bnoracle" == found.name


def test_clearing_deletes_what_is_kept_and_nothing_else(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("not ours")
    cache = Cache(tmp_path)
    for key in (("one",), ("two",)):
        cache.kept(key, Making())
    held = cache.holds()
    assert 2 == held.files
    assert held.size == sum(file.stat().st_size for file in tmp_path.glob(f"*{SUFFIX}"))
    assert held == cache.clear()
    assert (0, 0) == cache.holds()
    assert [other] == list(tmp_path.iterdir())


def test_what_was_not_used_for_longest_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    content = (np.zeros(1000),)
    cache.kept(("first",), Making(content))
    size = cache.holds().size
    monkeypatch.setattr(tape_cache, "MOST", int(2.5 * size))
    cache.kept(("second",), Making(content))
    for number, file in enumerate(tmp_path.glob(f"*{SUFFIX}")):
        os.utime(file, (number, number))
    cache.kept(("first",), Making(content))  # used: it stays
    cache.kept(("third",), Making(content))
    assert [True, False, True] == [cache.has((key,)) for key in ("first", "second", "third")]


def _build(folder: Path, together: Callable[[], object], told: Callable[[object], object]) -> None:
    together()
    found = Cache(folder).kept(NONE, lambda: (np.arange(200_000.0),))
    told(float(found[0].sum()))


def test_two_processes_that_make_it_at_once_do_not_hurt_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.SimpleQueue()
    processes = [
        context.Process(target=_build, args=(tmp_path, start.wait, results.put)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert 0 == process.exitcode
    assert {199_999 * 100_000.0} == {results.get(), results.get()}
    assert 1 == len(list(tmp_path.iterdir()))
    making = Making()
    Cache(tmp_path).kept(NONE, making)
    assert 0 == making.times


def test_threads_of_one_process_do_not_hurt_each_other(tmp_path: Path) -> None:
    start, results = threading.Barrier(4), list[object]()
    threads = [
        threading.Thread(target=_build, args=(tmp_path, start.wait, results.append))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [199_999 * 100_000.0] * 4 == results


def told(result: SubmissionResult) -> str:
    return result.model_copy(
        update={"seconds": 0.0, "graded": "", "memory": None}
    ).model_dump_json()


@pytest.mark.parametrize("name", ["correct/cmu_loops.py", "buggy/cmu_root_plus_eps.py"])
def test_records_are_the_same_byte_for_byte_with_the_cache_and_without(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = single(str(FIXTURES / name))
    banks = [CaseBank(3, 11, Cache(tmp_path)), CaseBank(3, 11, Cache(tmp_path))]
    monkeypatch.setenv(FOLDER, "")
    banks.append(CaseBank(3, 11))
    made, kept, without = (told(grade(submission, None, COURSES, bank)) for bank in banks)
    assert made == kept == without
    assert banks[2].cache.folder is None


VANDAL = """
import pathlib, shutil
for path in pathlib.Path({folder!r}).glob("*.tape"):
    {deed}
"""


@pytest.mark.parametrize(
    "deed",
    [
        "shutil.copy(path, str(path) + '.new'); pathlib.Path(str(path) + '.new').replace(path)",
        "path.write_bytes(path.read_bytes())",
        "shutil.copy(path, path.with_name('1' * 40 + '.tape'))",
    ],
)
def test_what_a_submission_wrote_to_the_cache_is_not_believed_later(
    deed: str, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    source = (FIXTURES / "correct/cmu_loops.py").read_text()
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(source)
    bad.write_text(source + VANDAL.format(folder=str(folder), deed=deed))
    bank = CaseBank(3, 11, Cache(folder))
    first = grade(single(str(good)), None, COURSES, bank)
    before = Cache(folder).snapshot()
    assert before
    grade(single(str(bad)), None, COURSES, CaseBank(3, 11, Cache(folder)))
    after = Cache(folder).snapshot()
    assert after.items() <= before.items()
    assert told(first) == told(
        grade(single(str(good)), None, COURSES, CaseBank(3, 11, Cache(folder)))
    )


def test_a_file_that_nobody_wrote_to_stays(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.kept(("before",), Making())
    since = cache.snapshot()
    cache.kept(("meanwhile",), Making())
    cache.kept(("before",), Making())
    cache.discard_changes(since)
    assert 2 == cache.holds().files


def test_the_folder_may_be_named_from_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, "~/tapes")
    assert Path.home() / "tapes" == Cache().folder
