"""`python -m timbrel`, for torchrun."""

from timbrel.cli.main import main

main()
