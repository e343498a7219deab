"""Completion in the shell: what it is to run at its start, and the answers to its questions."""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import (  # type: ignore[attr-defined]  # imported there, and not listed
    completion_init,
    get_completion_script,
)

from bn_grading.courses.model import built_in
from bn_grading.subject.isolation import Level

PROGRAM = "bnoracle"
_ASKED = "_BNORACLE_COMPLETE"
"""The variable in which a shell asks."""


class Shell(StrEnum):
    """A shell whose command line can be completed."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="The shell that is to complete the command.")],
) -> None:
    """Print what lets a shell complete this command, for its start-up file to evaluate."""
    print(get_completion_script(prog_name=PROGRAM, complete_var=_ASKED, shell=shell.value))


def prepare() -> None:
    """Let the command answer, if it is a shell that has started it."""
    if _ASKED in os.environ:
        completion_init()


def courses(incomplete: str) -> list[str]:
    """Return the courses that may be meant."""
    return _begun(("auto", *built_in()), incomplete)


def isolations(incomplete: str) -> list[str]:
    """Return the levels of isolation that may be meant."""
    return _begun(("auto", *(level.value for level in Level)), incomplete)


def _begun(words: Iterable[str], beginning: str) -> list[str]:
    return [word for word in words if word.startswith(beginning)]
