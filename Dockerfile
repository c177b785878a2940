# Two targets: `serve` (the default) has what answering requests needs and nothing else; `train` adds training.
FROM python:3.11-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/venv/bin:$PATH
RUN useradd --system --uid 10001 --create-home --home-dir /home/ganymede ganymede
WORKDIR /srv/ganymede

# Dependencies change seldom and are large: a stage and a layer of their own, which pyproject.toml alone decides.
# Say --build-arg PIP_INDEX_URL=... for another index, such as that of PyTorch's CPU builds.
FROM base AS dependencies
# And --build-arg EXTRAS=postgres for data sets whose jobs are in PostgreSQL.
ARG PIP_INDEX_URL
ARG EXTRAS=""
COPY pyproject.toml .
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; e = p['optional-dependencies']; \
        open('serve.txt', 'w').write('\n'.join(sum((e[x] for x in '${EXTRAS}'.split()), p['dependencies']))); \
        open('train.txt', 'w').write('\n'.join(e['train'] + e['hub']))" \
    && python -m venv /opt/venv \
    && /opt/venv/bin/pip install -r serve.txt \
    && find /opt/venv -name __pycache__ -prune -exec rm -rf {} +

FROM dependencies AS train-dependencies
RUN /opt/venv/bin/pip install -r train.txt && find /opt/venv -name __pycache__ -prune -exec rm -rf {} +

FROM base AS train
COPY --from=train-dependencies /opt/venv /opt/venv
COPY models models
COPY training training
RUN mkdir -p runs data && chown ganymede runs data models/zoo
USER ganymede
VOLUME ["/srv/ganymede/runs", "/srv/ganymede/data", "/srv/ganymede/models/zoo"]
ENTRYPOINT ["python", "-m", "training"]
CMD ["--help"]

FROM base AS serve
COPY --from=dependencies /opt/venv /opt/venv
COPY models/*.py models/
COPY models/families models/families
COPY app app
COPY models/zoo models/zoo
RUN mkdir storage && chown ganymede storage
USER ganymede
ENV GANYMEDE_HOST=0.0.0.0 GANYMEDE_PORT=8000 GANYMEDE_MODELS_DIR=/srv/ganymede/models/zoo GANYMEDE_STORAGE_DIR=/srv/ganymede/storage
VOLUME /srv/ganymede/storage
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"GANYMEDE_PORT\"]}/readyz', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["python", "-m", "app"]
