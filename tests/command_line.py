"""Timbrel as a program."""

import os
import subprocess
import sys

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def timbrel(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from timbrel.cli.main import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=ENVIRONMENT
    )
