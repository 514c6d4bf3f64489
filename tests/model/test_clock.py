"""Time is counted once, by the thread that spends it."""

import threading

from pipeline.model.timing import collect_seconds, spending
from pipeline.runtime.summary import performance, time_text


def test_a_nested_kind_of_work_counts_for_the_outer_one_alone():
    collect_seconds()
    with spending("pyramid"), spending("encode"):
        pass
    with spending("read"):
        pass
    assert list(collect_seconds()) == ["pyramid", "read"]
    assert collect_seconds() == {}


def test_each_thread_has_an_account_of_its_own():
    collect_seconds()
    accounts = []

    def spend():
        with spending("filter"):
            pass
        accounts.append(collect_seconds())

    thread = threading.Thread(target=spend)
    thread.start()
    thread.join()
    assert list(accounts[0]) == ["filter"]
    assert collect_seconds() == {}


def test_an_error_inside_is_noted_too():
    collect_seconds()
    try:
        with spending("read"):
            raise OSError
    except OSError:
        pass
    assert list(collect_seconds()) == ["read"]


def test_shares_are_of_all_the_workers_time():
    measured = performance({"encode": 1.0, "read": 1.0, "filter": 5.0}, {"sync": 0.5}, 2, 5.0)
    assert measured["shares"] == {"read": 0.1, "filter": 0.5, "encode": 0.1, "wait": 0.3}
    assert time_text(measured) == (
        "of the workers' time 50 % filters, 30 % waiting, 10 % reading files, 10 % encoding"
    )
    assert "wait" not in performance({"read": 1.0}, {}, 0, 5.0)["seconds"]
