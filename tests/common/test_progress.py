from __future__ import annotations

from sparsebench.common.progress import INTERVAL, Throttle


def test_reports_are_rare_and_the_last_one_is_made(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("sparsebench.common.progress.time.monotonic", lambda: now[0])
    seen = []
    report = Throttle(lambda done, total: seen.append((done, total)), 100)
    for _ in range(100):
        now[0] += INTERVAL / 10
        report.advance(1)
    assert seen[0] == (1, 100)
    assert seen[-1] == (100, 100)
    assert 10 <= len(seen) <= 12


def test_without_a_listener_nothing_is_kept_waiting_for_one():
    assert Throttle(None, 1).advance(1) is None
