# Certificates, etcd, the API server, controller manager and scheduler. Sourced by `cluster`.
# shellcheck shell=bash source=lib.sh

# With an extension a certificate is of version 3; rustls takes no other.
certificate() { # certificate NAME SUBJECT [ALTERNATIVE-NAMES]
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -subj "$2" \
    -addext keyUsage=digitalSignature ${3:+-addext "subjectAltName=$3"} 2>/dev/null |
    openssl x509 -req -CA ca.crt -CAkey ca.key -days 30 -copy_extensions copy -out "$1.crt" 2>/dev/null
}

kubeconfig() { # kubeconfig NAME: NAME.conf, with the certificate of that name
  cat >"$1.conf" <<K
apiVersion: v1
kind: Config
clusters: [{name: cluster, cluster: {server: "https://$API_HOST:$API_PORT", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: user, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
contexts: [{name: default, context: {cluster: cluster, user: user}}]
current-context: default
K
}

make_certificates() (
  umask 077
  mkdir "$DIR/pki"
  cd "$DIR/pki" || exit
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt \
    -subj /CN=midokube-test-ca -days 30 2>/dev/null
  openssl genrsa -out sa.key 2048 2>/dev/null
  openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  certificate apiserver /CN=kube-apiserver "IP:127.0.0.1,IP:${NET4}10,IP:${NET6}10,IP:10.96.0.1,IP:fd96::1,\
DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
  certificate front-proxy /CN=front-proxy-client
  local name
  for name in kube-controller-manager kube-scheduler kube-proxy; do
    certificate $name /CN=system:$name
    kubeconfig $name
  done
  certificate admin /O=system:masters/CN=admin
  kubeconfig admin
  for name in "${NODES[@]}"; do
    certificate "$name" "/O=system:nodes/CN=system:node:$name"
    kubeconfig "$name"
  done
)

start_etcd() {
  # /run is a tmpfs, and nothing here outlives the machine: no need to wait for disks.
  start control etcd etcd --data-dir=/run/etcd --unsafe-no-fsync --log-level=warn \
    --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380
}

start_api_server() {
  local pki=$DIR/pki advertise=${API_HOST//[\[\]]/}
  # Kubelets by address: their names are in no DNS.
  start control kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
    --advertise-address="$advertise" --secure-port=$API_PORT \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
    --kubelet-preferred-address-types=InternalIP \
    --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$pki/front-proxy.crt" --proxy-client-key-file="$pki/front-proxy.key" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
    --service-cluster-ip-range="$SERVICE_CIDR" --authorization-mode=Node,RBAC \
    --enable-admission-plugins=NodeRestriction --allow-privileged=true --profiling=false
}

stop_api_server() {
  kill -9 "$(cat "$DIR/control/log/kube-apiserver.pid")"
  rm "$DIR/control/log/kube-apiserver.pid"
}

# Both give up at once if the API server's first RBAC rules are not there yet: only after /readyz.
start_controllers() {
  local pki=$DIR/pki name
  wait_for 120 "$DIR/control/log/kube-apiserver.log" "API server is ready" kubectl get --raw /readyz
  start control kube-controller-manager kube-controller-manager --leader-elect=false \
    --kubeconfig="$pki/kube-controller-manager.conf" \
    --authentication-kubeconfig="$pki/kube-controller-manager.conf" \
    --authorization-kubeconfig="$pki/kube-controller-manager.conf" \
    --use-service-account-credentials=true \
    --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
    --allocate-node-cidrs=true --cluster-cidr="$POD_CIDR" --service-cluster-ip-range="$SERVICE_CIDR" \
    --node-monitor-grace-period=20s
  start control kube-scheduler kube-scheduler --leader-elect=false \
    --kubeconfig="$pki/kube-scheduler.conf" \
    --authentication-kubeconfig="$pki/kube-scheduler.conf" \
    --authorization-kubeconfig="$pki/kube-scheduler.conf"
}
