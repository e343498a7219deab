"""Every equation of the catalogue reads rightly in a terminal."""

from __future__ import annotations

import re

import pytest
from bn_diagnosis.faults import FAULTS
from bn_properties.catalogue import PROPERTIES
from bn_reports.text.equations import mathml, plain

EQUATIONS = sorted(
    {each.equation for each in PROPERTIES} | {each for f in FAULTS for each in (f.wrong, f.right)}
)
_SCRIPT = r"[_^](\w|\((?:[^()]|\([^()]*\))+\))"
"""What is lowered or raised by a mark: one letter, or what is in brackets."""


@pytest.mark.parametrize("latex", EQUATIONS)
def test_nothing_of_latex_is_left(latex: str) -> None:
    text = plain(latex)
    assert mathml(latex) is not None
    assert not set("\\{}&~―\n") & set(text), text
    assert not set("_^") & set(re.sub(_SCRIPT, "", text)), text
    assert "  " not in text
    assert text.count("(") == text.count(")")


@pytest.mark.parametrize("latex", EQUATIONS)
def test_no_two_signs_meet_and_no_factor_hangs_on_a_fraction(latex: str) -> None:
    text = plain(latex)
    assert not re.search(r"[+−=←·⇒] ?[+·]|[+−·] ?−|∑\S* −", text), text
    divisor = r"/(√?\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)(?:\^\([^()]*\))?|∂?[^\s()/,;]+)"
    behind = re.findall(divisor + r" ?(\S*)", text)
    words = re.compile(r"with$|without$|and$|once$|\W|$")
    assert [] == [each for each in behind if not words.match(each[1])], text
    assert not re.search(r"\w 1/", text), text
