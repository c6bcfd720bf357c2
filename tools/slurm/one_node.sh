#!/usr/bin/env bash
# A real Slurm of one node, on loopback, for tests: tools/slurm/one_node.sh start|stop FOLDER
# `start` prints what to put in the environment. Needs root, and Debian's munge, slurmctld, slurmd and slurm-client.
set -euo pipefail
action=${1:?start or stop}
folder=$(mkdir -p "${2:?a folder for state, logs and sockets}" && cd "$2" && pwd)
host=$(hostname -s)

write_configuration() {
  mkdir -p "$folder"/{state,spool}
  cat >"$folder/slurm.conf" <<CONF
ClusterName=epvs
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=6917
SlurmdPort=6918
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
# Memory is handed out, watched every second, and a job that takes more than it asked for is killed.
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
KillWait=2
MinJobAge=300
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(free -m | awk '/^Mem:/ {print int($2 * 0.8)}') State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
}

start() {
  write_configuration
  head -c 1024 /dev/urandom >"$folder/munge.key"
  chmod 700 "$folder"
  chmod 400 "$folder/munge.key"
  munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munged.seed"
  export SLURM_CONF=$folder/slurm.conf
  slurmctld
  slurmd
  for _ in $(seq 60); do
    if sinfo --noheader --format %t 2>/dev/null | grep -q '^idle$'; then
      echo "export SLURM_CONF=$SLURM_CONF LOGNAME=${LOGNAME:-$(id -un)}"
      return
    fi
    sleep 1
  done
  echo "Slurm did not come up; see $folder/slurmctld.log and $folder/slurmd.log." >&2
  exit 1
}

stop() {
  local name
  for name in slurmd slurmctld munged; do
    if [ -s "$folder/$name.pid" ]; then kill "$(cat "$folder/$name.pid")" 2>/dev/null || true; fi
  done
}

case "$action" in
  start) start ;;
  stop) stop ;;
  *) echo "tools/slurm/one_node.sh start|stop FOLDER" >&2; exit 64 ;;
esac
