"""`python -m pipeline` and the `bgone` command."""

import os
import sys
import threading
import warnings


def start() -> None:
    """Run the command line and exit."""
    _hide_warnings()
    from pipeline.cli import main as run_cli
    from pipeline.model.machine import share_heap

    share_heap()
    code = run_cli()
    if any(thread.name.startswith("bgone-") for thread in threading.enumerate()):
        # After a second Ctrl-C blocks are still computed. Python would wait for them; the journal need not.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    sys.exit(code)


def _hide_warnings() -> None:
    """Keep Python's warnings, which are for developers, from the terminal unless they are asked for."""
    if not sys.warnoptions and "--debug" not in sys.argv:
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"  # for worker processes


if __name__ == "__main__":
    start()
