#!/usr/bin/env bash
# Eight simulated participants through nipype's Slurm plugin on a real Slurm of one node, one of them killed for memory.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in munged slurmctld slurmd sbatch; do
  command -v $tool >/dev/null || { echo "$tool is missing: apt-get install munge slurmctld slurmd slurm-client" >&2; exit 66; }
done
exec "${EPVS_BIN:-.venv/bin}/python" -m pytest -v tests/container/test_slurm.py "$@"
