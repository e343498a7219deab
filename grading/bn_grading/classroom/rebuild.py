"""A report made again from its records: every page and the CSV, on any machine, grading nothing."""

from __future__ import annotations

from pathlib import Path

from bn_properties.records import Results
from bn_reports.formats.results_csv import CSV, as_csv
from bn_reports.formats.results_json import as_text
from bn_reports.html.pages import INDEX, PAGES, class_page, page_path, places, submission_page

from bn_grading.classroom.folder import ReportFolder
from bn_grading.classroom.ledger import RESULTS


def rebuild(results: Results, folder: Path, *, records: bool, force: bool = False) -> Path:
    """Write the report of `results` into `folder`; return the class page.

    Args:
        results: the records.
        folder: where it goes; pages that an earlier report has there of others are deleted.
        records: whether to write results.json, too: it is there where the records come from.
        force: whether the folder may hold what is not this program's.

    Raises:
        FolderError: the folder is somebody else's; see `ReportFolder`.
        OSError: it cannot be written to.
    """
    pages = {page_path(each.id): each for each in results.submissions}
    files = {INDEX, CSV, *pages, *([RESULTS] if records else [])}
    report = ReportFolder(folder, files, force=force)
    try:
        if records:
            report.write(RESULTS, as_text(results), durable=True)
        for name in report.own(PAGES):
            if name not in pages:
                report.delete(name)
        stand = places(each.id for each in results.submissions)
        for name, each in pages.items():
            report.write(name, submission_page(each, results, stand[each.id]))
        report.write(CSV, as_csv(results))
        report.write(INDEX, class_page(results))
    finally:
        report.release()
    return folder / INDEX
