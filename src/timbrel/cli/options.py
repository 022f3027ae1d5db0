"""Options that several commands have."""

from typing import Annotated

import typer

Trust = Annotated[
    bool, typer.Option("--trust", help="Run a codec that is TorchScript: it is code.")
]
