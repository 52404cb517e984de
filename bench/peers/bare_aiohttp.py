"""The limit of the prompter: aiohttp, which it sends by, in a loop; the same receiver, and nothing kept."""

from __future__ import annotations

import asyncio
import os

from aiohttp import ClientSession, ClientTimeout, TCPConnector


async def _main() -> None:
    url, count = os.environ["BENCH_URL"], int(os.environ["BENCH_COUNT"])
    at_once, body = int(os.environ["BENCH_CONCURRENCY"]), os.environ["BENCH_BODY"].encode()
    numbers = iter(range(count))
    async with ClientSession(connector=TCPConnector(limit=at_once), timeout=ClientTimeout(total=10)) as session:

        async def post() -> None:
            for number in numbers:
                headers = {"webhook-id": f"bare-{number}", "content-type": "application/json"}
                async with session.post(url, data=body, headers=headers) as answer:
                    answer.raise_for_status()
                    await answer.read()

        await asyncio.gather(*(post() for _ in range(at_once)))


if __name__ == "__main__":
    asyncio.run(_main())
