"""Whether the configuration that runs is the one in the file, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge


class ReloadMetrics:
    """Gauges of the last reading of the configuration; the one at the start was good."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._is_good = Gauge(
            "bgproxy_config_last_reload_successful",
            "1 unless the last reading of the configuration was refused.",
            registry=registry,
        )
        self._at = Gauge(
            "bgproxy_config_last_reload_success_timestamp_seconds",
            "When the configuration that runs was read.",
            registry=registry,
        )
        self.succeeded()

    def succeeded(self) -> None:
        """The file's content is what runs now."""
        self._is_good.set(1)
        self._at.set_to_current_time()

    def failed(self) -> None:
        """The file's content was refused; what ran before still does."""
        self._is_good.set(0)
