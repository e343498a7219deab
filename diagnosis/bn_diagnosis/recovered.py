"""What a submission computes, where no known mistake explains all of it: formula by formula.

Each wrong observable is explained by itself: by a known mistake that gives it, or by the formula
that is recovered. What is found is put together, taken through everything that was observed, and
told only where it holds there, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.conventions import Convention
from bn_properties.protocol import AnyArray, Quantity
from bn_properties.records import Cause
from bn_properties.scenario import Response, Scenario

from bn_diagnosis.candidates import BatchNorm, Candidate, Candidates
from bn_diagnosis.faults.fault import Fault
from bn_diagnosis.faults.statements import family_of
from bn_diagnosis.formulas import Step, StepName, Trace
from bn_diagnosis.locating import Assigned, Line, Locator
from bn_diagnosis.matching import Observation
from bn_diagnosis.recovery.evidence import Evidence
from bn_diagnosis.recovery.forms import Observable
from bn_diagnosis.recovery.formula import Formula, Recovered
from bn_diagnosis.recovery.recover import Recovery
from bn_diagnosis.recovery.tables import close
from bn_diagnosis.recovery.telling import OBSERVABLES, told

Ask = Callable[[Scenario], tuple[Response[AnyArray], ...]]
Follow = Callable[[Scenario], Sequence[Assigned]]
"""Takes a scenario to what each line of a file computed in it."""

ENOUGH = 0.95
"""How much of what was observed of the explained observables must be as the formulas give it.

