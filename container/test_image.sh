#!/usr/bin/env bash
# Builds the image `base` on a Debian tree made by debootstrap (no image is pulled), runs both levels of the app in it
# as a user that it does not know, with a read-only root file system, read-only input and no network, and compares
# what it wrote with what the app writes on this machine. Needs root, and Debian's debootstrap, podman and runc.
#
#   container/test_image.sh [build|run|all]
#
# EPVS_IMAGE_STORAGE (default /var/tmp/epvs-image) keeps the images and the data: a second build only repeats what changed.
# The CPU build of PyTorch comes from container/wheels/ or from pip's own find-links.
set -euo pipefail
cd "$(dirname "$0")/.."
storage=${EPVS_IMAGE_STORAGE:-/var/tmp/epvs-image}
python=${EPVS_PYTHON:-.venv/bin/python}
image=localhost/epvs-bids:base
uid=12345

for tool in debootstrap podman runc; do
  command -v $tool >/dev/null || { echo "$tool is missing: apt-get install debootstrap podman runc" >&2; exit 66; }
done
mkdir -p "$storage"

container() {
  podman --root "$storage/images" --runroot "$storage/run" --runtime runc "$@"
}

import_debian() {
  container image exists localhost/debian:bookworm-slim && return
  debootstrap --variant=minbase bookworm "$storage/debian" >"$storage/debootstrap.log"
  tar -C "$storage/debian" -c . | container import - localhost/debian:bookworm-slim
  rm -rf "$storage/debian"
}

# The build sees tracked files only, and this machine's wheels and certificates.
build() {
  local context=$storage/context links
  rm -rf "$context" && mkdir -p "$context"
  git ls-files -z --cached | xargs -0 cp --parents -t "$context"
  links=${PIP_FIND_LINKS:-$($python -m pip config get global.find-links 2>/dev/null || true)}
  cp container/wheels/*.whl "${links:-/nonexistent}"/torch-*cpu*.whl "$context/container/wheels/" 2>/dev/null || true
  printf '[global]\ncert = /run/host-certificates.crt\n' >"$storage/pip.conf"
  container build --layers --network host --target base --tag $image --file "$context/Dockerfile" \
    --volume "$storage/pip.conf:/etc/pip.conf:ro" \
    --volume "${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}:/run/host-certificates.crt:ro" \
    --build-arg BASE_IMAGE=localhost/debian:bookworm-slim --build-arg ACCELERATOR=cpu --build-arg TEMPLATEFLOW=none \
    --build-arg "VERSION=$(cat version)" --build-arg "REVISION=$(git rev-parse HEAD)" "$context"
  container image inspect --format 'Size of the image: {{.Size}} bytes in {{len .RootFS.Layers}} layers' $image
}

# Limits are given because the runtime's own defaults may exceed what this machine allows.
app_in_image() {
  container run --rm --read-only --network none --user $uid:$uid --cap-drop all \
    --ulimit nofile=4096:4096 --ulimit nproc=4096:4096 \
    --volume "$storage/bids:/bids:ro" --volume "$storage/image-out:/out" $image "$@"
}

run() {
  local level options=(--random-seed 7 --nprocs 1 --omp-nthreads 1 --template MNI152NLin2009aSym)
  rm -rf "$storage"/{bids,host-out,host-work,image-out}
  $python -m epvs_bids.simulation.cli "$storage/bids" --participants 2 --voxel-size 2 2 2 --seed 7
  mkdir -p "$storage"/{host-out,image-out}
  chown $uid:$uid "$storage/image-out"
  app_in_image --version
  for level in participant group; do
    app_in_image /bids /out $level "${options[@]}" --work-dir /tmp/work
    $python run.py "$storage/bids" "$storage/host-out" $level "${options[@]}" --work-dir "$storage/host-work"
  done
  $python tools/compare_outputs.py "$storage/host-out" "$storage/image-out"
}

import_debian
case "${1:-all}" in
  build) build ;;
  run) run ;;
  all) build; run ;;  # with && a failed step of build would go unseen
  *) echo "container/test_image.sh [build|run|all]" >&2; exit 64 ;;
esac
