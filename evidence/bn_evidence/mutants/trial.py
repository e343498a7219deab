"""Grade a mutant as the grader would, but only until something rejects it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from bn_grading.case_bank import CaseBank
from bn_grading.courses.matching import match
from bn_grading.courses.model import Course, Part
from bn_grading.examination import Examination
from bn_grading.intake.submission import Submission
from bn_grading.part_examination import PartExamination
from bn_grading.subject.session import CannotLoad
from bn_properties.cases.case import Case
from bn_properties.catalogue import PROPERTIES
from bn_properties.checking import asked_about, try_case
from bn_properties.property import Property

FIRST = (
    "training.agreement",
    "backward.input_gradient",
    "backward.gamma_gradient",
    "backward.beta_gradient",
    "inference.affine_fold",
    "running.any_order",
    "running.mean_recurrence",
    "running.variance_recurrence",
    "running.initial_values",
)
"""The properties that reject most: they go first, because one rejection is enough."""

ORDER: tuple[Property, ...] = tuple(
    sorted(PROPERTIES, key=lambda each: FIRST.index(each.id) if each.id in FIRST else len(FIRST))
)


def submission(source: str, name: str) -> Submission:
    """Return a source that stands in no file as a submission."""
    sha = hashlib.sha256(source.encode()).hexdigest()
    return Submission(name, f"{name}.py", {f"{name}.py": source}, sha)


def rejection(source: str, name: str, course: Course, bank: CaseBank) -> str:
    """Return what keeps a source from being *correct*: a property, or `unusable`; empty if nothing.

    The cases are the bank's and the properties all of them, so this is empty just when the grader
    finds the source correct.
    """
    found = match(submission(source, name), course, [course])
    try:
        with Examination(found, bank) as examination:
            parts = [
                _PartUnderTest(part, examination.part(part, at_once=False))
                for part in examination.parts
            ]
            # A few cases of every property first: most mutants show at once.
            for few in (slice(0, 8), slice(8, None)):
                for each in parts:
                    rejected = each.rejecting(few)
                    if rejected:
                        main = each.part is examination.main
                        return rejected if main else f"{each.part.id}/{rejected}"
    except CannotLoad:
        return "unusable"
    return ""


@dataclass(frozen=True)
class _PartUnderTest:
    """One part of a submission, observed as far as it was asked."""

    part: Part
    examination: PartExamination

    def rejecting(self, few: slice) -> str:
        """Return the first property that fails on some of its cases."""
        for prop in ORDER:
            if not self.part.asks(prop):
                continue
            convention = self.examination.oracle.convention
            cases = list(asked_about(prop, self.examination.cases, convention))
            if any(self._fails(prop, case) for case in cases[few]):
                return prop.id
        return ""

    def _fails(self, prop: Property, case: Case) -> bool:
        """Try one property on one case; what is optional and missing does not count."""
        failing, _ = try_case(prop, case, self.examination.transcript, self.examination.oracle)
        if failing is None:
            return False
        missing = failing.error is not None and failing.error.failure == "not_implemented"
        return self.part.required or not missing
