"""What a command that only reads the registry may not pull in."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "tasks.mlops.champion",
        "tasks.mlops.registry",
        "tasks.mlops.tracking",
        "tasks.runtime.cleaning",
        "flows.cli.main",
    ],
)
def test_prefect_is_not_imported_before_its_environment_is_set(module: str) -> None:
    """It reads its settings once, and takes a second."""
    code = f"import {module}, sys; print('prefect' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
