"""Wrong files are made from right ones, or it is said what keeps them from being made."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from bn_evidence.wrong_files import StaleMistake, main, wrong_files

RIGHT = """\
class Layer:
    def forward(self, x):
        y = x

        return y
"""
TABLE = """\
[late]
base = "layer"
rejected-by = "training.agreement"
mistake = "it is one too many"
"""
ONE_TOO_MANY = TABLE + '[[late.edit]]\nright = "return y"\nwrong = "return y + 1"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of fixtures with one right file and no mistake yet."""
    (tmp_path / "correct").mkdir()
    (tmp_path / "mistakes").mkdir()
    (tmp_path / "correct" / "layer.py").write_text(RIGHT, "utf-8")
    return tmp_path


def made(folder: Path, table: str) -> str:
    (folder / "mistakes" / "some.toml").write_text(table, "utf-8")
    (found,) = wrong_files(folder)
    return found.source


def test_a_file_is_the_right_one_with_its_mistake_under_a_header(folder: Path) -> None:
    head = "# rejected-by: training.agreement\n# mistake: it is one too many\n"
    assert head + RIGHT.replace("return y", "return y + 1") == made(folder, ONE_TOO_MANY)


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (
            'right = """\ny = x\n\nreturn y\n"""\nwrong = """\nif x:\n    return x\n"""',
            "        y = x\n\n        return y\n",
            "        if x:\n            return x\n",
        ),
        (
            'before = "return y"\nwrong = "y += 1"',
            "        return",
            "        y += 1\n        return",
        ),
        ('after = "y = x"\nwrong = "y += 1"', "y = x\n", "y = x\n        y += 1\n"),
        ('right = "y = x"\nwrong = ""', "        y = x\n", ""),
    ],
)
def test_lines_are_told_without_the_indentation_that_they_share(
    folder: Path, edit: str, before: str, after: str
) -> None:
    source = made(folder, f"{TABLE}[[late.edit]]\n{edit}\n")
    assert source.endswith(RIGHT.replace(before, after))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("return y", "return z", "some.toml: late: layer has 'return z' 0 times, not once"),
        ('"layer"', '"other"', "some.toml: late: there is no right file other"),
        ('wrong = "return y + 1"', 'wrong = "return y"', "late.edit.0: .*nothing is changed"),
        ('wrong = "return y + 1"', 'after = "y = x"\nwrong = ""', "one of right, before and after"),
        ("mistake =", "mistakes =", "some.toml: late.mistake: Field required"),
        ("[[late.edit]]", "[[late.edits]]", "some.toml: late.edit: Field required"),
        ("[late]", "[late", "some.toml: "),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(
    folder: Path, old: str, new: str, message: str
) -> None:
    assert old in ONE_TOO_MANY
    with pytest.raises(StaleMistake, match=message) as caught:
        made(folder, ONE_TOO_MANY.replace(old, new))
    assert "\n" not in str(caught.value)


def test_lines_that_stand_twice_are_refused(folder: Path) -> None:
    (folder / "correct" / "layer.py").write_text(RIGHT * 2, "utf-8")
    with pytest.raises(StaleMistake, match="layer has 'return y' 2 times, not once"):
        made(folder, ONE_TOO_MANY)


def test_one_name_in_two_files_is_refused(folder: Path) -> None:
    (folder / "mistakes" / "first.toml").write_text(ONE_TOO_MANY, "utf-8")
    with pytest.raises(StaleMistake, match=r"some\.toml: late is there twice"):
        made(folder, ONE_TOO_MANY)


@pytest.mark.parametrize("place", ["", "courses/lecture"])
def test_the_command_writes_every_file(place: str, fixtures_folder: Path, tmp_path: Path) -> None:
    folder = fixtures_folder / place
    main([str(tmp_path / "wrong"), str(folder)])
    written = {path.stem: path.read_text("utf-8") for path in (tmp_path / "wrong").iterdir()}
    assert {each.name: each.source for each in wrong_files(folder)} == written
    for source in written.values():
        ast.parse(source)
