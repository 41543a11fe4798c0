# The one image, for the node plugin and for the controller: docker build -t sharedcache .
# hack/image builds it without a Docker engine.
#
# The second stage holds the program, the libraries it is linked with, CA certificates and nothing else: no shell, no package
# manager, no mount helpers (the program mounts NFS and SMB through libmount and the kernel itself).

FROM docker.io/library/debian:bookworm-slim AS build
WORKDIR /src
COPY hack/setup hack/lib.sh hack/debian-mirror hack/
RUN hack/setup build && apt-get install -y --no-install-recommends ca-certificates
COPY CMakeLists.txt CMakePresets.json LICENSE ./
COPY cmake cmake
COPY base base
COPY mount mount
COPY cachecore cachecore
COPY csi csi
RUN cmake --preset release -DSC_TESTS=OFF && cmake --build --preset release
COPY hack/image-root hack/
RUN hack/image-root build/release/sharedcache /image

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Shared Cache CSI" \
      org.opencontainers.image.description="CSI plugin that gives pods their input files from one cache of the whole cluster" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="scratch"
COPY --from=build /image /
# Root, because the node plugin mounts; the fetcher that it starts, and the controller (by its manifest), are 65532.
ENTRYPOINT ["/usr/bin/sharedcache"]
CMD ["--help"]
