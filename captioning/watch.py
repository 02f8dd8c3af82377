"""Says on the terminal which servers a run waits for: the workers that wait have none."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Iterator

from captioning.client import REVIVAL_POLL_S, connect, served
from captioning.endpoint import Endpoint, words
from curation.stage import Abort

LOOK_EVERY_S = 10.0  # a list of models costs a server nothing


@contextlib.contextmanager
def watching(model: str, endpoint: Endpoint) -> Iterator[None]:
    """Meanwhile print a line when a server stops answering, and one when it answers again."""
    loop = asyncio.new_event_loop()
    looks = loop.create_task(_watch(model, endpoint))
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([looks])))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(looks.cancel)
        thread.join()
        loop.close()


async def _watch(model: str, endpoint: Endpoint) -> None:
    await asyncio.gather(*(_watch_one(url, model, endpoint) for url in endpoint.base_urls))


async def _watch_one(url: str, model: str, endpoint: Endpoint) -> None:
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    is_down = False
    async with connect(url, endpoint) as api:
        while True:
            await asyncio.sleep(REVIVAL_POLL_S if is_down else LOOK_EVERY_S)
            try:
                await served(api, url=url, model=model)
            except APIConnectionError as error:
                if not is_down:
                    # requests that time out are sent again, but nobody waits for the server
                    is_late = isinstance(error, APITimeoutError)
                    wait = "" if is_late else f"; waiting for it, up to {endpoint.patience_s:g} s"
                    _say(f"{url} does not answer ({words(error)}){wait}")
                is_down = True
                continue
            except APIStatusError as error:
                if error.status_code >= 500:  # it starts, or who stands before it tells that
                    continue
            except Abort:  # an answer all the same; what is wrong with it ends the run
                pass
            if is_down:
                _say(f"{url} answers again")
            is_down = False


def _say(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line, file=sys.stdout)  # above the progress bar
    sys.stdout.flush()
