"""What a terminal's encoding lacks is spelled out."""

from __future__ import annotations

import pytest
from bn_reports.text.spelling import ERRORS, register, spelled
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "ascii_"),
    [
        ("uᵢ = (zᵢ − μ_B)/√(σ_B² + ε)", "u_i = (z_i - mu_B)/sqrt(sigma_B^2 + eps)"),
        ("ẑᵢ = γuᵢ + β", "z_hat_i = gammau_i + beta"),
        ("2⁻¹⁴⁰ ≠ 0", "2^-140 != 0"),
        ("Mₙ₋₁ ← ∑ₜ₌₁ⁿ μₜ", "M_n-1 <- sum_t=1^n mu_t"),
        ("✗ incorrect …", "x incorrect ..."),
        ("naïve, 漢", "naive, ?"),
    ],
)
def test_spelled_out(text: str, ascii_: str) -> None:
    assert ascii_ == spelled(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_can_be_written_in_ascii(text: str) -> None:
    register()
    written = text.encode("ascii", ERRORS).decode("ascii")
    assert not text.isascii() or written == text


def test_what_an_encoding_has_stays() -> None:
    register()
    assert "sigma² naïve".encode("cp1252") == "σ² naïve".encode("cp1252", ERRORS)
