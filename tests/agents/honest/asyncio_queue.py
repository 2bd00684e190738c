# ruff: noqa
import asyncio


async def main():
    q = asyncio.Queue()
    await q.put(1)
    return await asyncio.wait_for(q.get(), 1)


assert asyncio.run(main()) == 1
