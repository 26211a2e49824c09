"""The Grafana dashboard: no Grafana runs here, but every query is held against what is served."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.admin_double import Admin
from tests.deploy.tools import CONFIG, expect_success

DASHBOARD: dict[str, Any] = json.loads((CONFIG / "grafana" / "bgproxy.json").read_text())

VARIABLES = {
    "$__rate_interval": "1m",
    "$__range": "1h",
    "$job": ".*",
    "$instance": ".*",
    "$service": ".*",
}


def queries() -> Iterator[str]:
    """Every query of the dashboard, with values in place of Grafana's variables."""
    panels = DASHBOARD["panels"]
    written = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    written += [each["expr"] for each in DASHBOARD["annotations"]["list"]]
    for query in written:
        for variable, value in VARIABLES.items():
            query = query.replace(variable, value)
        yield query


async def test_queries_ask_for_metrics_that_exist() -> None:
    """By name, and by the labels that they have."""
    async with Admin() as admin:
        body, _ = await admin.metrics.render("")
    served = set(re.findall(r"^# TYPE (bgproxy_\w+)", body.decode(), re.MULTILINE))
    texts = [*queries(), *map(str, DASHBOARD["templating"]["list"])]
    asked = set(re.findall(r"bgproxy_\w+", " ".join(texts)))
    assert len(asked) > 20
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} <= served


def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    """No variable is left over either."""
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries())]
    assert not [rule for rule in rules if "$" in rule["expr"]]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    expect_success("promtool", "check", "rules", file)


def test_panels_say_what_they_show_and_do_not_overlap() -> None:
    """On Grafana's grid of 24 columns; each has an id of its own."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["description"].endswith("."), panel["title"]
