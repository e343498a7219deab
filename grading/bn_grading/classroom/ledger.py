"""What a run leaves on disk: each record as it is ready, and all of them in the end."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from bn_properties.records import Results, SubmissionResult
from bn_reports.formats.results_json import write_results, write_submission


class Ledger:
    """A folder with results.json; while a run lasts, with results/<id>.json for each submission."""

    def __init__(self, folder: Path, ids: Sequence[str]) -> None:
        """Make room for the records of submissions with these ids.

        What an earlier run wrote goes: a record of then must not pass for one of now.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder = folder
        self._names = file_names(ids)
        (folder / "results").mkdir(parents=True, exist_ok=True)
        (folder / "results.json").unlink(missing_ok=True)
        for below, ending in (("results", ".json"), ("submissions", ".html")):
            for path in (folder / below).glob(f"*{ending}"):
                path.unlink()

    def enter(self, result: SubmissionResult) -> None:
        """Write one record down."""
        write_submission(result, self._folder / "results" / self._names[result.id])

    def close(self, results: Results) -> None:
        """Write all records down in one file, and let those of their own go."""
        write_results(results, self._folder / "results.json")
        for name in self._names.values():
            (self._folder / "results" / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # there may be something else in it
            (self._folder / "results").rmdir()


def file_names(ids: Sequence[str]) -> dict[str, str]:
    """Return a safe and distinct file name for each id; a plain id keeps its name."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for id_ in ids:
        name = re.sub(r"[^\w.-]", "_", id_, flags=re.ASCII).lstrip(".") or "_"
        if name != id_ or name.casefold() in taken or len(name) > 100:
            name = f"{name[:100]}-{hashlib.sha256(id_.encode('utf-8', 'replace')).hexdigest()[:12]}"
        taken.add(name.casefold())
        names[id_] = f"{name}.json"
    return names
