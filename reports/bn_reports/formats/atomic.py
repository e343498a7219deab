"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8 by replacing the file at once; make its folder if need be.

    A reader sees the old content or the new, never a part. Raises `OSError` if it cannot be
    written; then the old content stands.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        draft.write_text(text, encoding="utf-8", newline="\n")
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
