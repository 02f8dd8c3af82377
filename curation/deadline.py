"""A limit on a unit's time that holds even where a decoder spins and cannot be interrupted."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

GRACE_S = 3  # for the word to be left: a file, or one put to object storage


@contextlib.contextmanager
def kill_this_process_after(seconds: float, *, leave_word: Callable[[], None]) -> Iterator[None]:
    """Kill the process, a worker that runs nothing else, when the block takes longer than seconds.

    A thread says why and kills; the alarm behind it needs no interpreter at all, for a decoder that
    holds it. The alarm can be set from the main thread only, where Ray runs tasks.
    """

    def overrun() -> None:
        leave_word()
        os.kill(os.getpid(), signal.SIGKILL)

    timer = threading.Timer(seconds, overrun)
    timer.daemon = True
    timer.start()
    alarmed = threading.current_thread() is threading.main_thread()
    if alarmed:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_S)
    try:
        yield
    finally:
        timer.cancel()
        if alarmed:
            signal.setitimer(signal.ITIMER_REAL, 0)
