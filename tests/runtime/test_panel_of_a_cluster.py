"""The live panel of a real cluster: what it is told, and what its buttons do."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit import Cluster
from labkit.training import train

DEADLINE = 30.0


class Browser:
    """In place of the browser: keeps what it is sent, and clicks."""

    def __init__(self, panel: Any) -> None:
        self.panel = panel
        self.news = threading.Condition()
        self.heard: list[dict[str, Any]] = []
        self.rows: dict[int, dict[str, Any]] = {}
        panel.front.send = self.take

    def take(self, message: dict[str, Any], buffers: Any = None) -> None:
        with self.news:
            self.heard.append(message)
            for row in message.get("frame", {}).get("rows", ()):
                self.rows[row["rank"]] = row
            self.news.notify_all()

    def click(self, kind: str, **more: Any) -> None:
        self.panel._hear(None, {"kind": kind, **more}, [])

    def marks(self, kind: str) -> list[dict[str, Any]]:
        frames = (m["frame"] for m in self.heard if m["kind"] == "frame")
        return [mark for f in frames for mark in f.get("marks", ()) if mark["kind"] == kind]

    def wait(self, ready: Callable[[], Any], what: str) -> None:
        with self.news:
            assert self.news.wait_for(ready, DEADLINE), f"never seen: {what}"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(3) as cluster:
        yield cluster


def test_kill_and_restart_by_the_buttons_of_a_row(cluster: Cluster) -> None:
    panel = cluster.panel()
    assert cluster.panel() is panel
    browser = Browser(panel)
    run = cluster.run(train, steps=100_000, elastic=True)
    run.wait_step(3, timeout=DEADLINE)
    browser.wait(lambda: browser.rows[0]["leader"] is not None, "who leads")
    browser.wait(lambda: browser.rows[2]["memory"], "memory")
    assert browser.rows[0]["age"] < 5

    browser.click("kill", rank=2)
    browser.wait(lambda: browser.marks("death"), "the cross")
    browser.wait(lambda: {m["lane"] for m in browser.marks("view")} >= {0, 1}, "the next view")
    browser.wait(lambda: not browser.rows[2]["alive"], "the row of the dead")
    assert "cluster.kill(2)" in panel.code
    browser.click("restart", rank=2)
    browser.wait(lambda: browser.rows[2]["life"] == 1 and browser.rows[2]["alive"], "its next life")
    browser.wait(lambda: browser.marks("start"), "its mark")
    run.cancel()


def test_pause_shows_as_a_heartbeat_that_grows_old(cluster: Cluster) -> None:
    browser = Browser(cluster.panel())
    browser.click("pause", rank=1)
    browser.wait(lambda: browser.rows.get(1, {}).get("state") == "paused", "the pause")
    browser.wait(lambda: browser.rows[1]["age"] >= 1.0, "its silence")
    assert browser.rows[0]["age"] < browser.rows[1]["age"]
    browser.click("resume", rank=1)
    browser.wait(lambda: browser.rows[1]["age"] < 1.0, "its return")


def test_slow_cut_off_and_heal_are_bands_and_lines_of_code(cluster: Cluster) -> None:
    browser = Browser(panel := cluster.panel())
    browser.click("slow", rank=0)
    browser.wait(lambda: browser.rows.get(0, {}).get("slow"), "the slow one")
    browser.click("full speed", rank=0)
    browser.wait(lambda: not browser.rows[0]["slow"], "its speed")
    browser.click("cut off", rank=1)
    browser.click("heal")

    def healed() -> bool:
        bands = [b for m in browser.heard if "frame" in m for b in m["frame"].get("bands", ())]
        return any(b["end"] is not None and b["label"].startswith("Partition") for b in bands)

    browser.wait(healed, "a band with an end")
    lines = ["slow(0, 4.0)", "slow(0, 1.0)", "partition([1], [0, 2, 3])", "heal()"]
    assert panel.code == "\n".join(f"cluster.{line:25}  # between runs" for line in lines)


def test_a_click_that_cannot_be_done_says_why() -> None:
    cluster = Cluster(2)
    browser = Browser(panel := cluster.panel())
    cluster.close()
    assert not panel.thread.is_alive(), "its picture is in its place when the cluster is closed"
    assert browser.heard[-1]["kind"] == "closed"
    with pytest.raises(RuntimeError, match="closed"):
        panel.stage.inject(None)


def test_a_panel_keeps_no_cluster_alive() -> None:
    cluster = Cluster(2)
    panel = cluster.panel()
    del cluster
    gc.collect()
    panel.thread.join(DEADLINE)
    assert not panel.thread.is_alive()


def test_the_picture_of_a_run_that_is_over_is_sent_once(cluster: Cluster) -> None:
    browser = Browser(cluster.panel())
    cluster.run(train, steps=5).wait()
    browser.wait(lambda: any(m["kind"] == "picture" for m in browser.heard), "the picture")
    end = len(browser.heard) + 5
    browser.wait(lambda: len(browser.heard) >= end, "five more updates")
    assert sum(m["kind"] == "picture" for m in browser.heard) == 1


def test_a_view_that_is_opened_late_hears_of_the_run_and_its_picture(cluster: Cluster) -> None:
    """Or a page that is loaded again; the views that were there are told nothing twice."""
    browser = Browser(cluster.panel())
    cluster.run(train, steps=5).wait()
    browser.wait(lambda: any(m["kind"] == "picture" for m in browser.heard), "the picture")
    begin = len(browser.heard)
    browser.click("hello", view=7)
    browser.wait(lambda: [m for m in browser.heard[begin:] if m["kind"] == "picture"], "another")
    mine = {m["kind"]: m for m in browser.heard[begin:] if "view" in m}
    assert {m["view"] for m in mine.values()} == {7}
    assert mine["frames"]["run"] == {"number": 1, "name": "train"}
    assert "picture" in mine
    began = [m["frame"]["run"] for m in browser.heard if "run" in m.get("frame", ())]
    assert began == [mine["frames"]["run"]]


def test_the_clicks_of_a_run_are_a_plan_that_strikes_again_as_they_did(cluster: Cluster) -> None:
    browser = Browser(panel := cluster.panel())
    first = cluster.run(train, steps=60, on_loss="continue", elastic=True)
    first.wait_step(20, timeout=DEADLINE)
    browser.click("kill", rank=2)
    browser.wait(lambda: panel.script.clicks, "the click")
    first.wait(timeout=DEADLINE)
    cluster.restart(2)
    names = {"cluster": cluster, "train": train}
    exec(panel.script.plan(), names)
    again: Any = names["run"]
    again.wait(timeout=DEADLINE)

    def killed(run: Any) -> float:
        """Seconds after its beginning."""
        (moment,) = (e.time for e in run.events if e.kind == "fault" and e.name == "Kill(rank=2)")
        return float(moment - run.started)

    assert again.number == first.number + 1
    (planned,) = (entry.seconds for entry in names["plan"].entries)
    assert planned == pytest.approx(killed(first), abs=0.1)
    assert planned <= killed(again)
    assert again.results.keys() == {0, 1}
