"""`python -m pipeline` and the `bgone` command."""

import os
import sys
import threading


def main() -> None:
    """Run the command line and exit."""
    from pipeline.cli import main as run_cli
    from pipeline.machine import share_heap

    share_heap()
    code = run_cli()
    if any(thread.name.startswith("bgone-") for thread in threading.enumerate()):
        # A second Ctrl-C left blocks under way, which Python would wait for; the journal does not need them.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
