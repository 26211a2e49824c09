"""The files of certificates, for Prometheus: bad ones, and when good ones expire."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from bgproxy.config.settings import Settings


class FileMetrics:
    """Gauges that `show` sets anew."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._degraded = Gauge(
            "bgproxy_degraded_files",
            "1 for a file of certificates that could not be used at the start.",
            ("file", "service"),
            registry=registry,
        )
        self._expiry = Gauge(
            "bgproxy_certificate_expiry_timestamp_seconds",
            "When a listener's certificate expires.",
            ("file",),
            registry=registry,
        )

    def show(self, settings: Settings) -> None:
        """Show what a configuration uses, in place of what was shown before."""
        self._degraded.clear()
        self._expiry.clear()
        for bad in settings.degraded:
            self._degraded.labels(bad.file, bad.service).set(1)
        for listener in settings.listeners:
            for files in listener.tls.certificates if listener.tls else ():
                if files.content is not None:
                    self._expiry.labels(str(files.certificate)).set(files.content.not_after)
