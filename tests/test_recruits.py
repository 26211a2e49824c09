"""Workers' processes that are started before anybody knows what they will do."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bgproxy.recruits import Recruit, probable_workers, recruited

USABLE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("proxy: {workers: 1}", 1),
        ("proxy:\n  workers: 1  # few\n", 1),
        ("proxy: {listen: 127.0.0.1:1, workers: 9999}", USABLE),
        ("proxy: {workers: auto}", USABLE),
        ("# workers: 1\nservices: {}", USABLE),
        ("proxy:\n  workers: ${WORKERS}\n", 1),
    ],
)
def test_the_number_of_workers_is_guessed_from_the_text(tmp_path: Path, text: str, count: int):
    """Never more than load at the same time; one where only the environment knows."""
    file = tmp_path / "bgproxy.yaml"
    file.write_text(text)
    assert probable_workers(file) == count


def test_without_a_file_there_is_nobody_to_recruit(tmp_path: Path):
    """A wrong path is told at once, with no process started for it."""
    assert probable_workers(tmp_path / "none.yaml") == 0


def test_recruits_nobody_takes_are_sent_home(tmp_path: Path):
    """None outlives the block, and none is left for others to reap."""
    file = tmp_path / "bgproxy.yaml"
    file.write_text("proxy: {workers: 1}")
    with recruited(file) as recruits:
        (recruit,) = recruits
        os.kill(recruit.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(recruit.pid, 0)


async def test_the_end_of_a_recruit_is_told_to_all_who_wait():
    """By its status, negative for a signal; also to those who ask afterwards."""
    recruit = Recruit()
    recruit.kill()
    assert await recruit.wait() == -signal.SIGKILL
    assert await recruit.wait() == -signal.SIGKILL
    recruit.channel.close()


async def test_a_recruit_ends_when_the_supervisor_is_gone():
    """The end of its channel is its end, without a word."""
    recruit = Recruit()
    recruit.channel.close()
    assert await recruit.wait() == 0
