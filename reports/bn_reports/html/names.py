"""Names where a line is short: they break between their words, and never within one."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from bn_reports.text.visible import visible

LONGEST = 24
"""Characters for which every line is long enough; a longer word breaks after so many."""
NAMELESS = "(no name)"
_WORD = re.compile(rf"[^\s_./@:+-]{{1,{LONGEST}}}[\s_./@:+-]*|[\s_./@:+-]+")


def breakable(name: str) -> Markup:
    """Return `name`, escaped, with as few places marked as are needed, at which a line may end."""
    pieces = [""]
    for word in _WORD.findall(visible(name) or NAMELESS):
        if pieces[-1] and len(pieces[-1]) + len(word) > LONGEST:
            pieces.append("")
        pieces[-1] += word
    return Markup("<wbr>").join(map(escape, pieces))
