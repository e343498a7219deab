"""How the command line ends: its exit codes, and what is wrong with a command, in one line."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

WRONG_USAGE = 2
GRADER_FAILED = 3
INTERRUPTED = 130


def stop(message: str) -> NoReturn:
    """Say in one line what was wrong with the command, and leave."""
    print(f"bnoracle: {message}", file=sys.stderr)
    raise typer.Exit(WRONG_USAGE)
