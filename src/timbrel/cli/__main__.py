"""`python -m timbrel.cli`, for torchrun."""

from timbrel.cli.main import main

main()
