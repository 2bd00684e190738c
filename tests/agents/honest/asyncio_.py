# ruff: noqa
import asyncio


async def f(x):
    await asyncio.sleep(0.01)
    return x


async def main():
    return await asyncio.gather(f(1), f(2))


assert asyncio.run(main()) == [1, 2]
