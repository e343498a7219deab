"""Detection power: how often a property rejects the mistakes that are named for it.

Run as a module, it prints the page that is published in docs/detection-power.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bn_grading.case_bank import DEFAULT_EXAMPLES
from bn_properties.cases.draw import draw_cases
from bn_properties.cases.pinned import pinned_cases
from bn_properties.catalogue import BY_ID
from bn_properties.checking import asked_about, try_case
from bn_properties.transcript import Oracle, Transcript

from bn_evidence.kill_matrix import SEED
from bn_evidence.mistakes import MISTAKES, SETTINGS, Mistake, Setting, subject_of

SEEDS = 20
COMMAND = "PYTHONPATH=evidence python -m bn_evidence.power > docs/detection-power.md"


@dataclass(frozen=True)
class Power:
    """One mistake under its own property, over all seeds."""

    mistake: str
    killed_by: str
    """The property that is named for it."""
    needed: tuple[int | None, ...]
    """For each seed, how many cases it took to reject the mistake; None where all passed it."""

    @property
    def rejected(self) -> float:
        """The share of the seeds under which the mistake was rejected."""
        return sum(count is not None for count in self.needed) / len(self.needed)


class _Cases:
    """Cases of one seed in one setting, with what the oracle expects."""

    def __init__(self, seed: int, examples: int, setting: Setting) -> None:
        convention, spatial_axes = setting
        self._cases = (*draw_cases(seed, examples, spatial_axes), *pinned_cases(spatial_axes))
        self._expected = Oracle(convention)
        self._setting = setting

    def needed(self, mistake: Mistake) -> int | None:
        """Return how many cases the mistake's property is put to until it fails."""
        prop = BY_ID[mistake.killed_by]
        seen = Transcript(subject_of(mistake, self._setting))
        for count, case in enumerate(asked_about(prop, self._cases, self._setting[0]), 1):
            failing, _ = try_case(prop, case, seen, self._expected)
            if failing is not None:
                return count
        return None


def measure(
    chosen: Sequence[Mistake], seeds: Sequence[int], examples: int = DEFAULT_EXAMPLES
) -> list[Power]:
    """Put each mistake's own property to it under every seed.

    The setting is the first of the kill matrix's in which the property rejects the mistake.
    """
    settings: dict[str, Setting] = {}
    for setting in SETTINGS:
        cases = _Cases(SEED, examples, setting)
        for mistake in chosen:
            if mistake.id not in settings and cases.needed(mistake) is not None:
                settings[mistake.id] = setting
    found: dict[str, list[int | None]] = {mistake.id: [] for mistake in chosen}
    for seed in seeds:
        by_setting = {setting: _Cases(seed, examples, setting) for setting in SETTINGS}
        for mistake in chosen:
            setting = settings.get(mistake.id, SETTINGS[0])
            found[mistake.id].append(by_setting[setting].needed(mistake))
    return [Power(each.id, each.killed_by, tuple(found[each.id])) for each in chosen]


def markdown(powers: Sequence[Power]) -> str:
    """Return the measurements as a page."""
    seeds = len(powers[0].needed)
    lines = [
        "# Detection power",
        "",
        "How often a property rejects the mistakes that are named for it, at the default number of",
        f"examples: {DEFAULT_EXAMPLES} cases, {seeds} seeds. Made by",
        f"`{COMMAND}`",
        "from the checkout's root.",
        "",
        "A mistake's power is the share of the seeds under which its own property rejects it; any",
        "other property may reject it as well. *Cases needed* counts up to the first rejection, of",
        "the property's cases, the chosen ones last (some properties are put to few drawn ones).",
        "",
        "| property | mistakes | least power | mean power | cases needed: median | most |",
        "|---|---|---|---|---|---|",
    ]
    for id_ in BY_ID:
        named = [each for each in powers if each.killed_by == id_]
        if not named:
            continue
        shares = [each.rejected for each in named]
        counts = sorted(n for each in named for n in each.needed if n is not None)
        median, most = (counts[len(counts) // 2], counts[-1]) if counts else ("–", "–")
        lines.append(
            f"| `{id_}` | {len(named)} | {min(shares):.2f} | {sum(shares) / len(shares):.3f} "
            f"| {median} | {most} |"
        )
    weak = [each for each in powers if each.rejected < 1]
    mean = sum(each.rejected for each in powers) / len(powers)
    lines += [
        "",
        f"{len(powers)} mistakes; mean power {mean:.4f}; {len(powers) - len(weak)} are rejected by "
        "their own property under every seed.",
        "",
    ]
    if weak:
        lines += ["Not rejected by their own property under every seed:", ""]
        lines += [f"- `{w.mistake}` by `{w.killed_by}`: {w.rejected:.2f}" for w in weak]
    else:
        lines.append("None is missed by its own property under any of these seeds.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS
    print(markdown(measure(MISTAKES, range(1, count + 1))), end="")
