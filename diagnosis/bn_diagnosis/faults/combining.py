"""Faults and steps that come together: in two parameters, in two modes, in both statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bn_oracle.arrays import Array

from bn_diagnosis.faults.common import blend
from bn_diagnosis.faults.fault import Fault, fault
from bn_diagnosis.formulas import Step, StepName, Trace, batch_var

Steps = Mapping[StepName, Step]


def both_of(
    first: Fault,
    second: Fault,
    identity: str,
    title: str,
    explanation: str,
    *,
    wrong: str | None = None,
) -> tuple[Fault, Fault, Fault]:
    """Return two faults, and the third that makes both mistakes at once."""
    both = fault(identity, {**first.replaces, **second.replaces})(
        title,
        wrong or rf"{first.wrong}, \quad {second.wrong}",
        explanation,
        right=rf"{first.right}, \quad {second.right}",
        anchor=first.anchor,
    )
    return first, second, both


def in_parameters(
    suffix: str,
    title: str,
    wrong: tuple[str, str],
    steps: tuple[Step, Step],
    explanations: tuple[str, str, str],
    *,
    together: str | None = None,
) -> tuple[Fault, Fault, Fault]:
    """Return three faults: dγ is `title`, dβ is, and both are (or, of both, `together`).

    The equations, the mistaken steps and the explanations are in this order.
    """
    for_gamma, for_beta, for_both = explanations
    gamma = fault(f"gamma-gradient-{suffix}", {"dgamma": steps[0]})
    beta = fault(f"beta-gradient-{suffix}", {"dbeta": steps[1]})
    return both_of(
        gamma(f"dγ is {title}", wrong[0], for_gamma),
        beta(f"dβ is {title}", wrong[1], for_beta),
        f"parameter-gradients-{suffix}",
        f"dγ and dβ are {together or title}",
        for_both,
    )


Denominator = Callable[[Array, float], Array]
"""What is divided by, of a variance and ε."""

_DENOMINATORS: Mapping[StepName, Callable[[Denominator], Step]] = {
    "s": lambda form: lambda t: form(t.var, t.eps),
    "infer_s": lambda form: lambda t: form(t.running_var, t.eps),
    "u": lambda form: lambda t: (t.z - t.mean) / form(t.var, t.eps),
}


def denominator(form: Denominator, *steps: StepName) -> Steps:
    """Return `form` as the denominator of some steps: of `s`, of `infer_s`, or of `u` alone."""
    return {step: _DENOMINATORS[step](form) for step in steps}


def in_modes(
    identity: str,
    title: str,
    form: Denominator,
    wrong: tuple[str, str],
    *,
    both: str,
    training: str,
    inference: str,
    killed_by: str | None = None,
    right: str | None = None,
) -> tuple[Fault, Fault, Fault]:
    """Return a mistaken denominator's three faults: in both modes, in training, at inference.

    `wrong` holds the equations of training and of inference, `killed_by` the property that rejects
    the mistake in training, `right` the right equation of inference; the texts are explanations.
    """
    train, infer = wrong
    return (
        fault(identity, denominator(form, "s", "infer_s"))(
            f"{title} in training and at inference", train, both, killed_by=killed_by
        ),
        fault(f"{identity}-in-training", denominator(form, "s"))(
            f"{title} in training", train, training, killed_by=killed_by
        ),
        fault(f"{identity}-at-inference", denominator(form, "infer_s"))(
            f"{title} at inference", infer, inference, right=right
        ),
    )


def averages(form: Callable[[Trace, Array, Array], object]) -> Steps:
    """Return `form`, of the old average and the batch's value, as both running statistics."""
    return {
        "next_mean": lambda t: form(t, t.running_mean, t.mean),
        "next_var": lambda t: form(t, t.running_var, batch_var(t)),
    }


def averages_of(rows: Callable[[Trace], Array]) -> Steps:
    """Return the averages of the mean and variance of other rows than the input's."""
    return {
        "next_mean": lambda t: blend(t, t.running_mean, rows(t).mean(axis=0)),
        "next_var": lambda t: blend(t, t.running_var, rows(t).var(axis=0)),
    }
