#!/usr/bin/env bash
# A MariaDB Galera cluster of three nodes on loopback, for the tests of several hosts.
#
#   galera.sh run DIR BASE     makes three nodes in DIR and starts them, says "ready" when they are one cluster, and ends them when its
#                              standard input is closed, which happens however the test ends
#   galera.sh node DIR BASE N  starts node N (1 to 3) again after it was killed, and returns when it has caught up
#
# Node N listens for SQL on port BASE+N, user root without a password; for the other nodes on BASE+10+N, BASE+20+N and BASE+30+N.
set -euo pipefail
what=$1 dir=$2 base=$3
# As root, the nodes run as the user of the package: the transfer of a node's state to another one fails otherwise.
if [ "$(id -u)" = 0 ]; then user=mysql; else user=$(id -un); fi
node() {
  local n=$1 peers
  shift
  peers="127.0.0.1:$((base + 11)),127.0.0.1:$((base + 12)),127.0.0.1:$((base + 13))"
  setsid mariadbd --no-defaults --user="$user" --datadir="$dir/n$n" --socket="$dir/n$n/socket" --pid-file="$dir/n$n/pid" \
    --port=$((base + n)) --bind-address=127.0.0.1 --binlog-format=ROW --innodb-autoinc-lock-mode=2 \
    --innodb-flush-log-at-trx-commit=2 --innodb-buffer-pool-size=64M --innodb-log-file-size=32M \
    --wsrep-on=ON --wsrep-provider=/usr/lib/galera/libgalera_smm.so --wsrep-node-name="n$n" \
    --wsrep-cluster-name=tinclaw --wsrep-cluster-address="gcomm://$peers" --wsrep-node-address="127.0.0.1:$((base + 10 + n))" \
    --wsrep-provider-options="base_port=$((base + 10 + n)); gmcast.listen_addr=tcp://127.0.0.1:$((base + 10 + n)); ist.recv_addr=127.0.0.1:$((base + 20 + n)); gcache.size=32M" \
    --wsrep-sst-receive-address="127.0.0.1:$((base + 30 + n))" --wsrep-sst-method=rsync "$@" >>"$dir/n$n.log" 2>&1 </dev/null &
}
sql() { mariadb --no-defaults -uroot -S "$dir/n$1/socket" -N -e "$2" 2>/dev/null; }
synced() {
  for _ in $(seq 400); do
    if [ "$(sql "$1" "show status like 'wsrep_local_state_comment'" | cut -f2)" = Synced ]; then return 0; fi
    sleep 0.2
  done
  tail -n 30 "$dir/n$1.log" >&2
  return 1
}
case $what in
  run)
    for n in 1 2 3; do
      mkdir -p "$dir/n$n"
      if [ "$(id -u)" = 0 ]; then chmod 755 "$dir" && chown mysql "$dir/n$n"; fi
      mariadb-install-db --no-defaults --user="$user" --datadir="$dir/n$n" --auth-root-authentication-method=normal \
        --skip-test-db >>"$dir/n$n.log" 2>&1
    done
    end() {
      for n in 1 2 3; do
        if [ -s "$dir/n$n/pid" ]; then kill -9 "$(cat "$dir/n$n/pid")" 2>/dev/null || true; fi
      done
      # What was transferring a node's state may still be writing.
      for _ in $(seq 50); do rm -rf "$dir" 2>/dev/null && break; sleep 0.1; done
    }
    trap end EXIT
    node 1 --wsrep-new-cluster
    synced 1
    for n in 2 3; do
      node $n
      synced $n
    done
    echo ready
    cat >/dev/null
    ;;
  node)
    node "$4"
    synced "$4"
    ;;
esac
