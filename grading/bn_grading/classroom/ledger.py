"""What a run leaves on disk: each record as it is ready, and all of them in the end.

Whenever a run ends, by Ctrl-C, SIGKILL or a full disk, what was graded is there, and the next run
takes it over.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from bn_properties.records import Results, SubmissionResult
from bn_reports.formats.results_csv import CSV, as_csv
from bn_reports.formats.results_json import as_text, read_results, read_submission
from bn_reports.html.pages import INDEX, PAGES, class_page, page_path, places, submission_page
from bn_reports.html.places import Place

from bn_grading.classroom.folder import ReportFolder

T = TypeVar("T")

RESULTS = "results.json"
_RECORDS = "results"
_EARLIER = ".bnoracle-earlier.json"
"""Records of earlier runs that this one has not replaced; no id's file is called so."""

_log = logging.getLogger(__name__)


class Ledger:
    """A report folder: results.json, results.csv, pages; results/<id>.json while a run lasts."""

    def __init__(self, folder: Path, ids: Sequence[str], *, force: bool = False) -> None:
        """Claim a folder for the report of submissions with these ids, and read what is there.

        Raises:
            FolderError: the folder is somebody else's; see `ReportFolder`.
            OSError: it cannot be written to.
        """
        self._names = {id_: f"{_RECORDS}/{name}" for id_, name in file_names(ids).items()}
        self._pages = {id_: page_path(id_) for id_ in ids}
        self._places = places(ids)
        files = {INDEX, RESULTS, CSV, _EARLIER, *self._names.values(), *self._pages.values()}
        self._folder = ReportFolder(folder, files, force=force)
        self._heading: Results | None = None
        self.earlier: Results | None = self._read(RESULTS, read_results)
        """The results of the run that was here before, if it came to its end."""
        earlier = self.earlier.submissions if self.earlier is not None else ()
        self._written: dict[str, Place] = places(each.id for each in earlier)
        """Between which others each page says that it stands."""
        self.records: dict[str, SubmissionResult] = self._records()
        """The newest record of each submission, from all earlier runs."""

    def _records(self) -> dict[str, SubmissionResult]:
        found: dict[str, SubmissionResult] = {}
        for each in filter(None, (self._read(_EARLIER, read_results), self.earlier)):
            found |= {record.id: record for record in each.submissions}
        for name in self._folder.own(_RECORDS):
            record = self._read(name, read_submission)
            if record is not None:
                found[record.id] = record
        return found

    def _read(self, name: str, read: Callable[[Path], T]) -> T | None:
        path = self._folder.path / name
        if not path.is_file():
            return None
        try:
            return read(path)
        except (OSError, ValueError) as error:
            _log.warning("what is in %s is graded again: %s", path, error)
            return None

    def begin(self, so_far: Results) -> None:
        """Start a run of which `so_far` holds what was taken over; the rest is pending.

        From here on results.json is not there, and the class page says that the run has not come to
        its end. No page is left of what is not (or not yet) in this run.

        Raises:
            OSError: the folder cannot be written to.
        """
        self._heading = so_far.model_copy(update={"submissions": (), "pending": (), "similar": ()})
        self._set_aside()
        kept = {self._pages[each.id]: each for each in so_far.submissions}
        for name in self._folder.own(PAGES):
            if name not in kept:
                self._folder.delete(name)
        for name, each in kept.items():
            same = self._written.get(each.id) == self._places[each.id]
            same = same and self.records.get(each.id) == each
            if not same or not (self._folder.path / name).is_file():
                self._write_page(each, self._places[each.id])
        self._write_class(so_far)

    def _set_aside(self) -> None:
        """Move the earlier results out of the way, whole."""
        path = self._folder.path
        if (path / RESULTS).is_file():
            if (path / _EARLIER).is_file():
                self._keep(self.records)
                self._folder.delete(RESULTS)
            else:
                self._folder.move(RESULTS, _EARLIER)

    def _keep(self, records: Mapping[str, SubmissionResult]) -> None:
        assert self._heading is not None, "a run begins before it keeps anything"
        kept = self._heading.model_copy(update={"submissions": tuple(records.values())})
        self._folder.write(_EARLIER, as_text(kept), durable=True)

    def enter(self, result: SubmissionResult) -> None:
        """Write one record down, and its page.

        Raises:
            OSError: they cannot be written.
        """
        assert self._heading is not None, "a run begins before it has a record"
        self._folder.write(self._names[result.id], as_text(result), durable=True)
        self._write_page(result, self._places[result.id])

    def _write_page(self, result: SubmissionResult, place: Place) -> None:
        assert self._heading is not None, "a run begins before it has a page"
        page = submission_page(result, self._heading, place)
        self._folder.write(self._pages[result.id], page)
        self._written[result.id] = place

    def close(self, results: Results) -> Path:
        """Write all records down in one file, and let those of their own go.

        Earlier records that none of these replaces are kept, for a run that asks as theirs did.

        Returns:
            The class page.

        Raises:
            OSError: something cannot be written; the records of their own stay.
        """
        self._folder.write(RESULTS, as_text(results), durable=True)
        graded = places(each.id for each in results.submissions)
        for each in results.submissions:
            if self._written[each.id] != graded[each.id]:
                self._write_page(each, graded[each.id])  # one beside it is not in this run
        self._write_class(results)
        replaced = {each.id for each in results.submissions}
        others = {id_: each for id_, each in self.records.items() if id_ not in replaced}
        if others:
            self._keep(others)
        else:
            self._folder.delete(_EARLIER)
        for name in self._folder.own(_RECORDS):
            self._folder.delete(name)
        return self._folder.path / INDEX

    def _write_class(self, results: Results) -> None:
        self._folder.write(CSV, as_csv(results))
        self._folder.write(INDEX, class_page(results))

    def release(self) -> None:
        """Let other runs write to the folder."""
        self._folder.release()


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
