#!/bin/sh
# Steps of the image, shared by Dockerfile and Singularity: container/install.sh STEP.
# Run as root in a Debian 12 tree; the repository's container/, requirements.lock and package lie in $SOURCE.
set -eu
SOURCE=${SOURCE:-/src}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore DEBIAN_FRONTEND=noninteractive

debian() {
  apt-get update -q
  apt-get install -y -q --no-install-recommends "$@"
  rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
}

# Makes a virtual environment of locked files: each must have the hash in the lock, also what builds from source.
environment() {
  folder=$1
  shift
  python3 -m venv "$folder"
  for lock in build.lock "$@"; do
    "$folder/bin/pip" install --quiet --no-deps --no-build-isolation --require-hashes \
      --find-links "$SOURCE/container/wheels" -r "$SOURCE/container/$lock"
  done
  "$folder/bin/pip" uninstall --quiet --yes cython wheel
  find "$folder" -type d -name tests -prune -exec rm -rf {} +
}

case "$1" in
  runtime) debian ca-certificates python3 ;;
  compilers) debian g++ python3-dev python3-venv ;;
  samseg) # Python 3.11 and numpy 1: an environment of its own
    environment /opt/samseg samseg.lock
    ;;
  dependencies) # $2: cuda or cpu
    environment /opt/epvs "torch-$2.lock" ../requirements.lock
    ;;
  bill) # what is inside, in CycloneDX; the Debian packages are in dpkg's own list
    environment /tmp/sbom sbom.lock
    mkdir -p /opt/sbom
    /tmp/sbom/bin/cyclonedx-py environment --output-reproducible -o /opt/sbom/epvs.cdx.json /opt/epvs/bin/python
    /tmp/sbom/bin/cyclonedx-py environment --output-reproducible -o /opt/sbom/samseg.cdx.json /opt/samseg/bin/python
    rm -rf /tmp/sbom
    ;;
  app) # apart from the dependencies, so that a new version of the app is a small layer
    /opt/epvs/bin/pip install --quiet --no-deps --no-build-isolation --target /opt/app "$SOURCE"
    echo /opt/app >"$(/opt/epvs/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/epvs-app.pth"
    ;;
  templates) # $2: download, copy (from container/templateflow) or none (the template that nilearn ships is used)
    mkdir -p "$TEMPLATEFLOW_HOME"
    case "$2" in
      download) /opt/epvs/bin/python "$SOURCE/container/bake_templates.py" ;;
      copy) cp -r "$SOURCE"/container/templateflow/tpl-* "$TEMPLATEFLOW_HOME" ;;
      none) ;;
      *) echo "TEMPLATEFLOW is download, copy or none, not '$2'." >&2; exit 64 ;;
    esac
    chmod -R a+rX "$TEMPLATEFLOW_HOME"
    ;;
  freesurfer-libraries) debian bc libgl1 libglu1-mesa libgomp1 libquadmath0 libx11-6 perl procps tcsh ;;
  freesurfer-trim) # keeps what recon-all needs up to aseg.mgz, and SynthSeg
    cd "$2"
    rm -rf average/mult-comp-cor average/SVIP* average/*HippoSF* average/Buckner_JNeurophysiol11_MNI152 \
      average/Yeo_JNeurophysiol11_MNI152 average/ThalamicNuclei average/BrainstemSS average/tracula \
      diffusion docs fsfast lib/bem lib/cuda lib/images lib/qt lib/resource lib/tcl lib/tktools lib/vtk matlab \
      mni/include mni/share/man mni/mni.srcbuild.June2015.tgz mni-1.4 sessions subjects tktools trctrain \
      bin/*.tcl bin/freeview* bin/qdec* bin/tk*
    find models -type f ! -name 'synthseg*' -delete
    mkdir subjects
    ;;
  *) echo "Unknown step: $1" >&2; exit 64 ;;
esac
