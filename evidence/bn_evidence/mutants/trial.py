"""Grade a mutant as the grader would, but only until something rejects it."""

from __future__ import annotations

import hashlib

from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import Course, Part
from bn_grading.intake.submissions import Submission, graded_file, parts_for
from bn_grading.subject.remote import RemoteSubject, RemoteSubmission, Unusable
from bn_properties.cases.case import Case
from bn_properties.catalogue import PROPERTIES
from bn_properties.checking import Transcript, asked_about, try_case
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
    sent = submission(source, name)
    parts = parts_for(sent, course)
    file = graded_file(sent, course)
    with RemoteSubmission(sent, file, course, parts, bank.work) as remote:
        try:
            present = remote.start()
        except Unusable:
            return "unusable"
        under_test = [
            _PartUnderTest(part, remote, course, bank) for part in parts if part.id in present
        ]
        # A few cases of every property first: most mutants show at once.
        for few in (slice(0, 8), slice(8, None)):
            for each in under_test:
                found = each.rejecting(few)
                if found:
                    return found if each.part is parts[0] else f"{each.part.id}/{found}"
    return ""


class _PartUnderTest:
    """One part of a submission, observed as far as it was asked."""

    def __init__(
        self, part: Part, remote: RemoteSubmission, course: Course, bank: CaseBank
    ) -> None:
        self.part = part
        self._seen = Transcript(RemoteSubject(remote, part, course.convention))
        self._answers = bank.answers(course.convention)
        self._cases = bank.cases(part.spatial_axes)

    def rejecting(self, few: slice) -> str:
        """Return the first property that fails on some of its cases."""
        for prop in ORDER:
            if not self.part.asks(prop):
                continue
            cases = list(asked_about(prop, self._cases, self._answers.convention))
            if any(self._fails(prop, case) for case in cases[few]):
                return prop.id
        return ""

    def _fails(self, prop: Property, case: Case) -> bool:
        """Try one property on one case; what is optional and missing does not count."""
        failing, _ = try_case(prop, case, self._seen, self._answers)
        if failing is None:
            return False
        missing = failing.error is not None and failing.error.failure == "not_implemented"
        return self.part.required or not missing
