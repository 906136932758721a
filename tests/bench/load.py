"""The load generator: a fixed number of connections, each with one request under way, for a fixed time.

`python -m tests.bench.load` reads a job as JSON from its input, prints `measuring` when the warm-up is over and the
result as JSON when the run is. It runs in a process of its own, so that what it measures does not wait for it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time
from collections.abc import Callable

import uvloop

from tests.bench.grpc_client import GrpcConnection
from tests.bench.http_client import HttpConnection
from tests.bench.tally import Job, Result, Tally

_CONNECTIONS = {"http": HttpConnection, "grpc": GrpcConnection}


async def run(job: Job, measuring: Callable[[], None]) -> Result:
    """Runs a job and calls `measuring` when the warm-up is over. Failures of answers are in the result.

    Raises:
        OSError: nobody listens there.
    """
    loop = asyncio.get_running_loop()
    tally = Tally(job)
    loop.set_exception_handler(lambda _, context: tally.failed(f"the generator broke: {context['message']}"))
    if not job.warmup:
        tally.begin()
    make = _CONNECTIONS[job.protocol]
    pairs = [await loop.create_connection(lambda: make(job, tally), job.host, job.port) for _ in range(job.connections)]
    closed = asyncio.gather(*(connection.closed for _, connection in pairs))
    await asyncio.wait([closed], timeout=job.warmup)
    if job.warmup:
        tally.begin()
    measuring()
    cpu = time.process_time()
    await asyncio.wait([closed], timeout=job.duration)
    cpu = time.process_time() - cpu
    tally.stop()
    done, _ = await asyncio.wait([closed], timeout=job.patience)
    if not done:
        tally.failed(f"an answer did not come within {job.patience:g} s")
        for transport, _ in pairs:
            transport.abort()
        await closed
    return tally.result(cpu)


def main() -> None:
    """Runs the job that comes as JSON."""
    job = Job(**json.load(sys.stdin))
    result = uvloop.run(run(job, lambda: print("measuring", flush=True)))
    print(json.dumps(dataclasses.asdict(result)), flush=True)


if __name__ == "__main__":
    main()
