"""`results.json`: the records of a run, written whole and read back bit for bit."""

from __future__ import annotations

from pathlib import Path

from bn_properties.records import SCHEMA_VERSION, Results, SubmissionResult
from pydantic import BaseModel, ValidationError

from bn_reports.formats.atomic import write_atomically


class _Versioned(BaseModel):
    """The one field that every version has."""

    schema_version: int


def as_text(record: Results | SubmissionResult) -> str:
    """Return a run, or one submission of it, as indented JSON."""
    return record.model_dump_json(indent=2) + "\n"


def write_results(results: Results, path: Path) -> None:
    """Write `results` to `path` as indented JSON. Raises `OSError` if that fails."""
    write_atomically(path, as_text(results))


def read_submission(path: Path) -> SubmissionResult:
    """Read one submission's record.

    Raises `ValueError` if the content is none; `OSError` if there is no reading it.
    """
    return SubmissionResult.model_validate_json(path.read_bytes())


def read_results(path: Path) -> Results:
    """Read the results in `path`.

    Raises `ValueError`, naming the file and the field, if the content is not what
    `write_results` writes, or an older or newer bnoracle's; `OSError` if there is no reading it.
    """
    content = path.read_bytes()
    try:
        version = _Versioned.model_validate_json(content).schema_version
    except ValidationError:
        version = SCHEMA_VERSION  # what else is wrong with it is told below
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: it has schema_version {version}, and this bnoracle reads {SCHEMA_VERSION}: "
            f"{'an older' if version < SCHEMA_VERSION else 'a newer'} one wrote it"
        )
    try:
        return Results.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "content"
        raise ValueError(f"{path}: {field}: {first['msg']}") from error
