# Sextant's server for production: PostgreSQL or TimescaleDB runs elsewhere (SEXTANT_DATABASE_URL or _FILE).

FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/sextant
COPY requirements/runtime.txt requirements/
RUN /opt/sextant/bin/pip install --no-deps --require-hashes -r requirements/runtime.txt
# The wheel is built apart, with locked tools that stay out of the image.
COPY requirements/build.txt requirements/
RUN python -m venv /opt/tools \
    && /opt/tools/bin/pip install --no-deps --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY src src
COPY migrations migrations
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/sextant/bin/pip install --no-deps --no-index dist/*.whl

FROM python:3.12-slim-bookworm
RUN groupadd --system --gid 10001 sextant \
    && useradd --system --uid 10001 --gid sextant --home-dir /var/lib/sextant --create-home sextant
COPY --from=build /opt/sextant /opt/sextant
ENV PATH=/opt/sextant/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SEXTANT_SERVER_HOST=0.0.0.0 \
    SEXTANT_SERVER_DATA_DIR=/var/lib/sextant \
    SEXTANT_LOG_FORMAT=json
USER sextant
VOLUME /var/lib/sextant
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["sextant"]
CMD ["serve"]
