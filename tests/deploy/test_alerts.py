"""The alerts, each with a history in which it fires and moments before and after in which not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.deploy.tools import CONFIG, expect_success

RULES = [CONFIG / "prometheus" / name for name in ("rules.yml", "alerts.yml")]

INSTANCE = 'job="bgproxy", instance="a:8081"'
SHOP = f'{INSTANCE}, service="shop"'
BLUE = f'{SHOP}, environment="blue"'
GREEN = f'{SHOP}, environment="green"'

HOLDS = "bgproxy_rollbacks_held_total"
SWITCHES = "bgproxy_switches_total"
EXPIRY = "bgproxy_certificate_expiry_timestamp_seconds"


@dataclass(frozen=True)
class Story:
    """A history, one value every 15 seconds in Prometheus' notation, and what is told of it.

    Args:
        quiet: moments at which the alert does not fire.
        firing: the moment at which it does; none where it never should.
        labels: what it then says beside its severity.
    """

    alert: str
    series: dict[str, str]
    quiet: tuple[str, ...]
    firing: str = ""
    labels: str = ""
    severity: str = ""


def _up(environment: str, values: str) -> dict[str, str]:
    return {f'bgproxy_backend_up{{{environment}, backend="http://b:1"}}': values}


def _active(blue: str, green: str) -> dict[str, str]:
    name = "bgproxy_active_environment"
    return {f"{name}{{{BLUE}}}": blue, f"{name}{{{GREEN}}}": green}


def _judged(environment: str, successes: str, failures: str) -> dict[str, str]:
    """Requests of an environment by what became of them."""
    return {
        f'bgproxy_requests_total{{{environment}, code="200"}}': successes,
        f'bgproxy_requests_total{{{environment}, code="500"}}': failures,
        f'bgproxy_upstream_errors_total{{{environment}, reason="server_error"}}': failures,
    }


STORIES = {
    "the judge takes a release back; people do not": Story(
        "BgproxyAutomaticRollback",
        {
            f'bgproxy_pointer_moves_total{{{BLUE}, kind="auto_rollback"}}': "0x8 1x80",
            f'bgproxy_pointer_moves_total{{{GREEN}, kind="switch"}}': "0x4 1x84",
            f'bgproxy_pointer_moves_total{{{GREEN}, kind="rollback"}}': "0x4 1x84",
        },
        quiet=("1m45s", "15m"),
        firing="3m",
        labels=BLUE,
        severity="critical",
    ),
    "the judge may not act, because both fail": Story(
        "BgproxyBothEnvironmentsFailing",
        {f'{HOLDS}{{{GREEN}, cause="both_failing"}}': "0x8 1x80"},
        quiet=("2m", "15m"),
        firing="4m",
        labels=SHOP,
        severity="critical",
    ),
    "no backend of either environment is healthy": Story(
        "BgproxyBothEnvironmentsFailing",
        _up(BLUE, "1x4 0x8 1x20") | _up(GREEN, "1x8 0x8 1x16"),
        quiet=("2m", "6m"),
        firing="3m",
        labels=SHOP,
        severity="critical",
    ),
    "one environment has no healthy backend": Story(
        "BgproxyBothEnvironmentsFailing",
        _up(BLUE, "0x40") | _up(GREEN, "1x40"),
        quiet=("2m", "8m"),
    ),
    "harm is found and the way back is gone": Story(
        "BgproxyRollbackHeld",
        {
            f'{HOLDS}{{{GREEN}, cause="gone"}}': "0x8 1x80",
            f'{HOLDS}{{{GREEN}, cause="both_failing"}}': "0x4 1x84",
        },
        quiet=("1m45s", "15m"),
        firing="3m",
        labels=f'{GREEN}, cause="gone"',
        severity="critical",
    ),
    "the old release stops before the bake is over": Story(
        "BgproxyNoWayBack",
        _up(BLUE, "1x8 0x40")
        | _up(GREEN, "1x50")
        | _active("0x50", "1x50")
        | {f'bgproxy_phase{{{SHOP}, phase="baking"}}': "1x30 0x20"},
        quiet=("2m", "9m"),
        firing="3m",
        labels=SHOP,
        severity="warning",
    ),
    "a drain cuts requests; tunnels are cut every time": Story(
        "BgproxyDrainTimedOut",
        {
            f'bgproxy_drain_closed_total{{{BLUE}, what="requests"}}': "0x8 2x80",
            f'bgproxy_drain_closed_total{{{GREEN}, what="tunnels"}}': "0x4 9x84",
        },
        quiet=("1m45s", "15m"),
        firing="3m",
        labels=BLUE,
        severity="warning",
    ),
    "a bake ends without a verdict": Story(
        "BgproxyJudgeInconclusive",
        {
            f'{SWITCHES}{{{GREEN}, kind="switch", outcome="inconclusive"}}': "0x8 1x400",
            f'{SWITCHES}{{{GREEN}, kind="switch", outcome="passed"}}': "0x4 1x404",
        },
        quiet=("1m45s", "80m"),
        firing="3m",
        labels=GREEN,
        severity="info",
    ),
    "nobody ends a pause": Story(
        "BgproxyPaused",
        {f'bgproxy_phase{{{SHOP}, phase="paused"}}': "0x4 1x8 0x20"},
        quiet=("1m30s", "5m"),
        firing="2m45s",
        labels=SHOP,
        severity="warning",
    ),
    "the active environment has no healthy backend": Story(
        "BgproxyNoHealthyBackend",
        _up(BLUE, "1x8 0x8 1x20") | _up(GREEN, "0x40") | _active("1x40", "0x40"),
        quiet=("2m", "6m"),
        firing="3m",
        labels=BLUE,
        severity="critical",
    ),
    "a backend of the active environment is down": Story(
        "BgproxyBackendDown",
        _up(BLUE, "1x8 0x16 1x20") | _up(GREEN, "0x60") | _active("1x60", "0x60"),
        quiet=("3m", "8m"),
        firing="5m",
        labels=f'{BLUE}, backend="http://b:1"',
        severity="warning",
    ),
    "requests fail after the bake; the idle side does not count": Story(
        "BgproxyErrorShareHigh",
        _judged(BLUE, "0+90x100", "0x20 0+10x80")
        | _judged(GREEN, "0x100", "0+90x100")
        | _active("1x100", "0x100"),
        quiet=("8m",),
        firing="14m",
        labels='job="bgproxy", service="shop", environment="blue"',
        severity="critical",
    ),
    "a queue is full": Story(
        "BgproxyRefusingRequests",
        {
            f'bgproxy_cut_requests_total{{{BLUE}, side="proxy", reason="overloaded"}}': (
                "0x8 0+10x20 200x60"
            )
        },
        quiet=("2m", "20m"),
        firing="4m",
        labels=SHOP,
        severity="warning",
    ),
    "there are too many connections": Story(
        "BgproxyTurningConnectionsAway",
        {f"bgproxy_connections_turned_away_total{{{INSTANCE}}}": "0x8 0+10x20 200x60"},
        quiet=("2m", "20m"),
        firing="4m",
        labels=INSTANCE,
        severity="warning",
    ),
    "the supervisor does not answer": Story(
        "BgproxyDown",
        {f"up{{{INSTANCE}}}": "1x8 0x8 1x20"},
        quiet=("2m", "6m"),
        firing="3m",
        labels=INSTANCE,
        severity="critical",
    ),
    "the proxy is not ready": Story(
        "BgproxyNotReady",
        {f"bgproxy_ready{{{INSTANCE}}}": "1x8 0x8 1x20"},
        quiet=("2m", "6m"),
        firing="3m30s",
        labels=INSTANCE,
        severity="critical",
    ),
    "a worker stays away": Story(
        "BgproxyWorkersMissing",
        {
            f"bgproxy_workers{{{INSTANCE}}}": "4x8 3x8 4x20",
            f"bgproxy_workers_wanted{{{INSTANCE}}}": "4x40",
        },
        quiet=("2m", "6m"),
        firing="3m",
        labels=INSTANCE,
        severity="critical",
    ),
    "a worker dies": Story(
        "BgproxyWorkerDied",
        {f"bgproxy_worker_deaths_total{{{INSTANCE}}}": "0x8 1x120"},
        quiet=("1m45s", "25m"),
        firing="3m",
        labels=INSTANCE,
        severity="warning",
    ),
    "a configuration is refused": Story(
        "BgproxyConfigReloadFailed",
        {f"bgproxy_config_last_reload_successful{{{INSTANCE}}}": "1x8 0x8 1x20"},
        quiet=("2m", "6m"),
        firing="3m30s",
        labels=INSTANCE,
        severity="warning",
    ),
    "a certificate has less than two weeks": Story(
        "BgproxyCertificateExpires",
        {f'{EXPIRY}{{{INSTANCE}, file="shop.pem"}}': "1209900x200"},
        quiet=("4m", "10m"),
        firing="20m",
        labels=f'{INSTANCE}, file="shop.pem"',
        severity="warning",
    ),
    "a certificate has less than two days, until it is renewed": Story(
        "BgproxyCertificateAlmostExpired",
        {f'{EXPIRY}{{{INSTANCE}, file="shop.pem"}}': "172920x40 7776000x40"},
        quiet=("1m", "15m"),
        firing="5m",
        labels=f'{INSTANCE}, file="shop.pem"',
        severity="critical",
    ),
    "a certificate cannot be used": Story(
        "BgproxyCertificateFileBad",
        {f'bgproxy_degraded_files{{{INSTANCE}, file="shop.pem"}}': "_x8 1x8 stale"},
        quiet=("1m", "6m"),
        firing="3m",
        labels=f'{INSTANCE}, file="shop.pem"',
        severity="critical",
    ),
    "the access log falls behind": Story(
        "BgproxyAccessLogFallsBehind",
        {f"bgproxy_access_log_lines_lost_total{{{INSTANCE}}}": "0x8 5x120"},
        quiet=("1m45s", "25m"),
        firing="3m",
        labels=INSTANCE,
        severity="info",
    ),
}


def _written(story: Story) -> dict[str, object]:
    """A story as promtool reads it.

    Alerts are asked for by the series that Prometheus makes of them: with its own test of alerts
    every sentence for people would have to stand here once more.
    """
    firing = f'ALERTS{{alertname="{story.alert}", alertstate="firing"}}'
    tests: list[dict[str, object]] = [
        {"expr": firing, "eval_time": moment, "exp_samples": []} for moment in story.quiet
    ]
    if story.firing:
        labels = f'{firing[:-1]}, severity="{story.severity}", {story.labels}}}'
        told = [{"labels": labels, "value": 1}]
        tests.append({"expr": firing, "eval_time": story.firing, "exp_samples": told})
    series = [{"series": name, "values": values} for name, values in story.series.items()]
    return {"interval": "15s", "input_series": series, "promql_expr_test": tests}


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    """Over invented histories, by Prometheus' own evaluation, which names the story that fails."""
    file = tmp_path / "stories.yml"
    document = {
        "rule_files": list(map(str, RULES)),
        "evaluation_interval": "15s",
        "tests": [{"name": title} | _written(story) for title, story in STORIES.items()],
    }
    file.write_text(yaml.safe_dump(document))
    expect_success("promtool", "test", "rules", file)


def test_every_alert_has_a_story_and_a_severity() -> None:
    """And every one says what to do."""
    alerts = [
        rule for group in yaml.safe_load(RULES[1].read_text())["groups"] for rule in group["rules"]
    ]
    assert {alert["alert"] for alert in alerts} == {
        story.alert for story in STORIES.values() if story.firing
    }
    for alert in alerts:
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(alert["annotations"]) == {"summary", "description"}


def test_the_rules_are_well_formed() -> None:
    """In Prometheus' own eyes."""
    expect_success("promtool", "check", "rules", *RULES)
    expect_success("promtool", "check", "config", CONFIG / "prometheus" / "prometheus.yml")
