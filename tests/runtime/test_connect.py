"""What a run's own worker processes find when they start, and that nothing of it stays with the caller."""

import contextlib
import os
import signal
import sys

import distributed
import pytest

from pipeline.model.errors import StoppedError
from pipeline.planning.workload import Resources
from pipeline.runtime.executors.connect import connect


def of_this_process():
    """Return what is the caller's own: signals, environment, and what its script is called."""
    main = vars(sys.modules["__main__"])
    return (
        signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        dict(os.environ),
        {name: main[name] for name in ("__file__", "__spec__") if name in main},
    )


class Workers:
    """Stands in for worker processes: notes what they would find, and can fail to start."""

    found = None
    fails = False

    def __init__(self, **keywords):
        Workers.found = of_this_process()
        if Workers.fails:
            raise RuntimeError("no memory")

    def close(self, timeout=None):
        pass


class Client:
    def __init__(self, *arguments, **keywords):
        pass

    def close(self):
        pass


@pytest.mark.parametrize("asked", [None, "error"], ids=["warnings as usual", "warnings as asked for"])
@pytest.mark.parametrize("ends", ["well", "with an error", "before it began"])
def test_after_a_run_on_worker_processes_the_callers_process_is_as_before(monkeypatch, ends, asked):
    monkeypatch.setattr(distributed, "LocalCluster", Workers)
    monkeypatch.setattr(distributed, "Client", Client)
    monkeypatch.setattr(Workers, "fails", ends == "before it began")
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    if asked:
        monkeypatch.setenv("PYTHONWARNINGS", asked)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/home/me/script.py", raising=False)
    before = of_this_process()

    def run():
        with connect(Resources(2, 1 << 30, "local"), "local", print):
            if ends == "with an error":
                raise StoppedError("a window failed", "see the log")

    words = {"with an error": "a window failed", "before it began": "could not be started"}
    with contextlib.nullcontext() if ends == "well" else pytest.raises(StoppedError, match=words[ends]):
        run()
    assert of_this_process() == before
    blocked, _, script = Workers.found
    assert signal.SIGINT in blocked
    assert set(script.values()) == {None}
