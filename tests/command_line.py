"""Timbrel as a program."""

import os
import subprocess
import sys

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
# starts what follows twice; they meet at a free port, as another test may do the same just now
TWO_PROCESSES = [
    sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone",
]  # fmt: skip


def timbrel(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from timbrel.cli.main import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=ENVIRONMENT
    )
