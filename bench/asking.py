"""`python -m bench.asking SOCKET RATE SECONDS PATH [TOKEN]`: requests at a steady rate, whatever the answers do.

The time of a request counts from when it was due, so that a server that stands still is not spared the requests it would have got. With a
token it asks `POST PATH` for ever other users, else `GET PATH`. Prints one JSON object.
"""

import asyncio
import sys
import time

import uvloop

from bench.report import quantiles
from schemas.codec import dumps

CONNECTIONS = 32
USERS = 20_000


async def main(socket: str, rate: float, seconds: float, path: str, token: str = "") -> None:
    due: asyncio.Queue[tuple[float, int] | None] = asyncio.Queue()
    taken_ms: list[float] = []
    statuses: dict[str, int] = {}

    async def ask() -> None:
        reader, writer = await asyncio.open_unix_connection(socket)
        while (next_one := await due.get()) is not None:
            at_s, number = next_one
            writer.write(request(path, token, number))
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            taken_ms.append((time.perf_counter() - at_s) * 1000)
            status = head.split(b" ", 2)[1].decode()
            statuses[status] = statuses.get(status, 0) + 1
        writer.close()

    asking = [asyncio.create_task(ask()) for _ in range(CONNECTIONS)]
    began_s = time.perf_counter()
    for number in range(round(rate * seconds)):
        at_s = began_s + number / rate
        if (wait_s := at_s - time.perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        due.put_nowait((at_s, number))
    for _ in asking:
        due.put_nowait(None)
    await asyncio.gather(*asking)
    took_s = time.perf_counter() - began_s
    print(dumps({"per_second": len(taken_ms) / took_s, "statuses": statuses, **quantiles(taken_ms)}))


def request(path: str, token: str, number: int) -> bytes:
    """The octets of one request."""
    if not token:
        return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    mac = (number % USERS).to_bytes(6).hex("-")
    body = f'{{"user":"user{number % USERS}","nas":"bench","calling_station_id":"{mac}"}}'
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:]))
