"""The console script: starts the command line so that Ctrl-C is quiet from the first moment."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import warnings
from pathlib import Path

from bn_reports.text import spelling


def main() -> None:
    """Run `bnoracle`."""
    _prepare_streams()
    # A student's escapes and comparisons are told of by Python where the file runs.
    warnings.filterwarnings("ignore", category=SyntaxWarning)
    # Hypothesis keeps notes on local modules in the current folder, unless it is told where.
    notes = Path(tempfile.gettempdir()) / "bnoracle-hypothesis"
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(notes))
    # The arrays are small: threads in linear algebra would only get in each other's way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        gc.disable()  # what is imported stays: there is no garbage in it
        from bn_grading.cli import app  # noqa: PLC0415 (an interrupt while importing is quiet, too)
        from bn_grading.completion import prepare  # noqa: PLC0415

        gc.freeze()
        gc.enable()
        prepare()
        app()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("bnoracle: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        _give_up_printing()
        sys.exit(1)  # as Click does, where it is the one to see it
    except OSError as error:
        if error.filename is not None:
            raise
        # Whatever else was to be written has its name: this is standard output, on a full disk.
        _give_up_printing()
        print(f"bnoracle: standard output: {error.strerror}", file=sys.stderr)
        sys.exit(3)


def _prepare_streams() -> None:
    """Print all that a terminal can show, the rest spelled out; nothing where there is none."""
    spelling.register()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed before we began
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (to the end)
        else:
            stream.reconfigure(errors=spelling.ERRORS)


def _give_up_printing() -> None:
    """Leave nothing to be written when Python ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


if __name__ == "__main__":
    main()
