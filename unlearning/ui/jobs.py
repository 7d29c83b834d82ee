"""Questions to models, one after another: each is a job that the page asks after until it has its answer.

Gradio would let thirty people's questions fight for two processor cores, and ties an answer to an open
connection. Here every question waits in one line, its asker sees how many are before it, and a page that was
closed costs nothing: a job that nobody asks after is dropped before it starts.
"""

from __future__ import annotations

import secrets
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from unlearning.errors import UnlearningError

KEPT = 400  # answers remembered, so that a second look (or a second person's) at the same thing costs nothing
ABANDONED_S = 20.0  # a waiting job that nobody has asked after for so long is not done
LEFT_S = 90.0  # one at work is then ended; a hidden tab asks once a minute
LOST = "This answer is no longer kept."


@dataclass
class Job:
    """One question. The worker writes it, the page reads it.

    Attributes:
        id: What the page asks with.
        state: "waiting", "working", "done" or "failed".
        value: The answer; while the work goes on, what there is of it.
        message: What it is doing; after a failure, why.
        share: How much of the work is done, 0 to 1; 0 where nobody knows.
    """

    id: str
    work: Callable[[Job], Any] = field(repr=False)
    state: str = "waiting"
    value: Any = None
    message: str = ""
    hint: str = ""
    share: float = 0.0
    dropped: bool = False
    began: float = 0.0
    asked: float = field(default_factory=time.monotonic)

    def say(self, value: Any = None, share: float = 0.0, message: str = "") -> None:
        """Show what there is so far. Raises Dropped where nobody waits for it any more."""
        if self.dropped or time.monotonic() - self.asked > LEFT_S:
            raise Dropped
        self.value, self.share, self.message = value, share, message


class Dropped(Exception):
    """Nobody waits for this answer."""


class Jobs:
    """The line of questions, answered by one thread."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._known: dict[Hashable, str] = {}
        self._guard = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="models")

    def ask(self, work: Callable[[Job], Any], key: Hashable = None) -> str:
        """Put a question into the line; gives the id to look with.

        Args:
            work: Called as `work(job)` when its turn comes; what it returns is the answer (JSON).
            key: Names the question, so that the same one again gets the answer that is there.
        """
        with self._guard:
            job = self._find(key)
            if job is not None:
                job.asked = time.monotonic()
                return job.id
            job = Job(secrets.token_urlsafe(12), work)
            self._jobs[job.id] = job
            if key is not None:
                self._known[key] = job.id
            self._forget_old()
        self._pool.submit(self._do, job)
        return job.id

    def drop(self, job_id: str) -> None:
        """Nobody wants this answer any more: it stops at its next word."""
        if (job := self._jobs.get(job_id)) is not None:
            job.dropped = True

    def look(self, question: Any) -> dict[str, Any]:
        """The state of `question["job"]`, for the page: state, value, message, hint, ahead, share, seconds_left."""
        job = self._jobs.get(str(question.get("job"))) if isinstance(question, dict) else None
        if job is None:
            return {"state": "failed", "message": LOST, "hint": "Ask again."}
        job.asked = time.monotonic()
        spent = job.asked - job.began
        left = spent * (1 - job.share) / job.share if job.state == "working" and job.share else None
        return {
            "state": job.state,
            "value": job.value,
            "message": job.message,
            "hint": job.hint,
            "share": job.share,
            "ahead": self._ahead(job) if job.state == "waiting" else 0,
            "seconds_left": left if left and spent > 2 else None,
        }

    def _find(self, key: Hashable) -> Job | None:
        job = self._jobs.get(self._known.get(key, "")) if key is not None else None
        return job if job is not None and job.state != "failed" and not job.dropped else None

    def _ahead(self, job: Job) -> int:
        count = 0
        for other in list(self._jobs.values()):
            if other is job:
                break
            count += other.state in ("waiting", "working") and not other.dropped
        return count

    def _forget_old(self) -> None:
        over = [job for job in self._jobs.values() if job.state in ("done", "failed")][: max(0, len(self._jobs) - KEPT)]
        for job in over:
            del self._jobs[job.id]
        self._known = {key: job_id for key, job_id in self._known.items() if job_id in self._jobs}

    def _do(self, job: Job) -> None:
        if job.dropped or time.monotonic() - job.asked > ABANDONED_S:
            job.state, job.message, job.hint, job.dropped = "failed", "Nobody was waiting for this.", "Ask again.", True
            return
        job.state, job.began = "working", time.monotonic()
        try:
            job.value = job.work(job)
            job.share, job.state = 1.0, "done"
        except Dropped:
            job.state, job.message, job.hint, job.dropped = "failed", "This was stopped.", "Ask again.", True
        except UnlearningError as error:
            job.message, job.hint, job.state = error.message, error.hint, "failed"
        except Exception as error:  # the line goes on, and the page says what happened
            traceback.print_exc()
            job.message, job.hint, job.state = *_in_words(error), "failed"


def _in_words(error: Exception) -> tuple[str, str]:
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return "There was not enough memory for this.", "Ask about a shorter text, or wait until a run has ended."
    return f"This did not work ({type(error).__name__}).", "The terminal of the page's server shows the details."


_lines: WeakKeyDictionary[Any, Jobs] = WeakKeyDictionary()
_lines_guard = threading.Lock()


def line_of(host: Any) -> Jobs:
    """The one line of questions for the models of this host, whichever screen asks."""
    with _lines_guard:
        return _lines.setdefault(host, Jobs())
