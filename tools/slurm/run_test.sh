#!/usr/bin/env bash
# Eight simulated participants through nipype's Slurm plugin on a real Slurm of one node: one has a scan that takes more
# memory than a job may have and is killed, the other seven are scored. tools/slurm/run_test.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${EPVS_BIN:-$PWD/.venv/bin}
folder=${1:-$(mktemp -d /var/tmp/epvs-slurm.XXXX)}
for tool in munged slurmctld slurmd sbatch; do
  command -v $tool >/dev/null || { echo "$tool is missing: apt-get install munge slurmctld slurmd slurm-client" >&2; exit 66; }
done
mkdir -p "$folder"

[ -e "$folder/bids" ] || {
  "$bin/epvs-simulate" "$folder/bids.new" --participants 8 --voxel-size 2.5 2.5 2.5 --seed 7 --nprocs 1
  "$bin/python" tools/slurm/enlarge.py "$folder/bids.new" 5
  mv "$folder/bids.new" "$folder/bids"
}
rm -rf "$folder"/{out,work}
eval "$(tools/slurm/one_node.sh start "$folder/slurm")"
trap 'tools/slurm/one_node.sh stop "$folder/slurm"' EXIT
printf 'plugin: SLURM\nplugin_args:\n  sbatch_args: --mem=1500M --cpus-per-task=1\n  max_jobs: 4\n' >"$folder/slurm.yml"

code=0
"$bin/epvs-bids" "$folder/bids" "$folder/out" participant --use-plugin "$folder/slurm.yml" --work-dir "$folder/work" \
  --skip-bids-validation --template MNI152NLin2009aSym --omp-nthreads 1 | tee "$folder/output.txt" || code=$?

grep -h 'exceeded memory limit' -r "$folder/slurm/slurmd.log" | tail -n 1
scored=$(grep -l '"result": "scored"' "$folder"/out/logs/scans/*.json | wc -l)
killed=$(grep -l 'may have been killed' "$folder"/out/logs/scans/*.json | wc -l)
echo "$scored scored, $killed killed for memory, exit code $code"
[ "$scored" = 7 ] && [ "$killed" = 1 ] && [ "$code" = 75 ]
