"""The console script: starts the command line so that Ctrl-C is quiet from the first moment."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Run `bnoracle`."""
    # Hypothesis keeps notes on local modules in the current folder, unless it is told where.
    notes = Path(tempfile.gettempdir()) / "bnoracle-hypothesis"
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(notes))
    # The arrays are small: threads in linear algebra would only get in each other's way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        gc.disable()  # what is imported stays: there is no garbage in it
        from bn_grading.cli import app  # noqa: PLC0415 (an interrupt while importing is quiet, too)

        gc.freeze()
        gc.enable()
        app()
    except KeyboardInterrupt:
        print("bnoracle: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
