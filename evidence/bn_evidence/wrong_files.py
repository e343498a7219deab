"""Wrong files, made from right ones: what a mistake changes is kept, and nothing else.

`mistakes/*.toml` in a folder of fixtures says of each which right file it starts from and what
stands there in place of what should. To look at the files themselves, write them somewhere:

    PYTHONPATH=evidence python -m bn_evidence.wrong_files FOLDER [FIXTURES]
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator


class StaleMistake(ValueError):
    """A mistake does not fit the right file that it starts from; the text says what, and where."""


class Edit(BaseModel):
    """Whole lines that change, told without the indentation that they share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    right: str = ""
    """What should stand there, and is replaced."""
    before: str = ""
    """Or the lines that the mistake is put before, at their indentation."""
    after: str = ""
    """Or the lines that it is put after."""
    wrong: str
    """What stands there; empty where something is left out."""

    @model_validator(mode="after")
    def _changes_one_place(self) -> Edit:
        if sum(map(bool, (self.right, self.before, self.after))) != 1:
            raise ValueError("name one of right, before and after")
        if self.right == self.wrong or not (self.right or self.wrong):
            raise ValueError("nothing is changed")
        return self

    @property
    def anchor(self) -> list[str]:
        """The lines that the right file must have, once."""
        return (self.right or self.before or self.after).splitlines()

    def instead(self) -> list[str]:
        """Return the lines that come for those of the anchor."""
        wrong = self.wrong.splitlines()
        if self.before:
            return wrong + self.anchor
        return self.anchor + wrong if self.after else wrong


class Recipe(BaseModel):
    """One mistake, as a table of the TOML file tells it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str
    """The right file, without its ending."""
    rejected_by: Annotated[str, Field(alias="rejected-by")]
    """The property that must fail, the one closest to the root of what is wrong."""
    mistake: str
    """One plain sentence."""
    edit: Annotated[tuple[Edit, ...], Field(min_length=1)]


@dataclass(frozen=True)
class WrongFile:
    """A mistake with the text that it makes."""

    name: str
    rejected_by: str
    mistake: str
    source: str

    def write(self, folder: Path) -> Path:
        """Write the file, and return its path."""
        path = folder / f"{self.name}.py"
        path.write_text(self.source, "utf-8")
        return path


def wrong_files(fixtures: Path) -> list[WrongFile]:
    """Return the files that a folder's mistakes make, by name.

    Raises:
        StaleMistake: a table says nothing that can be made; what, and where.
    """
    found: dict[str, WrongFile] = {}
    for path in sorted((fixtures / "mistakes").glob("*.toml")):
        for name, recipe in _read(path).items():
            where = f"{path.name}: {name}"
            if name in found:
                raise StaleMistake(f"{where} is there twice")
            right = _right_file(fixtures, recipe.base)
            if right is None:
                raise StaleMistake(f"{where}: there is no right file {recipe.base}")
            head = f"# rejected-by: {recipe.rejected_by}\n# mistake: {recipe.mistake}\n"
            source = head + edited(right.read_text("utf-8"), recipe.edit, where, recipe.base)
            found[name] = WrongFile(name, recipe.rejected_by, recipe.mistake, source)
    return [found[name] for name in sorted(found)]


def _right_file(fixtures: Path, name: str) -> Path | None:
    """Return a right file, from where they stand or from beside the mistakes that need it alone."""
    paths = (fixtures / folder / f"{name}.py" for folder in ("correct", "mistakes"))
    return next((path for path in paths if path.is_file()), None)


def _read(path: Path) -> dict[str, Recipe]:
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
        return TypeAdapter(dict[str, Recipe]).validate_python(tables)
    except tomllib.TOMLDecodeError as error:
        raise StaleMistake(f"{path.name}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StaleMistake(f"{path.name}: {where}: {first['msg']}") from None


def edited(source: str, edits: tuple[Edit, ...], where: str, base: str) -> str:
    """Return the text with every edit made, one after the other.

    Raises:
        StaleMistake: lines to replace are not there exactly once.
    """
    lines = source.splitlines()
    for edit in edits:
        anchor = edit.anchor
        places = [
            start
            for start in range(len(lines) - len(anchor) + 1)
            if lines[start : start + len(anchor)] == _indented(anchor, _indent(lines[start]))
        ]
        if len(places) != 1:
            raise StaleMistake(f"{where}: {base} has {anchor[0]!r} {len(places)} times, not once")
        start = places[0]
        lines[start : start + len(anchor)] = _indented(edit.instead(), _indent(lines[start]))
    return "\n".join(lines) + "\n"


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _indented(lines: list[str], indent: str) -> list[str]:
    return [indent + line if line else line for line in lines]


def main(arguments: list[str]) -> None:
    """Write the files of a folder of fixtures into another folder."""
    target = Path(arguments[0])
    fixtures = Path(arguments[1]) if len(arguments) > 1 else Path("fixtures")
    target.mkdir(parents=True, exist_ok=True)
    for each in wrong_files(fixtures):
        print(each.write(target))


if __name__ == "__main__":
    main(sys.argv[1:])
