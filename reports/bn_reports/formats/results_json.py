"""`results.json`: the records of a run, written without repeats and read back bit for bit."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from bn_properties.records import SCHEMA_VERSION, Common, PropertyResult, Results, SubmissionResult
from pydantic import BaseModel, ValidationError

from bn_reports.formats.atomic import write_atomically


class _Versioned(BaseModel):
    """The one field that every version has."""

    schema_version: int


def as_text(record: Results | SubmissionResult) -> str:
    """Return a run, or one submission of it, as JSON: what has its default value is left out.

    Of a run, each submission is a line, and what their results have in common stands once.
    """
    if isinstance(record, SubmissionResult):
        return record.model_dump_json(exclude_defaults=True) + "\n"
    plain = record.model_dump(mode="json", exclude_defaults=True)
    common = _common(record)
    for each, of_plain in zip(record.submissions, plain["submissions"], strict=True):
        for result, row in zip(each.properties, of_plain.get("properties", ()), strict=True):
            shared = common[result.id]
            for name, value in _shared(result).items():
                row.pop(name, None)
                if value != shared[name]:
                    row[name] = value
    submissions = ",\n".join(map(_compact, plain.pop("submissions")))
    told = {
        id_: Common.model_validate(each).model_dump(mode="json", exclude_defaults=True)
        for id_, each in common.items()
    }
    head = _compact({"schema_version": record.schema_version, **plain, "common": told})
    return f'{head[:-1]},"submissions":[\n{submissions}\n]}}\n'


def _common(results: Results) -> dict[str, dict[str, Any]]:
    """Return what is said most often of each property, field by field."""
    seen: dict[str, dict[str, Counter[Any]]] = {}
    for submission in results.submissions:
        for result in submission.properties:
            counts = seen.setdefault(result.id, defaultdict(Counter))
            for name, value in _shared(result).items():
                counts[name][value] += 1
    return {
        id_: {name: count.most_common(1)[0][0] for name, count in counts.items()}
        for id_, counts in seen.items()
    }


def _shared(result: PropertyResult) -> dict[str, Any]:
    return result.model_dump(mode="json", include=set(Common.model_fields))


def _compact(plain: object) -> str:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def write_results(results: Results, path: Path) -> None:
    """Write `results` to `path`. Raises `OSError` if that fails."""
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
