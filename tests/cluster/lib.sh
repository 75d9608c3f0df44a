# Settings and helpers of the cluster scripts; sourced by `cluster`.
# shellcheck shell=bash disable=SC2034

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPOSITORY=$(cd "$HERE/../.." && pwd)
DIR=$(realpath -m "${MIDOKUBE_CLUSTER_DIR:-$REPOSITORY/target/cluster}")
PRODUCT=${MIDOKUBE_BIN:-$REPOSITORY/target/release}   # where `make build` leaves it
CACHE=${MIDOKUBE_CACHE:-$HOME/.cache/midonet-kube}
TAG=$(sha256sum <<<"$DIR" | cut -c1-6)   # keeps two clusters' cgroups apart

FAMILY=${FAMILY:-46}        # address families: 4, 6 or 46 (dual stack)
INSTALL=${INSTALL:-yes}     # the Pod network: yes (midonet-kube), reference (upstream's ptp plugin), no
PROXY=${PROXY:-none}        # kube-proxy: none, default (its own mode), iptables, nftables

NODES=(node1 node2 node3)
PLACES=(fabric control "${NODES[@]}")
# The last number of a place's address, in both families.
declare -A NUMBER=([fabric]=1 [control]=10 [node1]=11 [node2]=12 [node3]=13)
NET4=172.30.0. NET6=fd30::
FAR4=192.0.2.1 FAR6=2001:db8::1      # the clients of a load balancer have these, by RFC 5737 and RFC 3849

case $FAMILY in
4) POD_CIDR=10.244.0.0/16 SERVICE_CIDR=10.96.0.0/16 DNS=10.96.0.10 API_HOST=${NET4}10 ;;
46) POD_CIDR=10.244.0.0/16,fd44::/48 SERVICE_CIDR=10.96.0.0/16,fd96::/112 DNS=10.96.0.10,fd96::a API_HOST=${NET4}10 ;;
6) POD_CIDR=fd44::/48 SERVICE_CIDR=fd96::/112 DNS=fd96::a API_HOST=[${NET6}10] ;;
*) echo "cluster: FAMILY=$FAMILY is not known: 4, 6 or 46" >&2 && exit 2 ;;
esac
API_PORT=6443
case $INSTALL in yes | no | reference) ;; *) echo "cluster: INSTALL=$INSTALL is not known: yes, reference or no" >&2 && exit 2 ;; esac
case $PROXY in
none | default | iptables | nftables) ;;
*) echo "cluster: PROXY=$PROXY is not known: none, default, iptables or nftables" >&2 && exit 2 ;;
esac

say() { printf 'cluster: [%3ds] %s\n' "$SECONDS" "$*"; }
die() { echo "cluster: $*" >&2; exit 1; }

# fail LOG MESSAGE: give up, showing the end of the log that should say why.
fail() {
  local log=$1; shift
  if [ -s "$log" ]; then
    echo "---- the end of $log:" >&2
    tail -n 25 "$log" | cut -c 1-500 >&2
    echo "----" >&2
  fi
  die "$*"
}

# wait_for SECONDS LOG WHAT CMD...: until CMD succeeds, or fail with the end of LOG.
wait_for() {
  local deadline=$((SECONDS + $1)) log=$2 what=$3; shift 3
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || fail "$log" "gave up waiting: \"$what\" did not come true (tried: $*)"
    sleep 0.1
  done
  say "$what"
}

enter() { "$DIR/enter" "$@"; }
kubectl() { "$DIR/kubectl" "$@"; }

# start PLACE NAME CMD...: a daemon inside a place, its log in $DIR/PLACE/log/NAME.log, its number in NAME.pid
# there: who ends that ends the daemon.
start() {
  local place=$1 name=$2; shift 2
  setsid "$DIR/enter" "$place" "$@" >>"$DIR/$place/log/$name.log" 2>&1 </dev/null 9<&- &
  echo $! >"$DIR/$place/log/$name.pid"
  disown
}
