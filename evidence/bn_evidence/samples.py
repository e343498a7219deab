"""Sample reports: a small class with five typical mistakes, graded for people to look at.

PYTHONPATH=evidence python -m bn_evidence.samples docs/samples
"""

from __future__ import annotations

import sys
from pathlib import Path

from bn_grading.case_bank import CaseBank
from bn_grading.classroom.class_run import grade_class
from bn_grading.classroom.ledger import Ledger
from bn_grading.classroom.plan import Plan
from bn_grading.classroom.schedule import Watch
from bn_grading.courses.model import built_in
from bn_grading.intake.paths import collect
from bn_grading.subject.isolation import Level

FIXTURES = Path(__file__).parents[2] / "fixtures"
MISTAKES = (
    "buggy/cmu_root_plus_eps.py",
    "buggy/cmu_mean_route_missing.py",
    "buggy/cmu_running_variance_over_b_minus_1.py",
    "buggy/cs231n_momentum_swapped.py",
    "buggy/cs231n_spatial_reshape.py",
)
RIGHT = "correct/cmu_handout.py"


def write(folder: Path) -> Path:
    """Grade the samples into a report folder; return its class page.

    Raises:
        FolderError: the folder is somebody else's.
        OSError: it cannot be written to.
    """
    submissions = collect([str(FIXTURES / name) for name in (*MISTAKES, RIGHT)]).submissions
    # They are our own: what keeps strangers' files apart is not needed.
    plan = Plan(submissions, None, tuple(built_in().values()), CaseBank(), 2, (Level.NONE,))
    ledger = Ledger(folder, [each.id for each in submissions])
    return grade_class(plan, ledger, Watch()).index


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
