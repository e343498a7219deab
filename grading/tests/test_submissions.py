"""From paths to submissions: odd files and folders are read, refused or left out, never a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bn_grading.case_bank import CaseBank
from bn_grading.courses.definitions import definitions
from bn_grading.courses.model import built_in
from bn_grading.grade import grade
from bn_grading.intake.paths import collect, single
from bn_grading.intake.submission import PathError
from bn_properties.records import Status

COURSES = list(built_in().values())


@pytest.fixture
def good(fixtures_folder: Path) -> str:
    return (fixtures_folder / "correct/cmu_handout.py").read_text("utf-8")


def status(path: Path) -> Status:
    return grade(single(str(path)), None, COURSES, CaseBank(0, 11)).status


def test_a_file_and_a_folder_of_one_name_are_two_submissions(tmp_path: Path, good: str) -> None:
    (tmp_path / "x" / "a").mkdir(parents=True)
    (tmp_path / "x" / "a.py").write_text(good)
    (tmp_path / "x" / "a" / "bn.py").write_text(good)
    ids = [submission.id for submission in collect([str(tmp_path / "x")]).submissions]
    assert 2 == len(set(ids))


def test_one_folder_named_twice_is_graded_once(tmp_path: Path, good: str) -> None:
    (tmp_path / "a.py").write_text(good)
    relative = os.path.relpath(tmp_path)
    assert 1 == len(collect([str(tmp_path), relative, str(tmp_path / "a.py")]).submissions)


def test_what_archives_leave_behind_is_no_submission(tmp_path: Path, good: str) -> None:
    folder = tmp_path / "class" / "ada"
    (folder / "__MACOSX").mkdir(parents=True)
    (folder / "__MACOSX" / "._bn.py").write_bytes(b"\x00\x05\x16\x07\xff")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bn.py").write_text(good)
    (folder / "folder.py").mkdir()
    (folder / "bn.py").write_text(good)
    (submission,) = collect([str(tmp_path / "class")]).submissions
    assert ["bn.py"] == list(submission.files)
    assert Status.CORRECT == status(folder)


def test_a_declared_encoding_is_obeyed(tmp_path: Path, good: str) -> None:
    path = tmp_path / "latin.py"
    path.write_bytes(b"# -*- coding: latin-1 -*-\n# caf\xe9\n" + good.encode())
    assert Status.CORRECT == status(path)


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"\r\n", b"\r"])
def test_byte_order_marks_and_line_ends_do_not_matter(
    tmp_path: Path, good: str, start: bytes
) -> None:
    path = tmp_path / "bn.py"
    path.write_bytes(start + good.replace("\n", "\r\n").encode())
    assert Status.CORRECT == status(path)


def test_a_definition_under_a_condition_is_found() -> None:
    assert (
        "BatchNorm1d" in definitions("try:\n    class BatchNorm1d: pass\nfinally: pass\n").defined
    )
    assert "BatchNorm1d" in definitions("if True:\n    class BatchNorm1d: pass\n").defined


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"x = '\xff'\n", "not text in UTF-8"),
        (b"# coding: undefined\nx = 1\n", "not text in UTF-8"),
        (b"# coding: unicode_escape\nx = '\\ud800'\n", "not text in UTF-8"),
        (b"# coding: U7\nx = 1\n", "not text in UTF-8"),
        (b"# coding: nobodys\nx = 1\n", "not text in UTF-8"),
        (b"x = " + b"-" * 100_000 + b"1\nclass BatchNorm1d: pass\n", ""),
        (b"class BatchNorm1d(a" + b".b" * 600 + b"): pass\n", "NameError"),
        (b"class BatchNorm1d:\0 pass\n", "cannot be parsed"),
        (b"#" * ((1 << 20) + 1), "larger than"),
    ],
)
def test_a_file_that_cannot_be_read_is_unusable(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "bn.py"
    path.write_bytes(content)
    result = grade(single(str(path)), None, COURSES, CaseBank(0, 11))
    assert Status.UNUSABLE == result.status
    assert reason in result.summary


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are POSIX")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    folder = tmp_path / "ada"
    folder.mkdir()
    os.mkfifo(folder / "pipe.py")
    result = grade(single(str(folder)), None, COURSES, CaseBank(0, 11))
    assert Status.UNUSABLE == result.status
    assert "regular file" in result.summary


@pytest.mark.skipif(sys.platform == "win32", reason="links are POSIX's")
def test_links_are_not_followed_and_told(tmp_path: Path, good: str) -> None:
    folder, secret = tmp_path / "class", tmp_path / "secret"
    for each in (folder / "ada", secret):
        each.mkdir(parents=True)
    (folder / "zoe.py").write_text(good)
    (secret / "solution.py").write_text(good)
    for name, to in {
        "aaa.py": folder / "zoe.py", "loop.py": folder / "loop.py", "mallory": secret,
        "root": Path("/"), "ada/bn.py": secret / "solution.py", "ada/all": Path("/"),
    }.items():  # fmt: skip
        (folder / name).symlink_to(to)
    found = collect([str(folder)])
    assert ["zoe"] == [each.id for each in found.submissions]
    told = [f"{folder / name} (a link)" for name in ("aaa.py", "loop.py", "mallory", "root")]
    assert [f"{folder / 'ada'} (a folder without a .py file)", *told] == sorted(
        found.skipped, key=lambda each: each.endswith("(a link)")
    )
    (folder / "zoe.py").unlink()
    with pytest.raises(PathError, match="but links, which are not followed"):
        collect([str(folder)])


@pytest.mark.skipif(sys.platform == "win32", reason="paths have a limit there")
def test_a_folder_may_be_as_deep_as_it_likes(tmp_path: Path, good: str) -> None:
    (tmp_path / "class" / "ada").mkdir(parents=True)
    (tmp_path / "class" / "ada" / "bn.py").write_text(good)
    there = os.getcwd()
    os.chdir(tmp_path / "class" / "ada")
    try:
        for _ in range(1_200):
            os.mkdir("long_" * 4)
            os.chdir("long_" * 4)
        found = collect([str(tmp_path / "class")])
    finally:
        os.chdir(there)
        subprocess.run(["rm", "-rf", tmp_path / "class"], check=True)  # Python's own cannot
    assert ["ada"] == [each.id for each in found.submissions]


def test_all_files_of_a_submission_have_a_limit_together(tmp_path: Path, good: str) -> None:
    (tmp_path / "a.py").write_text(good)
    for number in range(5):
        (tmp_path / f"b{number}.py").write_bytes(b"#" * ((1 << 20) - 1))
    found = single(str(tmp_path))
    assert sum(map(len, found.files.values())) <= 4 << 20
    assert "a.py" in found.files
    assert len(found.files) < 6


@pytest.mark.parametrize(("name", "reason"), [("", "empty"), ("x" * 5_000, "too long")])
@pytest.mark.skipif(sys.platform == "win32", reason="other limits")
def test_what_can_name_nothing_is_told_in_a_line(name: str, reason: str) -> None:
    for read in (single, lambda path: collect([path])):
        with pytest.raises(PathError, match=reason) as raised:
            read(name)
        assert len(str(raised.value)) < 200


def test_a_million_lines_of_nothing_are_a_syntax_error(tmp_path: Path) -> None:
    path = tmp_path / "bn.py"
    path.write_text("\n" * 1_000_000 + "(")
    result = grade(single(str(path)), None, COURSES, CaseBank(0, 11))
    assert "syntax error in line 1000001" in result.summary


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
def test_a_file_name_that_is_not_utf_8_is_escaped(tmp_path: Path, good: str) -> None:
    name = os.fsencode(str(tmp_path)) + b"/caf\xe9.py"
    with open(name, "w", encoding="utf-8") as file:
        file.write(good)
    (submission,) = collect([str(tmp_path)]).submissions
    assert submission.id.isprintable()
    submission.id.encode("utf-8")


def test_what_is_no_python_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("# notes\n")
    with pytest.raises(PathError, match=r"notes.md is not a .py file"):
        single(str(path))


def test_a_long_message_is_cut(tmp_path: Path, good: str) -> None:
    path = tmp_path / "bn.py"
    shout = "def backward(self, dLdBZ):\n        raise ValueError('x' * 10_000_000)\n"
    path.write_text(good.replace("def backward(self, dLdBZ):\n", shout))
    result = grade(single(str(path)), None, COURSES, CaseBank(0, 11))
    assert Status.INCORRECT == result.status
    assert len(result.model_dump_json()) < 1_000_000
