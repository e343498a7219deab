"""How a recovered formula is told: what the slip is, the formula, and the right one beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bn_oracle.conventions import Convention

from bn_diagnosis.recovery.edits import FIXED_EPS, REST, Edit
from bn_diagnosis.recovery.forms import LEFT, NAMES, RESULT, Observable, Program, forms
from bn_diagnosis.recovery.formula import Formula
from bn_diagnosis.recovery.printing import latex
from bn_diagnosis.recovery.trees import (
    ONE,
    ZERO,
    Number,
    Path,
    Power,
    Product,
    Reduction,
    Sum,
    Symbol,
    Tree,
    as_far_as,
    symbol,
    walk,
)

WORDS: Mapping[str, str] = {
    "mean": "the batch mean",
    "centred": "z − μ",
    "var": "the batch variance",
    "s": "the denominator √(σ²+ε)",
    "u": "the normalised values",
    "du": "∂Div/∂u",
    "dvar": "∂Div/∂σ²",
    "dmean": "∂Div/∂μ",
    "inverse": "1/√(σ²+ε)",
    "dcentred": "∂Div/∂(z−μ)",
    "out": "the output",
    "dgamma": "dγ",
    "dbeta": "dβ",
    "dsqrt": "∂Div/∂√(σ²+ε)",
    "dinverse": "∂Div/∂(1/√(σ²+ε))",
    "dsquares": "∂Div/∂(z−μ)²",
    "scale": "the folded scale",
    "offset": "the folded offset",
    "moment": "the second moment",
    "z": "z",
    "g": "G",
    "gamma": "γ",
    "beta": "β",
    "eps": "ε",
    "n": "B",
    "less_one": "B − 1",
    "features": "the number of features",
    "images": "the number of images",
    "area": "the number of pixels",
    "keep": "the weight of the old average",
    "old_mean": "the running mean",
    "old_var": "the running variance",
    "new_mean": "the new running mean",
    "new_var": "the new running variance",
    "last_mean": "the mean of the batch trained on last",
    "last_var": "the variance of the batch trained on last",
}
"""What each quantity is called in a sentence."""

OBSERVABLES: Mapping[Observable, str] = {
    "out": "the training output",
    "inferred": "the inference output",
    "running_mean": "the running mean",
    "running_var": "the running variance",
    "dgamma": "dγ",
    "dbeta": "dβ",
    "dz": "dz",
    "inferred_dgamma": "dγ at inference",
    "inferred_dbeta": "dβ at inference",
    "inferred_dz": "dz at inference",
}
"""What each observable is called in a sentence."""

_RULES: Mapping[str, str] = {
    "zero": "{what} is zero, whatever the batch",
    "term left out": "a term is left out of {what}",
    "sign": "a term of {what} has the wrong sign",
    "divided, not multiplied": "{what} is divided where it should be multiplied, or the reverse",
    "upside down": "{what} is divided the wrong way round",
    "one factor alone": "all factors but one are left out of {what}",
    "multiplied, not divided": "{what} is multiplied by B where it should be divided",
    "only divided": "{what} is 1/B: the sum is left out",
    "power left out": "a power, or a root, is left out of {what}",
    "not summed": "a sum, or a mean, is left out of {what}",
    "another power": "{what} has another power",
    "times, not to the power": "{what} is multiplied by an exponent: a * stands where ** should",
    "precedence": "an exponent in {what} is divided after the power is taken: put it in brackets",
    "outside the power": "a term that belongs under the root stands outside of it in {what}",
    "another constant": "{what} has another constant factor",
    "mean for sum": "{what} takes a mean where it should sum",
    "sum for mean": "{what} takes a sum where it should take a mean",
    "another axis": "{what} is summed over another axis",
    "another divisor": "{what} is divided by another number",
    "one factor summed": "{what} sums one factor alone, not the product",
    "one factor not summed": "{what} leaves one factor out of its sum",
    "factors summed apart": "{what} sums two factors apart, and then multiplies",
    "power of the sum": "{what} takes the power of the sum, not the sum of the powers",
    "taken into the brackets": "a factor in {what} multiplies a term too many",
    "brackets left out": "a factor in {what} multiplies one term of the brackets alone",
    "absolute value": "{what} takes the absolute value where it should take the square",
    "averaged over the features": "{what} is averaged over the features, too",
    "extra factor": "{what} has a factor too many",
    "extra term": "{what} has a term too many",
    "extra power": "{what} has a power, or a root, too many",
}


@dataclass(frozen=True)
class Told:
    """A slip in words and in two equations."""

    rule: str
    """Words for an id."""
    title: str
    wrong: str
    """LaTeX, the place marked."""
    right: str
    """LaTeX, the place marked."""


def told(formula: Formula, convention: Convention) -> Told:
    """Return how a formula with slips of its own is told: all of them."""
    if formula.instead_of is not None:
        return _told_as_another(formula, convention)
    each = [_told(formula, edit) for edit in formula.edits]
    return Told(
        "-and-".join(one.rule for one in each),
        "; and ".join(dict.fromkeys(one.title for one in each)),
        r" \qquad ".join(dict.fromkeys(one.wrong for one in each)),
        r" \qquad ".join(dict.fromkeys(one.right for one in each)),
    )


def _told_as_another(formula: Formula, convention: Convention) -> Told:
    assert formula.instead_of is not None
    name, other = OBSERVABLES[formula.observable], OBSERVABLES[formula.instead_of]
    left = LEFT[formula.observable]
    right = forms(formula.observable, convention)[0].bindings[RESULT]
    return Told(
        f"as-{formula.instead_of}".replace("_", "-"),
        f"{name} is computed as {other} should be",
        f"{left} = {latex(formula.base.bindings[RESULT], NAMES, left=left)}",
        f"{left} = {latex(right, NAMES, left=left)}",
    )


def _told(formula: Formula, edit: Edit) -> Told:
    base, observable = formula.base, formula.observable
    what = OBSERVABLES[observable] if edit.binding == RESULT else WORDS[edit.binding]
    title = _title(edit, what)
    left = LEFT[observable] if edit.binding == RESULT else NAMES[edit.binding]
    binding, path = edit.binding, edit.path
    if edit.everywhere is not None and not edit.is_anew:
        binding, path = _first_place(base, edit)
        left = LEFT[observable] if binding == RESULT else NAMES[binding]
    right = base.bindings[binding]
    wrong = edit.made(base).bindings[binding]
    if edit.is_anew and edit.everywhere is not None:
        wrong = edit.everywhere[binding]
    slug = edit.rule.replace(", ", "-").replace(" ", "-")
    return Told(
        slug,
        title,
        f"{left} = {latex(wrong, NAMES, as_far_as(wrong, path), left)}",
        f"{left} = {latex(right, NAMES, path, left)}",
    )


def _first_place(program: Program, edit: Edit) -> tuple[str, Path]:
    for name, tree in program.bindings.items():
        for path, part in walk(tree):
            if part is edit.old:
                return name, path
    return edit.binding, ()


def _title(edit: Edit, what: str) -> str:
    old, new = edit.old, edit.new
    if edit.is_anew:
        forward = replace(edit, kept=frozenset(), everywhere=None)
        return f"in the backward pass, {_title(forward, what)}"
    if edit.everywhere is not None:
        return _title_throughout(edit)
    if edit.rule == "factor left out":
        missing = [each for each in old.parts if each not in new.parts and each is not new]
        return f"{_words(missing[0]) if missing else 'a factor'} is left out of {what}"
    if edit.rule == "another quantity":
        return f"{_stands(new)} in {what} where {_words(old)} should"
    if edit.rule == "averaged over the features":
        what = _words(old)
    if edit.rule == "returned instead":
        return f"{what} is {_words(new)}"
    return _RULES[edit.rule].format(what=what)


def _title_throughout(edit: Edit) -> str:
    old, new = _words(edit.old), edit.new
    if edit.old is symbol("keep") and isinstance(new, Sum):
        return "the momentum weighs the other side"
    if new in (ZERO, ONE):
        return f"{old} is left out"
    if isinstance(new, Number) and edit.old is symbol("keep"):
        return f"{old} is {float(new.value):g}, whatever was set"
    if new in FIXED_EPS:
        assert isinstance(new, Number)
        return f"ε is {float(new.value):g}, whatever was set"
    if edit.everywhere is not None and len(edit.everywhere) > 1 and isinstance(new, Symbol):
        both = [_words(symbol(name)) for name in edit.everywhere]
        if {new.name} <= edit.everywhere.keys():
            return f"{both[0]} and {both[1]} are exchanged"
    return f"{_stands(new)} where {old} should"


def _stands(tree: Tree) -> str:
    words = _words(tree)
    return f"{words} {'stand' if words.endswith('values') else 'stands'}"


def _words(tree: Tree) -> str:
    if isinstance(tree, Symbol):
        return WORDS.get(tree.name, tree.name)
    if isinstance(tree, Power):
        return _words(tree.base)
    if isinstance(tree, Number):
        return f"the factor {tree.value}"
    if isinstance(tree, Product):
        return _words_of_product(tree)
    return _PARTS.get(tree, "a sum" if isinstance(tree, Reduction) else "a bracket")


_PARTS: Mapping[Tree, str] = {REST: "the weight of the batch"}


def _words_of_product(tree: Product) -> str:
    divisors = [each for each in tree.factors if isinstance(each, Power) and each.exponent < 0]
    factors = [each for each in tree.factors if each not in divisors]
    said = " times ".join(dict.fromkeys(map(_words, factors or divisors)))
    if not factors or not divisors:
        return said
    return f"{said} over {' and '.join(dict.fromkeys(map(_words, divisors)))}"
