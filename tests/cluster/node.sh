# Nodes: containerd, kubelet, kube-proxy, and the reference Pod network. Sourced by `cluster`.
# shellcheck shell=bash source=lib.sh

start_runtime() { # start_runtime NODE
  enter "$1" cp "$HERE/conf/containerd.toml" /etc/containerd/config.toml
  # The runtime adds the loopback device by itself; portmap serves whoever puts it into a chain.
  enter "$1" cp -r "$CACHE/bin/cni/." /opt/cni/bin/
  start "$1" containerd containerd --config /etc/containerd/config.toml
}

start_kubelet() { # start_kubelet NODE
  local node=$1 address
  case $FAMILY in
  4) address=$NET4${NUMBER[$node]} ;;
  6) address=$NET6${NUMBER[$node]} ;;
  46) address=$NET4${NUMBER[$node]},$NET6${NUMBER[$node]} ;;
  esac
  enter "$node" cp "$DIR/pki/ca.crt" /etc/kubernetes/
  enter "$node" cp "$DIR/pki/$node.conf" /etc/kubernetes/kubelet.conf
  sed "s/@DNS@/$(quoted "$DNS")/" "$HERE/conf/kubelet.yaml" | enter "$node" cp /dev/stdin /etc/kubernetes/kubelet.yaml
  start "$node" kubelet kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.conf \
    --hostname-override="$node" --node-ip="$address" --node-labels="topology.kubernetes.io/zone=zone${NUMBER[$node]}" \
    --root-dir=/var/lib/kubelet --v=2
}

start_proxy() { # start_proxy NODE
  enter "$1" cp "$DIR/pki/kube-proxy.conf" /etc/kubernetes/proxy.conf
  sed "s/@MODE@/${PROXY#default}/" "$HERE/conf/kube-proxy.yaml" | enter "$1" cp /dev/stdin /etc/kubernetes/kube-proxy.yaml
  start "$1" kube-proxy kube-proxy --config=/etc/kubernetes/kube-proxy.yaml --hostname-override="$1"
}

# What kube-proxy has made goes, too: all modes' rules.
stop_proxy() { # stop_proxy NODE
  kill -9 "$(cat "$DIR/$1/log/kube-proxy.pid")"
  rm "$DIR/$1/log/kube-proxy.pid"
  enter "$1" kube-proxy --cleanup >>"$DIR/$1/log/kube-proxy.log" 2>&1 || fail "$DIR/$1/log/kube-proxy.log" "kube-proxy --cleanup on $1"
}

start_proxies() {
  local node
  for node in "${NODES[@]}"; do start_proxy "$node"; done
  for node in "${NODES[@]}"; do
    wait_for 60 "$DIR/$node/log/kube-proxy.log" "kube-proxy of $node has written its rules" \
      enter "$node" curl -sf http://127.0.0.1:10256/healthz
  done
}

# The cluster's DNS, where somebody serves Services.
start_dns() {
  sed "s/@DNS1@/\"${DNS%%,*}\"/; s/@DNS@/$(quoted "$DNS")/" "$HERE/conf/coredns.yaml" >"$DIR/coredns.yaml"
  kubectl apply -f "$DIR/coredns.yaml" >"$DIR/control/log/coredns.log" 2>&1 &&
    kubectl -n kube-system rollout status deployment/coredns --timeout=90s >>"$DIR/control/log/coredns.log" 2>&1 || {
    kubectl -n kube-system get pods -l k8s-app=kube-dns -o wide
    kubectl -n kube-system logs -l k8s-app=kube-dns --prefix --tail=8 --ignore-errors
  } >>"$DIR/control/log/coredns.log" 2>&1
  grep -q 'successfully rolled out' "$DIR/control/log/coredns.log" ||
    fail "$DIR/control/log/coredns.log" "the cluster's DNS did not become ready"
  say "the cluster's DNS answers at $DNS"
}

stop_dns() {
  kubectl delete -f "$DIR/coredns.yaml" --wait=true >>"$DIR/control/log/coredns.log" 2>&1 &&
    kubectl -n kube-system wait --for=delete pod -l k8s-app=kube-dns --timeout=60s >>"$DIR/control/log/coredns.log" 2>&1 ||
    fail "$DIR/control/log/coredns.log" "the cluster's DNS did not end"
}

quoted() { echo "\"${1//,/\",\"}\""; } # quoted A,B: "A","B"

start_nodes() {
  local node
  for node in "${NODES[@]}"; do start_runtime "$node"; done
  for node in "${NODES[@]}"; do
    wait_for 120 "$DIR/$node/log/containerd.log" "containerd of $node answers" enter "$node" ctr version
  done
  local image
  for image in "$CACHE"/images/*.tar; do
    "$DIR/load" "$image" || fail "$DIR/${NODES[0]}/log/containerd.log" "no node can do without $image"
  done
  say "images loaded"
  for node in "${NODES[@]}"; do start_kubelet "$node"; done
  for node in "${NODES[@]}"; do
    wait_for 120 "$DIR/$node/log/kubelet.log" "$node has registered and has its podCIDR" has_pod_cidr "$node"
  done
}

pod_cidrs() { kubectl get node "$1" -o 'jsonpath={.spec.podCIDRs[*]}'; }
has_pod_cidr() { [ -n "$(pod_cidrs "$1")" ]; }

# The API server reaches Pods itself (`kubectl port-forward` does not need it, the Pod's and the Service's subresource
# `proxy` does): elsewhere its machine is a node.
route_pods() { # route_pods PLACE...: these places send to Pods through the Pod's node
  local node cidr place
  for node in "${NODES[@]}"; do
    for cidr in $(pod_cidrs "$node"); do
      for place in "$@"; do
        case $place:$cidr in
        "$node":*) ;;
        *:*:*) enter "$place" ip -6 route replace "$cidr" via "$NET6${NUMBER[$node]}" ;;
        *) enter "$place" ip -4 route replace "$cidr" via "$NET4${NUMBER[$node]}" ;;
        esac
      done
    done
  done
}

# Upstream's ptp and host-local plugins and static routes: a Pod network to compare with.
install_reference() {
  local node cidr ranges routes
  route_pods "${PLACES[@]}"
  for node in "${NODES[@]}"; do
    ranges='' routes=''
    for cidr in $(pod_cidrs "$node"); do
      case $cidr in
      *:*) routes+=',{"dst":"::/0"}' ;;
      *) routes+=',{"dst":"0.0.0.0/0"}' ;;
      esac
      ranges+=",[{\"subnet\":\"$cidr\"}]"
    done
    enter "$node" sh -c 'cat >/run/10-reference.conflist && mv /run/10-reference.conflist /etc/cni/net.d/' <<K
{"cniVersion": "1.0.0", "name": "reference", "plugins": [
  {"type": "ptp", "mtu": 1500, "ipam": {"type": "host-local", "ranges": [${ranges#,}], "routes": [${routes#,}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}
K
  done
}
