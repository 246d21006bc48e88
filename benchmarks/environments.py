"""Environments of the references: one for each requirements file, made when it is first needed."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
REQUIREMENTS = Path(__file__).parent / "requirements"


@cache
def interpreter(environment: str | None) -> str:
    """The Python of the environment that `requirements/<environment>.txt` describes; this one's for None."""
    if environment is None:
        return sys.executable
    requirements = REQUIREMENTS / f"{environment}.txt"
    folder = ROOT / f".venv-bench-{environment}"
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        print(f"  installing {requirements.name} into {folder.name}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--requirement", requirements]
        subprocess.run(install, check=True)
        stamp.write_text(requirements.read_text())
    return str(python)
