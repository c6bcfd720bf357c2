# Two images: `base` (results of FreeSurfer, FastSurfer or SynthSeg are read; SAMSEG is embedded) and `full`
# (`base` and FreeSurfer). docs/containers.md says how to build and run them, and which stages were tested.
ARG BASE_IMAGE=debian:bookworm-slim
ARG FREESURFER_IMAGE=freesurfer/freesurfer:7.4.1

FROM ${BASE_IMAGE} AS python
COPY container/install.sh /src/container/install.sh
RUN /src/container/install.sh runtime && rm -rf /src

FROM python AS builder
# cuda: PyTorch from the package index, with NVIDIA's libraries; cpu: the wheel in container/wheels/.
ARG ACCELERATOR=cuda
COPY container/install.sh /src/container/
RUN /src/container/install.sh compilers
COPY container/*.lock /src/container/
RUN /src/container/install.sh samseg
COPY container/wheels /src/container/wheels
COPY requirements.lock /src/
RUN /src/container/install.sh dependencies "${ACCELERATOR}"
RUN /src/container/install.sh bill
COPY pyproject.toml README.md LICENSE version run.py /src/
COPY epvs_bids /src/epvs_bids
RUN /src/container/install.sh app

FROM builder AS templates
# download: from TemplateFlow; copy: from container/templateflow/; none: the template that nilearn ships.
ARG TEMPLATEFLOW=download
ENV TEMPLATEFLOW_HOME=/opt/templateflow
COPY container/bake_templates.py /src/container/
COPY container/templateflow /src/container/templateflow
RUN /src/container/install.sh templates "${TEMPLATEFLOW}"

FROM ${FREESURFER_IMAGE} AS freesurfer
COPY container/install.sh /src/container/install.sh
RUN /src/container/install.sh freesurfer-trim /usr/local/freesurfer

FROM python AS base
COPY --from=builder /opt/samseg /opt/samseg
COPY --from=builder /opt/epvs /opt/epvs
COPY --from=builder /opt/sbom /opt/sbom
COPY --from=templates /opt/templateflow /opt/templateflow
COPY --from=builder /opt/app /opt/app
COPY --chmod=755 run.py version /
# Any user, no home folder, nothing written outside /tmp, the output and the work folder, and nothing sent.
ENV PATH=/opt/epvs/bin:/opt/app/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/.cache \
    XDG_CONFIG_HOME=/tmp/.config \
    MPLCONFIGDIR=/tmp/.config/matplotlib \
    TEMPLATEFLOW_HOME=/opt/templateflow \
    TEMPLATEFLOW_AUTOUPDATE=off \
    EPVS_RUN_SAMSEG=/opt/samseg/bin/run_samseg \
    NO_ET=1 \
    NIPYPE_NO_ET=1 \
    LANG=C.UTF-8 \
    PYTHONNOUSERSITE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="EPVS BIDS App" \
      org.opencontainers.image.description="Counts enlarged perivascular spaces in PD and T2 weighted MRI" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /tmp
ENTRYPOINT ["/run.py"]

FROM base AS full
COPY container/install.sh /src/container/install.sh
RUN /src/container/install.sh freesurfer-libraries && rm -rf /src
COPY --from=freesurfer /usr/local/freesurfer /opt/freesurfer
ENV FREESURFER_HOME=/opt/freesurfer \
    FSLDIR= \
    FS_OVERRIDE=0 \
    FSF_OUTPUT_FORMAT=nii.gz \
    LOCAL_DIR=/opt/freesurfer/local \
    MINC_BIN_DIR=/opt/freesurfer/mni/bin \
    MINC_LIB_DIR=/opt/freesurfer/mni/lib \
    MNI_DIR=/opt/freesurfer/mni \
    MNI_DATAPATH=/opt/freesurfer/mni/data \
    MNI_PERL5LIB=/opt/freesurfer/mni/share/perl5 \
    PERL5LIB=/opt/freesurfer/mni/share/perl5 \
    OS=Linux \
    PATH=/opt/epvs/bin:/opt/app/bin:/opt/freesurfer/bin:/opt/freesurfer/mni/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
