"""How long torch's threads spin before they sleep is set before torch is there."""

import subprocess
import sys

import pytest

from command_line import ENVIRONMENT

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
ASK = "import os, sys, timbrel; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"


@pytest.mark.parametrize(
    ("given", "spins"),
    [
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "5"}, "5"),  # who sets it knows better
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None"),  # which a number would overrule
    ],
)
def test_waiting_threads_sleep_soon_unless_told_otherwise(
    given: dict[str, str], spins: str
) -> None:
    bare = {name: value for name, value in ENVIRONMENT.items() if name not in NAMES}
    done = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, env=bare | given, check=True
    )
    assert done.stdout.split() == [spins, "False"]
