# SPDX-License-Identifier: Apache-2.0
#
# Builds the daemon and the command-line tool, and runs the daemon:
#   podman build -t leaseplane .
#   podman run --rm -p 127.0.0.1:7070:7070 leaseplane --pool gpu=8 --listen 0.0.0.0:7070 --insecure

FROM debian:bookworm-slim AS build
WORKDIR /src
COPY dev ./
RUN ./dev deps core
COPY . .
RUN cmake --preset release \
    && cmake --build --preset release --target leaseplaned leasectl \
    && strip build/release/bin/leaseplaned build/release/bin/leasectl

FROM debian:bookworm-slim
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        libabsl20220623 libfmt9 libgrpc++1.51 libprometheus-cpp-core1.0 \
        libprometheus-cpp-pull1.0 libprotobuf32 libspdlog1.10 libsqlite3-0 libyaml-cpp0.7 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 65532 leaseplane \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin leaseplane \
    && install -d -o leaseplane -g leaseplane -m 0755 /run/leaseplane \
    && install -d -o leaseplane -g leaseplane -m 0700 /var/lib/leaseplane
COPY --from=build /src/build/release/bin/leaseplaned /src/build/release/bin/leasectl /usr/bin/
USER 65532:65532
VOLUME /var/lib/leaseplane
# gRPC, and metrics with the health page.
EXPOSE 7070 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["leasectl", "health"]
ENTRYPOINT ["leaseplaned"]
