"""What the prompter does not send by: httpx in a loop, the same message to the same receiver, and nothing kept."""

from __future__ import annotations

import asyncio
import os

import httpx


async def _main() -> None:
    url, count = os.environ["BENCH_URL"], int(os.environ["BENCH_COUNT"])
    at_once, body = int(os.environ["BENCH_CONCURRENCY"]), os.environ["BENCH_BODY"].encode()
    numbers = iter(range(count))
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=10) as client:

        async def post() -> None:
            for number in numbers:
                headers = {"webhook-id": f"bare-{number}", "content-type": "application/json"}
                (await client.post(url, content=body, headers=headers)).raise_for_status()

        await asyncio.gather(*(post() for _ in range(at_once)))


if __name__ == "__main__":
    asyncio.run(_main())
