# syntax=docker/dockerfile:1

# Needs BuildKit (the default of Docker since 23, or Podman): dependencies are kept in caches between builds.
#
#     docker build --tag skranke .
#     docker run --rm --publish 8080:8080 --volume skranke-data:/data --name skranke skranke
#     docker exec skranke /usr/local/bin/skranke token --role admin --email you@example.org --name You

FROM rust:1.95.0-slim-bookworm AS builder
WORKDIR /build
# What the program is made of and nothing else; see .dockerignore.
COPY . .
# The caches are not part of the image, so the program is copied out of them. /data has to exist here, because the
# second stage has no shell to make it.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/build/target,sharing=locked \
    cargo build --release --locked --bin skranke \
    && install -D -m 0755 target/release/skranke /out/usr/local/bin/skranke \
    && install -d -m 0700 /out/data

# The same Debian as above, so that the C library fits; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=builder /out/usr/local/bin/skranke /usr/local/bin/skranke
# 65532 is the user `nonroot` of this image. A new volume takes its owner and its mode from this directory.
COPY --from=builder --chown=65532:65532 --chmod=0700 /out/data /data
USER 65532:65532
WORKDIR /data
ENV DATABASE_URL=sqlite:///data/skranke.db \
    SKRANKE_LISTEN=0.0.0.0:8080 \
    MIMALLOC_PURGE_DELAY=10
VOLUME ["/data"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["/usr/local/bin/skranke", "health"]
ENTRYPOINT ["/usr/local/bin/skranke"]
CMD ["serve"]
