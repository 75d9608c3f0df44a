# Places: the fabric, the control plane and the nodes, each with namespaces and cgroups of its own.
# Sourced by `cluster`. What is made is recorded first, in $DIR/PLACE/{cgroups,pid}.
# shellcheck shell=bash source=lib.sh

# cgroup_dirs NAME: the directories of cgroup NAME, one per hierarchy. cgroup v1: beneath our own cgroup.
# v2: beneath the root, since a cgroup with processes cannot hand its controllers to children.
cgroup_dirs() {
  if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
    echo "/sys/fs/cgroup/$1"
    return
  fi
  local hierarchy path
  while IFS=: read -r _ hierarchy path; do
    hierarchy=${hierarchy#name=}
    hierarchy=/sys/fs/cgroup/${hierarchy:-unified}
    [ ! -d "$hierarchy" ] || echo "$hierarchy${path%/}/$1"
  done </proc/self/cgroup
}

make_cgroups() { # make_cgroups PLACE
  local cgroup controller file
  cgroup_dirs "midokube-$TAG-$1" >"$DIR/$1/cgroups"
  while read -r cgroup; do
    mkdir -p "$cgroup"
    case $cgroup in
    */cpuset/* | */cpuset,*)      # nothing may enter a v1 cpuset before these are set
      for file in cpuset.cpus cpuset.mems; do cat "$cgroup/../$file" >"$cgroup/$file"; done ;;
    esac
    if [ -e "$cgroup/../cgroup.subtree_control" ]; then
      for controller in $(cat "$cgroup/../cgroup.controllers"); do
        echo "+$controller" >"$cgroup/../cgroup.subtree_control" || say "no $controller controller for the nodes"
      done
    fi
  done <"$DIR/$1/cgroups"
}

# alive PLACE: whether the recorded process is there and still ours (numbers are used again).
alive() {
  local pid
  pid=$(cat "$DIR/$1/pid") && grep -qzxF "$DIR/$1" "/proc/$pid/cmdline"
} 2>/dev/null

make_place() { # make_place PLACE
  local place=$1 dir=$DIR/$1
  mkdir -p "$dir/log"
  make_cgroups "$place"
  setsid "$HERE/place-init" "$place" "$dir" "$(realpath "$DIR/bin")" >"$dir/log/init.log" 2>&1 </dev/null 9<&- &
  disown
  wait_for 120 "$dir/log/init.log" "$place is there" test -e "$dir/ready"
}

# The fabric: a bridge that every other place hangs on, and addresses from which to act as a host outside the
# cluster, in the nodes' network and in another one.
make_fabric() {
  make_place fabric
  enter fabric sh -ec "
    ip link set lo up
    ip link add br0 type bridge
    ip link set br0 up
    ip address add ${NET4}1/24 dev br0
    ip address add ${NET6}1/64 dev br0 nodad
    ip address add $FAR4/32 dev br0
    ip address add $FAR6/128 dev br0 nodad"
}

plug_in() { # plug_in PLACE: its eth0, on the fabric
  local place=$1 number=${NUMBER[$1]}
  nsenter -t "$(cat "$DIR/fabric/pid")" -n sh -ec "
    ip link add $place type veth peer name eth0 netns $(cat "$DIR/$place/pid")
    ip link set $place master br0 up"
  enter "$place" sh -ec "
    ip link set lo up
    ip link set eth0 up
    ip address add $NET4$number/24 dev eth0
    ip address add $NET6$number/64 dev eth0 nodad
    ip route add default via ${NET4}1
    ip -6 route add default via ${NET6}1"
}

# cgroups_of PLACE: as recorded; without a record (say, after a `cargo clean`) as they would be made now.
cgroups_of() { cat "$DIR/$1/cgroups" 2>/dev/null || cgroup_dirs "midokube-$TAG-$1"; }

remaining() { # remaining PLACE: its cgroups that exist
  local cgroup
  cgroups_of "$1" | while read -r cgroup; do [ ! -d "$cgroup" ] || echo "$cgroup"; done
}

# kill_place PLACE: its PID 1, with which the kernel ends every process of the place, and then whatever
# its cgroups still hold (from an `up` that was killed before it could record a PID 1).
kill_place() {
  local place=$1 tries cgroups pid
  if alive "$place"; then kill -9 "$(cat "$DIR/$place/pid")" || true; fi
  for tries in $(seq 100); do
    mapfile -t cgroups < <(remaining "$place")
    [ ${#cgroups[@]} -gt 0 ] || break
    [ "$tries" = 1 ] || sleep 0.1
    for pid in $(find "${cgroups[@]}" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un); do
      [ "$pid" = 0 ] || kill -9 "$pid" 2>/dev/null || true
    done
    find "${cgroups[@]}" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
  if [ -n "$(remaining "$place")" ]; then
    echo "cluster: still in use after 10 s: $(remaining "$place" | tr '\n' ' '); 'cluster down' tries again" >&2
    return 1
  fi
  rm -f "$DIR/$place"/{pid,ready,cgroups}
}
