"""The REST service with many clients at once: errors, latency, memory."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from presets import PRESET
from tool import Tool

SMOKE = PRESET.name == "smoke"
CLIENTS = int(os.environ.get("CLIENTS", "20" if SMOKE else "200"))
STREAMS = int(os.environ.get("STREAMS", "5" if SMOKE else "50"))
SECONDS = float(os.environ.get("SECONDS", {"smoke": "5", "short": "30"}.get(PRESET.name, "60")))


async def _load(url: str, token: str, run: str) -> tuple[list[float], list[str], int]:
    import aiohttp

    latencies: list[float] = []
    errors: list[str] = []
    events = 0
    until = time.monotonic() + SECONDS
    headers = {"Authorization": f"Bearer {token}"}
    limit = aiohttp.TCPConnector(limit=CLIENTS + STREAMS)
    async with aiohttp.ClientSession(headers=headers, connector=limit) as session:

        async def poll(number: int) -> None:
            await asyncio.sleep(number / CLIENTS)
            while time.monotonic() < until:
                begun = time.perf_counter()
                try:
                    async with session.get(f"{url}/runs/{run}") as answer:
                        await answer.read()
                        if answer.status != 200:
                            errors.append(str(answer.status))
                except aiohttp.ClientError as error:
                    errors.append(repr(error))
                latencies.append(time.perf_counter() - begun)
                await asyncio.sleep(1)

        async def follow() -> None:
            nonlocal events
            try:
                async with session.get(f"{url}/runs/{run}/logs") as answer:
                    while time.monotonic() < until:
                        try:
                            line = await asyncio.wait_for(
                                answer.content.readline(), until - time.monotonic()
                            )
                        except TimeoutError:
                            return
                        events += line.startswith(b"event:")
            except aiohttp.ClientError as error:
                errors.append(repr(error))

        await asyncio.gather(
            *(poll(n) for n in range(CLIENTS)), *(follow() for _ in range(STREAMS))
        )
    return latencies, errors, events


def test_many_clients_at_once(tool: Tool, tmp_path: Path, results: list[dict[str, Any]]) -> None:
    (tmp_path / "talk.py").write_text(
        f"import time\nfor n in range({int(SECONDS) * 2 + 60}):\n    print(n, flush=True)\n"
        "    time.sleep(0.5)\n"
    )
    words = ("cluster", "deploy", "default", "--provider=local", "--workers=1", "--quiet")
    tool("sparknomad", *words)
    run = tool("sparknomad", "job", "run", str(tmp_path / "talk.py"), "--detach", "--quiet").strip()
    token = tool("sparknomad", "service", "token", "create", "load", "--role=reader").strip()
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("cms")), "sparknomad", "service", "start", "--port=0"],
        env=tool.environment,
        cwd=tool.home,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr
            line = next(line for line in process.stderr if "serving " in line)
            url = line.split("serving ")[1].strip()
            server = psutil.Process(process.pid)
            before = server.memory_info().rss
            latencies, errors, events = asyncio.run(_load(url, token, run))
            after = server.memory_info().rss
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    ordered = sorted(latencies)
    results.append(
        {
            "name": f"REST: {CLIENTS} clients, each polling a run every second, {STREAMS} logs",
            "goal": "no error, p99 of a poll below 0.25 s, memory flat",
            "seconds": SECONDS,
            "requests": len(latencies),
            "errors": len(errors),
            "kinds_of_errors": sorted(set(errors))[:5],
            "events": events,
            "p50": round(ordered[len(ordered) // 2], 4),
            "p99": round(ordered[int(len(ordered) * 0.99)], 4),
            "most": round(ordered[-1], 4),
            "memory_mb": [round(before / 1e6, 1), round(after / 1e6, 1)],
        }
    )
