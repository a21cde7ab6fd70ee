# SPDX-License-Identifier: Apache-2.0
#
# The image holds leaseplaned, leasectl and the libraries they load: no shell, no package manager.
#   ./dev image
#   podman run --rm -p 127.0.0.1:7070:7070 leaseplane --pool gpu=8 --listen 0.0.0.0:7070 --insecure
# docs/deploy/container.md says how to run it. HEALTHCHECK needs `podman build --format=docker`.

FROM debian:bookworm-slim AS build
WORKDIR /src
# The package list is the one of ./dev, which reads these files; they change less often than the
# sources.
COPY dev ./
COPY deploy/tasks.sh deploy/
COPY tests/verify/tasks.sh tests/verify/
COPY tests/bench/tasks.sh tests/bench/
RUN ./dev deps core
COPY . .
RUN --mount=type=cache,target=/root/.cache/ccache \
    CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache cmake --preset release \
    && cmake --build --preset release --target leaseplaned leasectl \
    && deploy/container/make_root.sh /image build/release/bin/leaseplaned build/release/bin/leasectl

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="leaseplane" \
      org.opencontainers.image.description="Leases on shared resources: gRPC and shared memory" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="scratch"
COPY --from=build /image /
# Sockets and state are the only places written to, so the root may be read-only.
VOLUME ["/run/leaseplane", "/var/lib/leaseplane"]
USER 65532:65532
ENV PATH=/usr/bin
# gRPC; metrics with the health page.
EXPOSE 7070 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/bin/leasectl", "health"]
ENTRYPOINT ["/usr/bin/leaseplaned"]
