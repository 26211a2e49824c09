"""The way back, proven on the whole product under load."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.dataplane.harness import PATIENCE
from tests.system.harness import Load, running, service_of
from tests.system.test_promises import two


async def test_a_drill_under_load_fails_nobody(tmp_path: Path) -> None:
    """There and back; both stand in the history, and no request failed."""
    async with running(tmp_path, service_of(*await two())) as product:
        load = Load(product.port, 4)
        await load.until_answers(20)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bgproxy", "drill", "--stay", "200ms", "--json"),
            *("--admin", f"http://127.0.0.1:{product.admin_port}"),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE * 2):
            said, _ = await process.communicate()
        await load.stop()
        facts = json.loads(said)
        assert (process.returncode, facts["errors"], load.failures) == (0, 0, [])
        assert facts["requests"] > 0
        _, history = await product.call("GET", "/v1/services/default/history")
        assert facts["gate"] == {"may_roll_back": True, "detail": "1 of 1 old backends answer well"}
        there, back = history["deployments"][1], history["deployments"][0]
        path = "/v1/services/default/deployments"
        _, kept = await product.call("GET", f"{path}/{back['id']}")
        assert kept["explanation"]["takes_back"] == there["id"]
        assert kept["explanation"]["bake"]["of_seconds"] == 600
        assert kept["explanation"]["drill"]["gate"] == facts["gate"]
        _, service = await product.call("GET", "/v1/services/default")
        assert service["active"] == "blue"
        kinds = [(one["kind"], one["to"], one["reason"]) for one in history["deployments"]]
        assert kinds == [("rollback", "blue", "drill"), ("switch", "green", "drill")]
