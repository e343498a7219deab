"""A report folder is made by us and marked as ours; nothing else is replaced or deleted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from bn_grading.classroom.folder import MARK, FolderError, ReportFolder

FILES = ("index.html", "submissions/ada.html")


def test_a_new_or_empty_folder_is_marked_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "new" / "deeper", tmp_path / "empty"):
        ReportFolder(path, FILES)
        mark = json.loads((path / MARK).read_text("utf-8"))
        assert ("bnoracle", sorted(FILES)) == (mark["made_by"], sorted(mark["files"]))
        assert ["submissions"] == mark["folders"]


def test_a_folder_with_something_else_in_it_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FolderError, match=r"holds files, but no report of bnoracle's.*--force"):
        ReportFolder(tmp_path, FILES)
    assert ["thesis.txt"] == [path.name for path in tmp_path.iterdir()]


def test_by_force_what_is_not_ours_still_stays(tmp_path: Path) -> None:
    other = tmp_path / "submissions" / "other.html"
    other.parent.mkdir()
    other.write_text("theirs")
    folder = ReportFolder(tmp_path, FILES, force=True)
    folder.write("submissions/ada.html", "ours")
    assert ["submissions/ada.html"] == folder.own("submissions")
    folder.delete("submissions/ada.html")
    assert "theirs" == other.read_text()
    with pytest.raises(ValueError, match=r"other\.html is not this program's"):
        folder.delete("submissions/other.html")


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("away")])
def test_what_would_have_to_be_replaced_and_is_not_ours_is_named(
    tmp_path: Path, make: object
) -> None:
    assert callable(make)
    make(tmp_path / "index.html")
    with pytest.raises(FolderError, match=r"index\.html is not bnoracle's, and would be replaced"):
        ReportFolder(tmp_path, FILES, force=True)
    assert not (tmp_path / MARK).exists()


def test_what_an_earlier_run_wrote_is_ours_and_may_be_replaced(tmp_path: Path) -> None:
    first = ReportFolder(tmp_path, FILES)
    first.write("submissions/ada.html", "then")
    first.release()
    folder = ReportFolder(tmp_path, ["index.html", "submissions/bob.html"])
    assert ["submissions/ada.html"] == folder.own("submissions")
    folder.delete("submissions/ada.html")
    assert not (tmp_path / "submissions").exists(), "an empty folder goes, too"
    folder.write("submissions/bob.html", "now")
    with pytest.raises(ValueError, match=r"carl\.html is not among the report's files"):
        folder.write("submissions/carl.html", "")


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(FolderError, match="is a file, but must be a folder"):
        ReportFolder(tmp_path / "out", FILES)


@pytest.mark.parametrize(
    "mark",
    [
        "",
        "[]",
        '{"made_by": "bnoracle"}',
        '{"made_by": "x", "files": ["../away.txt", "/etc/away.txt"], "folders": ["..", "/etc"]}',
    ],
)
def test_a_mark_that_was_tampered_with_gives_nothing_away(tmp_path: Path, mark: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "away.txt").write_text("theirs")
    (tmp_path / "out" / MARK).write_text(mark)
    folder = ReportFolder(tmp_path / "out", FILES, force=True)
    for name in ("../away.txt", "/etc/away.txt"):
        with pytest.raises(ValueError, match="is not this program's"):
            folder.delete(name)
    assert (tmp_path / "away.txt").exists()


def test_while_a_run_lasts_no_other_one_begins(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path, FILES)
    with pytest.raises(FolderError, match="is being written by another run"):
        ReportFolder(tmp_path, ["index.html"], force=True)
    folder.release()
    ReportFolder(tmp_path, ["index.html"]).release()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_folder_below_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    ReportFolder(tmp_path / "out", FILES).release()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "submissions").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderError, match="submissions is not a folder of bnoracle's"):
        ReportFolder(tmp_path / "out", FILES)


def test_what_has_become_something_else_is_named(tmp_path: Path) -> None:
    ReportFolder(tmp_path, FILES).release()
    (tmp_path / "index.html").mkdir()
    with pytest.raises(FolderError, match=r"index\.html is not bnoracle's"):
        ReportFolder(tmp_path, FILES)


def test_a_folder_below_that_was_there_before_stays_and_a_draft_that_was_left_goes(
    tmp_path: Path,
) -> None:
    (tmp_path / "submissions").mkdir()
    folder = ReportFolder(tmp_path, FILES, force=True)
    folder.write("submissions/ada.html", "")
    folder.delete("submissions/ada.html")
    assert (tmp_path / "submissions").is_dir()
    folder.release()
    draft, other = f".{'0a' * 16}.partial", ".mine.partial"
    for name in (draft, other):
        (tmp_path / name).touch()
    ReportFolder(tmp_path, FILES)
    assert not (tmp_path / draft).exists()
    assert (tmp_path / other).exists()
