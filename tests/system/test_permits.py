"""Two people, two tokens, over the whole product and its command line."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.dataplane.harness import PATIENCE
from tests.system.harness import Product, running, service_of
from tests.system.test_promises import two

TOKENS = {name: f"token-of-{name}-0123456789abcdef" for name in ("ann", "bob")}


async def started(product: Product, who: str, *arguments: str) -> asyncio.subprocess.Process:
    """The command line in somebody's name."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bgproxy", "--admin", f"http://127.0.0.1:{product.admin_port}"),
        *("--token", TOKENS[who], *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Exit status, and all it said."""
    async with asyncio.timeout(PATIENCE * 2):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, (out + err).decode()


async def run(product: Product, who: str, *arguments: str) -> tuple[int, str]:
    return await ended(await started(product, who, *arguments))


async def test_a_held_switch_needs_the_other_one_and_no_restart_approves_it(
    tmp_path: Path,
) -> None:
    """Ann asks, ann may not approve, bob does; what waits at a crash is given up."""
    config = service_of(*await two())
    tokens = [{"name": name, "role": "switch", "token": t} for name, t in TOKENS.items()]
    config["admin"] = {"tokens": tokens}
    product = Product(tmp_path, config)
    await product.start()
    try:
        waiting = await started(product, "ann", "switch", "green", "--hold", "--wait", "applied")
        await product.until_logged('"event": "held"')
        status, said = await run(product, "ann", "approve")
        assert (status, "same-actor" in said) == (1, True)
        status, said = await run(product, "bob", "approve", "--deployment", "1")
        assert (status, "green is live, generation 2" in said) == (0, True)
        status, said = await ended(waiting)
        assert (status, "waits for an approval" in said) == (0, True)

        again = ("switch", "blue", "--hold", "--on-timeout", "proceed", "--wait", "held")
        status, said = await run(product, "ann", *again)
        assert (status, "waits for an approval: goes on at" in said) == (0, True)
        await product.kill_everything()
        await product.start()
        status, said = await run(product, "bob", "approve")
        assert (status, "nothing-to-approve" in said) == (1, True)
        status, said = await run(product, "bob", "history")
        assert said.splitlines()[1].split()[-2:] == ["failed", "ann"]
        assert b"green" in await product.get()
    finally:
        await product.kill_everything()


async def test_the_judge_and_people_pass_a_lock_a_drill_does_not(tmp_path: Path) -> None:
    """Status says why; a forced switch is refused all the same."""
    async with running(tmp_path, service_of(*await two())) as product:
        await product.switch(to="green", wait="drained")
        await product.call("POST", "/v1/services/default/lock", {"reason": "frozen"})
        status, said = await run(product, "ann", "status")
        assert (status, "locked by" in said, "frozen" in said) == (0, True, True)
        for command in (("switch", "blue", "--force"), ("drill",)):
            status, said = await run(product, "ann", *command)
            assert status == 1, said
        status, said = await run(product, "ann", "rollback")
        assert (status, "blue is live" in said) == (0, True)
