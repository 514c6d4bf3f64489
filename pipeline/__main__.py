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
        # A second Ctrl-C left blocks under way, which Python would wait for; the journal does not need them.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    sys.exit(code)


def _hide_warnings() -> None:
    """Keep Python's warnings from the terminal, unless they are asked for.

    They come with lines of some library's source and tell its developers something; what a user of
    bgone should know is said in a line of our own. Worker processes read the same variable.
    """
    if not sys.warnoptions and "--debug" not in sys.argv:
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"


if __name__ == "__main__":
    start()
