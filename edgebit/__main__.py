"""`python -m edgebit`: the command line."""

from edgebit.cli import main

main()