The rest is shown as not explained: a formula may be left where numbers are extreme.
"""

_STEPS: Mapping[Observable, StepName] = {
    "out": "y",
    "inferred": "infer",
    "running_mean": "next_mean",
    "running_var": "next_var",
    "dgamma": "dgamma",
    "dbeta": "dbeta",
    "dz": "dz",
    "inferred_dgamma": "infer_dgamma",
    "inferred_dbeta": "infer_dbeta",
    "inferred_dz": "infer_dz",
}
_KINDS: Mapping[Observable, tuple[bool, Quantity]] = {
    "out": (False, "out"),
    "inferred": (True, "out"),
    "running_mean": (False, "running_mean"),
    "running_var": (False, "running_var"),
    "dgamma": (False, "dgamma"),
    "dbeta": (False, "dbeta"),
    "dz": (False, "dz"),
    "inferred_dgamma": (True, "dgamma"),
    "inferred_dbeta": (True, "dbeta"),
    "inferred_dz": (True, "dz"),
}
"""Whether each is of inference, and its quantity."""
_REJECTED_BY: Mapping[Observable, str] = {
    "out": "training.agreement",
    "inferred": "inference.affine_fold",
    "running_mean": "running.mean_recurrence",
    "running_var": "running.variance_recurrence",
    "dgamma": "backward.gamma_gradient",
    "dbeta": "backward.beta_gradient",
    "dz": "backward.input_gradient",
    "inferred_dgamma": "inference.gradient",
    "inferred_dbeta": "inference.gradient",
    "inferred_dz": "inference.gradient",
}


def _seen(evidence: Evidence, ask: Ask) -> dict[Observable, Array]:
    trained = tuple(ask(each) for each in evidence.training)
    inferred = tuple(ask(each) for each in evidence.inference)
    return evidence.observed(trained, inferred)


def _symbols(t: Trace) -> dict[str, Array]:
    """Return what a formula's symbols are in a layer's step."""
    count, shape = t.n, t.x.shape
    scalars: dict[str, float] = {
        "eps": t.eps,
        "keep": t.decay,
        "n": count,
        "less_one": count - 1,
        "features": t.z.shape[1],
        "images": shape[0],
        "area": count // shape[0],
        "height": shape[-2] if len(shape) > 3 else 1,
        "width": shape[-1] if len(shape) > 2 else 1,
    }
    vectors = {
        "gamma": t.gamma,
        "beta": t.beta,
        "old_mean": t.running_mean,
        "old_var": t.running_var,
    }
    found: dict[str, Array] = {name: np.full((1, 1), float(v)) for name, v in scalars.items()}
    found |= {name: np.asarray(v, np.float64).reshape(1, -1) for name, v in vectors.items()}
    return found | {"z": t.z} | ({"g": t.g} if t.g.shape == t.z.shape else {})


def step(formula: Formula) -> Step:
    """Return the step of a layer that computes an observable by a formula."""
    of_rows = formula.observable in ("out", "dz", "inferred", "inferred_dz")

    def take(t: Trace) -> Array:
        try:
            value = formula.value(_symbols(t))
        except KeyError as error:
            raise ValueError(f"nothing is known of {error}") from error
        return value if of_rows else value.reshape(-1)

    return take


class RecoveredCandidate(Candidate):
    """Slips, and what follows from them: a layer that computes all of it."""

    def __init__(
        self,
        roots: tuple[Fault, ...],
        following: tuple[Fault, ...],
        batch_norm: BatchNorm,
        unexplained: tuple[Observable, ...] = (),
    ) -> None:
        """Put all steps in place; only the `roots` are told, and what stays `unexplained`."""
        super().__init__((*roots, *following), batch_norm, None)
        self.faults, self._unexplained = roots, unexplained

    @property
    def own(self) -> frozenset[str]:
        """The properties that a slip of its own, or what is not explained, fails."""
        slips = {fault.killed_by for fault in self.faults}
        return frozenset(slips | {_REJECTED_BY[each] for each in self._unexplained})

    def told(self, explained: int, observed: int) -> Cause:
        """Return what is told of it."""
        cause = self.cause(observed)
        text = cause.explanation
        if self._unexplained:
            names = ", ".join(OBSERVABLES[each] for each in self._unexplained)
            text += f" What else is wrong with {names} is not explained by it."
        return cause.model_copy(update={"explained": explained, "explanation": text})


class Formulas:
    """Recovers formulas under one convention, for inputs of some axes."""

    def __init__(self, convention: Convention, spatial_axes: int, candidates: Candidates) -> None:
        """Prepare; tables are made when they are first needed."""
        self._convention, self._spatial_axes = convention, spatial_axes
        self._candidates = candidates
        self._recoveries: dict[bool, Recovery] = {}
        self._latest: tuple[dict[Observable, Array], Recovered] | None = None
        """The formulas of the latest submission: its lines are looked for with them."""

    def recovery(self, *, inference_gradient: bool) -> Recovery:
        """Return the tables for a kind of interface."""
        if inference_gradient not in self._recoveries:
            evidence = Evidence(self._spatial_axes, inference_gradient)
            self._recoveries[inference_gradient] = Recovery(self._convention, evidence)
        return self._recoveries[inference_gradient]

    def explaining(
        self, observed: Sequence[Observation], ask: Ask
    ) -> tuple[RecoveredCandidate, Cause] | None:
        """Return what explains the wrong observables of a submission, and how it is told.

        None where nothing near batch norm gives them, or where it does not hold of all that was
        observed.
        """
        recovery = self._recovery_for(one.scenario for one in observed)
        seen = _seen(recovery.evidence, ask)
        formulas = recovery.recover(seen)
        self._latest = seen, formulas
        if not formulas:
            return None
        roots, following = self._faults(recovery, seen, formulas)
        if not roots:
            return None
        unexplained = tuple(name for name, each in formulas.items() if each is None)
        given = frozenset(step for fault in roots for step in fault.replaces)
        left = tuple(each for each in unexplained if _STEPS[each] not in given)
        found = RecoveredCandidate(roots, following, self._candidates.batch_norm, left)
        return self._held(found, observed)

    def _recovery_for(self, scenarios: Iterable[Scenario]) -> Recovery:
        names = {
            operation.name
            for one in scenarios
            for operations in one.operations
            for operation in operations
        }
        return self.recovery(inference_gradient="infer_backward" in names)

    def lines(
        self, scenarios: Iterable[Scenario], ask: Ask, follow: Follow, source: str
    ) -> tuple[Line, ...]:
        """Return the lines of a file in which the formulas of a submission go wrong.

        `scenarios` are what it was asked.
        """
        recovery = self._recovery_for(scenarios)
        evidence = recovery.evidence
        seen = _seen(evidence, ask)
        # Where a known mistake explains all, only what is found at once is looked at.
        formulas = self._kept(seen) or recovery.recover(seen, slips=1)
        symbols = {name: value[:1] for name, value in evidence.symbols.items()}
        locator = Locator(self._convention, symbols)
        trained, inferred = follow(evidence.training[0]), follow(evidence.inference[0])
        found = (
            locator.line(each, inferred if name.startswith("inferred") else trained, source)
            for name, each in formulas.items()
            if each is not None and each.edits
        )
        return tuple(dict.fromkeys(each for each in found if each is not None))

    def _kept(self, seen: Mapping[Observable, Array]) -> Recovered | None:
        before, formulas = self._latest or ({}, {})
        same = before.keys() == seen.keys() and all(
            np.array_equal(before[name], value, equal_nan=True) for name, value in seen.items()
        )
        return formulas if same else None

    def _faults(
        self, recovery: Recovery, seen: Mapping[Observable, Array], formulas: Recovered
    ) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
        """Return the faults that are told, and those that only follow from them."""
        named = _Named(recovery, self._candidates.single)
        roots, following = list[Fault](), list[Fault]()
        left = dict(formulas)
        for fault, gives in named.covering(seen, left):
            roots.append(fault)
            left = {name: each for name, each in left.items() if name not in gives}
        for formula in left.values():
            if formula is None:
                continue
            own = bool(formula.edits) or formula.instead_of is not None
            (roots if own else following).append(_fault(formula, self._convention))
        return tuple(roots), tuple(following)

    @staticmethod
    def _held(
        found: RecoveredCandidate, observed: Sequence[Observation]
    ) -> tuple[RecoveredCandidate, Cause] | None:
        """Return the candidate where what it explains holds throughout."""
        explained = total = agreeing = concerned = 0
        steps = set(found.replaced)
        kinds = {_KINDS[name] for name, taken in _STEPS.items() if taken in steps}
        for one in observed:
            responses = found.responses(one.scenario, keep=False)
            for place in one.places:
                number, quantity = place
                inference = one.scenario.operations[number][0].name == "infer"
                agrees = one.agrees(place, responses)
                total += 1
                explained += agrees
                if (inference, quantity) in kinds:
                    concerned += 1
                    agreeing += agrees
        if not concerned or agreeing < ENOUGH * concerned:
            return None
        return found, found.told(explained, total)


def _fault(formula: Formula, convention: Convention) -> Fault:
    """Return a recovered formula as a fault."""
    observable = formula.observable
    replaces = {_STEPS[observable]: step(formula)}
    rejected_by = _REJECTED_BY[observable]
    name = observable.replace("_", "-")
    if not formula.edits and formula.instead_of is None:
        return Fault(name, replaces, "", "", "", "", family_of(rejected_by), "", rejected_by)
    slip = told(formula, convention)
    text = (
        f"This is the formula that gives {OBSERVABLES[observable]} as your code does, found from "
        "its numbers; the place that differs is marked."
    )
    return Fault(
        f"{name}-{slip.rule}",
        replaces,
        slip.title,
        slip.wrong,
        slip.right,
        text,
        family_of(rejected_by),
        f"real-{family_of(rejected_by)}",
        rejected_by,
    )


class _Named:
    """What the known mistakes give on the evidence, an observable at a time."""

    def __init__(self, recovery: Recovery, single: Sequence[Candidate]) -> None:
        self._recovery, self._single = recovery, single

    @cached_property
    def _given(self) -> dict[Candidate, dict[Observable, Array]]:
        """For each mistake, the observables that it spoils, and what it makes of them."""
        evidence, found = self._recovery.evidence, dict[Candidate, dict[Observable, Array]]()
        for each in self._single:
            with np.errstate(all="ignore"):
                trained = tuple(each.responses(one, keep=True) for one in evidence.training)
                inferred = tuple(each.responses(one, keep=True) for one in evidence.inference)
                try:
                    values = evidence.observed(trained, inferred)
                except ValueError:
                    continue
            found[each] = {
                name: value
                for name, value in values.items()
                if value.shape == evidence.shape(name)
                and not close(value, self._recovery.right(name))
            }
        return found

    def covering(
        self, seen: Mapping[Observable, Array], wrong: Recovered
    ) -> list[tuple[Fault, frozenset[Observable]]]:
        """Return known mistakes that give wrong observables, each all that it spoils.

        Those that give the most come first; none gives what another one gives.
        """
        fitting = [
            (each.faults[0], frozenset(given))
            for each, given in self._given.items()
            if given
            and given.keys() <= wrong.keys()
            and all(close(seen[name], value) for name, value in given.items())
        ]
        fitting.sort(key=lambda pair: -len(pair[1]))
        found = list[tuple[Fault, frozenset[Observable]]]()
        covered, steps = set[Observable](), set[str]()
        for fault, given in fitting:
            if given & covered or fault.replaces.keys() & steps:
                continue
            found.append((fault, given))
            covered |= given
            steps |= fault.replaces.keys()
        return found
