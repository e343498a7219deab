"""`results.json`: the records of a run, written whole and read back bit for bit."""

from __future__ import annotations

from pathlib import Path

from bn_properties.records import Results, SubmissionResult
from pydantic import ValidationError

from bn_reports.formats.atomic import write_atomically


def write_results(results: Results, path: Path) -> None:
    """Write `results` to `path` as indented JSON. Raises `OSError` if that fails."""
    write_atomically(path, results.model_dump_json(indent=2) + "\n")


def write_submission(submission: SubmissionResult, path: Path) -> None:
    """Write one submission to `path` as indented JSON. Raises `OSError` if that fails."""
    write_atomically(path, submission.model_dump_json(indent=2) + "\n")


def read_results(path: Path) -> Results:
    """Read the results in `path`.

    Raises `ValueError`, naming the file and the field, if the content is not what
    `write_results` writes; `OSError` if there is no reading it.
    """
    try:
        return Results.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "content"
        raise ValueError(f"{path}: {field}: {first['msg']}") from error
