"""Mutate a package and make docs/mutation.md: `python -m bn_evidence.mutation bn_oracle`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from bn_evidence.mutation.outcome import KILLED, TIMED_OUT, collect, save, saved
from bn_evidence.mutation.page import PAGE, page
from bn_evidence.mutation.workshop import Target, furnish, targets

MUTMUT = (str(Path(sys.executable).with_name("mutmut")),)
SETTINGS = {
    # mutmut forks after NumPy is imported: threads would not survive it.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Each mutant starts pytest anew; the plugins of other packages are not needed for it.
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}


def main() -> None:
    """Run mutmut on the target, keep what it found, and write the page."""
    known = targets()
    parser = argparse.ArgumentParser(prog="python -m bn_evidence.mutation", description=__doc__)
    parser.add_argument("target", choices=known)
    parser.add_argument("--again", action="store_true", help="those that are not killed yet, again")
    parser.add_argument("--page", action="store_true", help="run nothing; write the page")
    parser.add_argument("--folder", type=Path, help="where to work; default: one in the system's")
    parser.add_argument("--processes", type=int, default=1)
    chosen = parser.parse_args()
    target = known[chosen.target]
    folder = chosen.folder or Path(tempfile.gettempdir()) / f"mutation-{target.package}"
    if not chosen.page:
        furnish(target, folder)
        names = _lived(target, folder) if chosen.again else []
        subprocess.run(
            [*MUTMUT, "run", "--max-children", str(chosen.processes), *names],
            cwd=folder,
            check=True,
            env=os.environ | SETTINGS,
        )
    if (folder / "mutants").is_dir():  # else what is kept of an earlier run stands
        save(collect(target, folder, f"mutmut {version('mutmut')}"))
    PAGE.write_text(page(saved()), encoding="utf-8")
    print(f"\nwritten: {PAGE}")


def _lived(target: Target, folder: Path) -> list[str]:
    """Return the mutants that have not been killed yet."""
    files = (folder / "mutants" / target.package).rglob("*.meta")
    codes = [json.loads(file.read_text("utf-8"))["exit_code_by_key"] for file in files]
    return [name for each in codes for name, code in each.items() if code not in KILLED | TIMED_OUT]


if __name__ == "__main__":
    main()
