"""The pages: one self-contained HTML file a submission, and one for the class.

The pages need no network and no other file, and are complete without their scripts. Whatever a
student wrote is escaped by the templates, and its control characters are made visible before that.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

from bn_properties.records import Results, Status, SubmissionResult
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bn_reports.formats.atomic import write_atomically
from bn_reports.formats.results_csv import CSV, as_csv
from bn_reports.html.names import breakable
from bn_reports.html.scripts import script
from bn_reports.text import equations, numbers, words
from bn_reports.text.visible import visible
from bn_reports.views import class_overview, counterexamples, overview
from bn_reports.views.cause_groups import cause_groups
from bn_reports.views.hidden import for_author
from bn_reports.views.incidents import incidents
from bn_reports.views.matrix import matrix
from bn_reports.views.pass_rates import pass_rates

INDEX = "index.html"
"""The class page's file."""
PAGES = "submissions"
"""The folder of the submissions' pages, beside it."""
_UNSAFE = re.compile(r"[^a-z0-9]+")


def submission_page(submission: SubmissionResult, results: Results) -> str:
    """Return the page of `submission`: what holds, what fails, and on which smallest example.

    Of `results` it shows what was graded with, and of no other submission anything.
    """
    submission = for_author(submission)
    return (
        _environment()
        .get_template("submission.html.j2")
        .render(
            submission=submission,
            results=results,
            families=overview.families(submission),
            failures=overview.failures(submission),
            loose_ends=overview.loose_ends(submission),
        )
    )


def class_page(results: Results) -> str:
    """Return the page of the class: what to teach again, who has what, and what fails most."""
    return (
        _environment()
        .get_template("class.html.j2")
        .render(
            results=results,
            counts=overview.status_counts(results),
            submissions=overview.worst_first(results),
            groups=cause_groups(results),
            bins=class_overview.histogram(results),
            slow=class_overview.slow(results),
            incidents=incidents(results),
            rates=pass_rates(results),
            matrix=matrix(results),
            csv=CSV,
            page_path=page_path,
            script=script("class.js"),
        )
    )


def write_html(results: Results, folder: Path) -> Path:
    """Write the class page, its CSV and every submission's page into `folder`.

    Returns the class page. Raises `OSError` if something cannot be written.
    """
    for submission in results.submissions:
        page = submission_page(submission, results)
        write_atomically(folder / page_path(submission.id), page)
    write_atomically(folder / CSV, as_csv(results))
    index = folder / INDEX
    write_atomically(index, class_page(results))
    return index


def page_path(submission_id: str) -> str:
    """Return where a submission's page is, from the class page."""
    return f"{PAGES}/{page_name(submission_id)}"


def page_name(submission_id: str) -> str:
    """Return the file name of a submission's page: safe anywhere, and the same in every run.

    It starts with what can be kept of the id; a digest of the whole id tells `a/b` from `a-b`.
    """
    return f"{_safe_name(submission_id)}.html"


def _safe_name(name: str) -> str:
    """Return a distinct name of lower-case ASCII letters, digits and hyphens for every `name`."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    readable = _UNSAFE.sub("-", name.lower())[:40].strip("-")
    return "-".join(filter(None, (readable, digest)))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bn_reports.html"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "anchor": _safe_name,
        "breakable": breakable,
        "label": words.label,
        "points": numbers.points,
        "brief": numbers.brief,
        "mathml": equations.mathml,
        "calls": counterexamples.calls,
        "worst": counterexamples.worst,
    }
    environment.globals |= {
        "WRONG_SIGN": words.WRONG_SIGN,
        "MEANINGS": words.MEANINGS,
        "LEGEND": words.LEGEND,
        "Status": Status,
    }
    return environment


def _finalize(value: object) -> object:
    """Make control characters visible in everything that a template prints."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
