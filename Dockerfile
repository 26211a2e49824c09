# Two stages: a compiler builds the scanner in the first, the second has none.
FROM docker.io/library/python:3.13-slim AS build
# The image's compiler is whatever its distribution has; the build needs no particular version.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
RUN python -m venv /opt/bgproxy
COPY requirements.lock ./
RUN /opt/bgproxy/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY pyproject.toml setup.py README.md LICENSE ./
COPY bgproxy ./bgproxy
RUN /opt/bgproxy/bin/pip install --no-cache-dir --no-deps . \
    && /opt/bgproxy/bin/pip uninstall --yes pip setuptools

FROM docker.io/library/python:3.13-slim
# Of the build: --build-arg VERSION=… --build-arg REVISION="$(git rev-parse HEAD)"
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="bgproxy" \
      org.opencontainers.image.description="A blue-green reverse proxy" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim"
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin bgproxy \
    && install --directory --owner=bgproxy --group=bgproxy /var/lib/bgproxy
COPY --from=build /opt/bgproxy /opt/bgproxy
# Nothing is written outside of /var/lib/bgproxy: the root file system may be read-only.
ENV PATH=/opt/bgproxy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /var/lib/bgproxy
VOLUME /var/lib/bgproxy
EXPOSE 8080
# The admin API listens on loopback inside the container unless the configuration says otherwise.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["bgproxy", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["bgproxy"]
CMD ["run", "-c", "/etc/bgproxy/bgproxy.yaml"]
