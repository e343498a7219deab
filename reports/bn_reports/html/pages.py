"""The pages: one self-contained HTML file a submission, and one for the class.

The pages need no network and no other file, and are complete without their few lines of script.
Whatever a student wrote is escaped by the templates, and its control characters are made visible
before that; the policy in each page lets nothing run but the style and script of this package.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from bn_properties.records import Results, Status, SubmissionResult
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bn_reports.formats.atomic import write_atomically
from bn_reports.formats.results_csv import CSV, as_csv
from bn_reports.html.names import breakable
from bn_reports.html.places import PAGES, Place, page_name, page_path, places
from bn_reports.text import equations, numbers, words
from bn_reports.text.visible import visible
from bn_reports.views import class_overview, failing, losses, meter, outcomes, overview
from bn_reports.views.arrays import TABLES
from bn_reports.views.cause_groups import cause_groups
from bn_reports.views.hidden import for_author
from bn_reports.views.incidents import incidents
from bn_reports.views.legend import legend
from bn_reports.views.matrix import Matrix, matrix
from bn_reports.views.pass_rates import pass_rates

__all__ = [
    "INDEX", "PAGES", "class_page", "page_name", "page_path", "places", "submission_page",
    "write_html",
]  # fmt: skip

INDEX = "index.html"
"""The class page's file."""
_UNSAFE = re.compile(r"[^a-z0-9]+")


def submission_page(
    submission: SubmissionResult, results: Results, place: Place | None = None
) -> str:
    """Return the page of `submission`: what is wrong, why, and on which smallest example.

    Of `results` it shows what was graded with, and of no other submission anything; with a `place`
    it links to the class page and to its neighbours there.
    """
    submission = for_author(submission)
    prefixes = dict.fromkeys(each.id.rpartition("/")[0] for each in submission.properties)
    return (
        _environment()
        .get_template("submission.html.j2")
        .render(
            styles=("style.css", "submission.css"),
            scripts=("copy.js",),
            submission=submission,
            results=results,
            place=place,
            index=INDEX,
            failures=failing.failing(submission),
            losses=losses.losses(submission),
            legend=lambda cause: legend(cause, submission),
            outcomes=outcomes.outcomes(submission),
            meters=[
                (prefix, found)
                for prefix in prefixes
                if (found := meter.readings(submission.properties, f"{prefix}/" if prefix else ""))
            ],
            loose_ends=overview.loose_ends(submission),
        )
    )


def class_page(results: Results) -> str:
    """Return the page of the class: what to teach again, who has what, and what fails most."""
    found = matrix(results)
    return (
        _environment()
        .get_template("class.html.j2")
        .render(
            styles=("style.css", "class.css", _widths(found)),
            scripts=("class.js",),
            results=results,
            counts=overview.status_counts(results),
            submissions=overview.worst_first(results),
            groups=cause_groups(results),
            bins=class_overview.histogram(results),
            slow=class_overview.slow(results),
            large=class_overview.large(results),
            incidents=incidents(results),
            rates=pass_rates(results),
            matrix=found,
            csv=CSV,
            page_path=page_path,
        )
    )


def _widths(found: Matrix) -> Markup:
    """Return the style of the matrix's columns: a family is as wide as it has properties."""
    sizes = sorted({len(each.ids) for each in found.columns})
    return Markup("").join(
        Markup("th .w{0}{{width:calc(var(--cell)*{0})}}").format(size) for size in sizes
    )


def influence_diagram(*, backward: bool) -> Markup:
    """Return how a batch makes batch norm's output, or how gradients go back, as a figure.

    Its style is the reader's: it has the classes `diagram`, `node`, `edge`, `tip` and `aside`.
    """
    figures: Any = _environment().get_template("figures.html.j2").module
    key = "backward" if backward else "forward"
    return Markup(figures.influence(frozenset(), backward, {}, key))  # ours


def write_html(results: Results, folder: Path) -> Path:
    """Write the class page, its CSV and every submission's page into `folder`.

    Returns the class page. Raises `OSError` if something cannot be written.
    """
    stand = places(each.id for each in results.submissions)
    for submission in results.submissions:
        page = submission_page(submission, results, stand[submission.id])
        write_atomically(folder / page_path(submission.id), page)
    write_atomically(folder / CSV, as_csv(results))
    index = folder / INDEX
    write_atomically(index, class_page(results))
    return index


def _anchor(name: str) -> str:
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
        "anchor": _anchor,
        "breakable": breakable,
        "label": words.label,
        "points": numbers.points,
        "brief": numbers.brief,
        "ratio": numbers.ratio,
        "raised": numbers.raised,
        "mathml": equations.mathml,
        "plain": equations.plain,
        "own": _own,
        "policy": _policy,
    }
    environment.globals |= {
        "WRONG_SIGN": words.WRONG_SIGN,
        "MEANINGS": words.MEANINGS,
        "LEGEND": words.LEGEND,
        "Status": Status,
        "LEAST": meter.LEAST,
        "MOST": meter.MOST,
        "TABLES": TABLES,
    }
    return environment


def _own(name: str) -> Markup:
    """Return a style or a script of this package as it stands, which is markup of ours; and what is
    markup already.
    """
    if isinstance(name, Markup):
        return name
    loader = _environment().loader
    assert loader is not None, "the environment is made with one"
    return Markup(loader.get_source(_environment(), name)[0])


def _policy(names: tuple[str, ...]) -> Markup:
    """Return the sources that a policy allows: the very texts of these files, or nothing."""
    digests = (hashlib.sha256(str(_own(name)).encode()).digest() for name in names)
    sources = [f"'sha256-{base64.b64encode(each).decode()}'" for each in digests]
    return Markup(" ".join(sources) or "'none'")


def _finalize(value: object) -> object:
    """Make control characters visible in everything that a template prints."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
