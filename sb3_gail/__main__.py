"""`python -m sb3_gail` is the `sb3-gail` command."""

from sb3_gail.cli import main

main()
