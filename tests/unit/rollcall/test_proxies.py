import os
import threading
import time

from asd_core.errors import Unsupported
from rollcall.web.proxies import Proxies


def until(truth):
    for _ in range(500):
        if truth():
            return
        time.sleep(0.01)
    raise AssertionError


def test_a_proxy_is_made_once_and_then_ready(tmp_path):
    calls, go = [], threading.Event()

    def make(source, sound, target, report):
        calls.append((source, sound))
        report("rendition", 1, 4)
        go.wait(5)
        target.write_bytes(b"video")

    proxies = Proxies(tmp_path / "new", 1000, make)
    assert proxies.ask("aa", lambda: tmp_path / "a.avi", 2).state == "making"
    until(lambda: proxies.ask("aa", lambda: tmp_path / "a.avi", 2).share == 0.25)
    go.set()
    until(lambda: proxies.ask("aa", lambda: tmp_path / "a.avi", 2).state == "ready")
    assert calls == [(tmp_path / "a.avi", 2)]


def test_a_failure_is_told_with_its_reason_and_then_tried_again(tmp_path):
    fail, told = threading.Event(), []
    fail.set()

    def make(source, sound, target, report):
        if fail.is_set():
            raise Unsupported("neither picture nor sound")
        target.write_bytes(b"video")

    def ask():
        told.append(proxies.ask("aa", lambda: tmp_path / "a", None))
        return told[-1].state

    proxies = Proxies(tmp_path, 1000, make)
    ask()
    until(lambda: ask() == "failed")
    assert told[-1].reason == "neither picture nor sound"
    fail.clear()
    until(lambda: ask() == "ready")


def test_the_least_recently_watched_go_first(tmp_path):
    proxies = Proxies(tmp_path, 250, lambda *_: None)
    for age, name in enumerate(["old", "middle", "new"]):
        proxies.path(name).write_bytes(b"x" * 100)
        os.utime(proxies.path(name), (1000 + age, 1000 + age))
    assert proxies.ask("old", lambda: tmp_path / "o", None).state == "ready"  # watched now
    proxies.evict()
    assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} == {"old", "new"}


def test_what_was_evicted_is_made_again(tmp_path):
    proxies = Proxies(tmp_path, 1000, lambda s, a, target, r: target.write_bytes(b"x"))
    proxies.ask("aa", lambda: tmp_path / "a", None)
    until(lambda: proxies.ask("aa", lambda: tmp_path / "a", None).state == "ready")
    proxies.path("aa").unlink()
    assert proxies.ask("aa", lambda: tmp_path / "a", None).state == "making"
    until(lambda: proxies.ask("aa", lambda: tmp_path / "a", None).state == "ready")
    assert proxies.path("aa").exists()


def test_the_newest_stays_even_beyond_the_limit(tmp_path):
    proxies = Proxies(tmp_path, 10, lambda s, a, target, r: target.write_bytes(b"x" * 100))
    proxies.ask("aa", lambda: tmp_path / "a", None)
    until(lambda: proxies.path("aa").exists())
    time.sleep(0.05)
    assert proxies.path("aa").exists()
