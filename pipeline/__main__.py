"""`python -m pipeline` and the `bgone` command."""

import sys


def main() -> None:
    """Run the command line and exit."""
    from pipeline.cli import main as run_cli

    sys.exit(run_cli())


if __name__ == "__main__":
    main()
