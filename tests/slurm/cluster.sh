#!/usr/bin/env bash
# A one-node Slurm for tests, all of it under one folder:  cluster.sh start|stop FOLDER
# Needs root and the Debian packages slurm-wlm and munge. After `start`:
#   export SLURM_CONF=FOLDER/slurm.conf
set -euo pipefail
action=$1
export STATE=$2
here=$(cd "$(dirname "$0")" && pwd)
# SLURM_TEST_PORT, SLURM_TEST_ARRAY: the daemons' first port, and MaxArraySize
port=${SLURM_TEST_PORT:-$((20000 + RANDOM % 10000))} # and the next one

stop_one() {  # end the daemon that wrote this pid file, and wait for it
    [ -s "$1" ] || return 0
    local pid
    pid=$(cat "$1")
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
}

start() {
    mkdir -p "$STATE"/{controller,node,munge}
    chmod 755 "$STATE" "$STATE/munge"
    # munged refuses to run as root: it gets its own user, and a key, seed and socket of this folder
    head -c 1024 /dev/urandom >"$STATE/munge/key"
    chmod 400 "$STATE/munge/key"
    chown -R munge:munge "$STATE/munge"
    setpriv --reuid munge --regid munge --clear-groups munged --key-file="$STATE/munge/key" \
        --socket="$STATE/munge/socket" --seed-file="$STATE/munge/seed" \
        --pid-file="$STATE/munge/pid" --log-file="$STATE/munge/log"
    sed -e "s#@HOST@#$(hostname -s)#g" -e "s#@STATE@#$STATE#g" \
        -e "s#@ARRAY@#${SLURM_TEST_ARRAY:-6}#g" -e "s#@PORT@#$port#g" -e "s#@PORT2@#$((port + 1))#g" "$here/slurm.conf.in" >"$STATE/slurm.conf"
    # any character device will do as a GPU
    printf 'Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n' >"$STATE/gres.conf"
    export SLURM_CONF="$STATE/slurm.conf"
    slurmctld
    slurmd -N "$(hostname -s)"
    for _ in $(seq 150); do
        case "$(sinfo -h -o %t 2>/dev/null || true)" in idle | mix | alloc) return 0 ;; esac
        sleep 0.1
    done
    echo "the node did not become idle; see $STATE/slurmctld.log" >&2
    return 1
}

case $action in
start) start ;;
stop)
    for file in slurmd.pid slurmctld.pid munge/pid; do stop_one "$STATE/$file"; done
    ;;
*)
    echo "usage: cluster.sh start|stop FOLDER" >&2
    exit 2
    ;;
esac
