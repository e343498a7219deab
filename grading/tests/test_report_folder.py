"""A report folder is made by us and marked as ours; nothing else is replaced or deleted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bn_grading.classroom.folder import MARK, FolderError, ReportFolder

FILES = ("index.html", "submissions/ada.html")


def test_a_new_or_empty_folder_is_marked_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "new" / "deeper", tmp_path / "empty"):
        ReportFolder(path, FILES)
        assert {"made_by": "bnoracle", "files": list(FILES)} == json.loads(
            (path / MARK).read_text("utf-8")
        )


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
    ReportFolder(tmp_path, FILES).write("submissions/ada.html", "then")
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
        '{"made_by": "bnoracle", "files": ["../away.txt", "/etc/away.txt", "a\\\\b"]}',
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
