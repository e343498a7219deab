"""The commands that read records, and grade nothing: `report` and `compare`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from bn_properties.records import Results
from bn_reports.formats.results_json import read_results
from rich.console import Console

from bn_grading.usage import GRADER_FAILED, stop

RESULTS = "results.json"
BROKE = 1
"""The exit code of `compare` where something got worse."""

MarkdownOption = Annotated[
    bool, typer.Option("--markdown", help="Print Markdown, for a pull request's comment.")
]


def report(
    path: Annotated[
        Path, typer.Argument(metavar="DIR", help="A report folder, or a results.json.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where the report goes, if not there."),
    ] = None,
    markdown: MarkdownOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that holds other files.")
    ] = False,
) -> None:
    """Make every page of a report again from its results.json; nothing is graded.

    With --markdown, print the class for a comment, and write nothing.
    """
    from bn_reports.formats.markdown import class_comment  # noqa: PLC0415 (pages take their time)

    from bn_grading.classroom.folder import FolderError  # noqa: PLC0415
    from bn_grading.classroom.rebuild import rebuild  # noqa: PLC0415

    source = _source(path)
    results = _read(source)
    if markdown:
        print(class_comment(results), end="")
        return
    folder = out or source.parent
    elsewhere = folder.resolve() != source.parent.resolve() or source.name != RESULTS
    try:
        index = rebuild(results, folder, records=elsewhere, force=force)
    except FolderError as error:
        stop(str(error))
    except OSError as error:
        reason = f"{error.filename or folder} cannot be written: {error.strerror}"
        print(f"bnoracle: {reason}", file=sys.stderr)
        raise typer.Exit(GRADER_FAILED) from None
    Console().print(f"{index}", markup=False, highlight=False, soft_wrap=True)


def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The folder of the earlier report.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The folder of the later report.")],
    markdown: MarkdownOption = False,
) -> None:
    """Tell what got better and what broke from one run to another, by submission and property.

    The exit code is 0 where nothing got worse, 1 where a property broke, a status got graver or
    points were lost, and 2 where the runs cannot be read.
    """
    from bn_reports.formats.markdown import changes_comment  # noqa: PLC0415
    from bn_reports.terminal.changes import changes_report  # noqa: PLC0415
    from bn_reports.views.changes import changes  # noqa: PLC0415

    found = changes(_read(_source(old)), _read(_source(new)))
    if markdown:
        print(changes_comment(found), end="")
    else:
        Console().print(changes_report(found))
    if found.worse:
        raise typer.Exit(BROKE)


def _source(path: Path) -> Path:
    """Return the file of records that a path names."""
    return path / RESULTS if path.is_dir() else path


def _read(path: Path) -> Results:
    try:
        return read_results(path)
    except FileNotFoundError:
        stop(f"{path} is not there: a run into this folder has not come to its end, or none began")
    except OSError as error:
        stop(f"{path} cannot be read: {error.strerror}")
    except ValueError as error:
        stop(str(error))
