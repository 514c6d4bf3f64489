"""Signals: whose they are before and after a run, and what a commit does with them."""

import os
import signal

import pytest
from processes import config, movie

import pipeline
from pipeline.model.errors import RequestError
from pipeline.runtime.signals import Stop, stoppable

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("refused", [False, True], ids=["done", "refused"])
def test_after_a_run_signals_are_the_callers_again(folder, refused):
    movie(folder)
    made = str(config(folder))
    kept = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    try:
        mine = [signal.getsignal(number) for number in SIGNALS]
        if refused:
            with pytest.raises(RequestError):
                pipeline.run(made, sets=["white_tophat.radius=1000"])
        else:
            pipeline.run(made)
        assert [signal.getsignal(number) for number in SIGNALS] == mine
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("point", ["manifest", "sealed"])
@pytest.mark.parametrize("then", ["int", "term"])
def test_a_commit_that_has_begun_ends_whatever_it_is_told(zygote, folder, point, then):
    movie(folder)
    made = config(folder)
    ended = zygote.run("run", made, harm=[{"point": "before write", "path": point, "then": then}])
    assert ended.code == 0, ended.err
    assert sorted(os.listdir(folder)) == ["movie.tif", "out.ome.zarr", "run.yaml"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 3)], ids=["int", "term"])
def test_what_was_noted_is_told_once_and_ends_with_its_own_code(number, code):
    said = []
    stop = Stop(said.append, working=True)
    stop.check()
    stop.tell()
    assert said == []
    stop.note(number)
    for _ in range(3):
        stop.tell()
    assert len(said) == 1
    with pytest.raises(pipeline.PipelineError, match="the same command goes on from here") as caught:
        stop.check()
    assert caught.value.exit_code == code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 3)], ids=["int", "term"])
@pytest.mark.parametrize("working", [False, True], ids=["nothing under way", "windows under way"])
def test_a_signal_waits_for_what_is_under_way_and_a_second_one_does_not(number, code, working):
    waited = []

    def run():
        with stoppable() as stop:
            stop.working = working
            os.kill(os.getpid(), number)
            waited.append(stop.signal)
            os.kill(os.getpid(), number)
            waited.append("twice")

    with pytest.raises(pipeline.PipelineError) as caught:
        run()
    assert waited == [number] * working
    assert caught.value.exit_code == code


@pytest.mark.parametrize("number", SIGNALS, ids=["int", "term"])
def test_a_signal_that_is_ignored_stays_so(number):
    """As for a job in the background, or one of `nohup`."""
    kept = signal.signal(number, signal.SIG_IGN)
    try:
        with stoppable() as stop:
            os.kill(os.getpid(), number)
            assert stop.signal is None
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, kept)
