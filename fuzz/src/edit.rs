//! Changes of a JSON document that keep it one: most changed bytes only make a parser say no at once.

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzzer_mutate;
use serde_json::Value;

/// What documents of one sort are made of.
#[derive(Debug)]
pub struct Vocabulary {
    keys: Vec<&'static str>,
    words: Vec<&'static str>,
}

/// Network configurations and results: keys that the plugin or its allocator reads, values with a meaning, and such that are
/// often wrong.
static CNI: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary::of(CNI_KEYS, CNI_WORDS));

/// Kubernetes objects.
pub static OBJECTS: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary::of(OBJECT_KEYS, OBJECT_WORDS));

const CNI_KEYS: &str = "
    cniVersion name type mtu socket ipam dns args runtimeConfig prevResult cni.dev/valid-attachments
    cni.dev/attachments cni ips mac ipRanges bandwidth portMappings dataDir ranges routes resolvConf subnet
    rangeStart rangeEnd gateway dst gw advmss priority table scope nameservers domain search options
    interfaces sandbox socketPath pciID address interface version ip4 ip6 ip containerID ifname code msg
    details IPAM datadir ingressRate ingressBurst egressRate egressBurst hostPort containerPort protocol servers
    searches aliases deviceID infinibandGUID
";

const CNI_WORDS: &str = r#"
    null true {} [] [[]] [null] "" 0 -1 1 7 68 1280 1450 65535 4294967295 4294967296 9223372036854775807
    18446744073709551615 1e99 0.5 "0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0" "1.2.0"
    "10.0.0.0/29" "10.0.0.8/30" "10.0.0.0/31" "0.0.0.0/0" "10.0.0.1/29" "10.0.0.0" "10.0.0.1" "10.0.0.2"
    "10.0.0.3" "10.0.0.6" "10.0.0.7" "10.0.0.10" "255.255.255.255" "10.0.0.3/29" "255.255.255.252/30"
    "fd00::/125" "fd00::8/126" "::/0" "fd00::1" "fd00::2" "fd00::3" "fd00::7"
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff8/125" "::ffff:10.0.0.3" "fe80::1"
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" "02:00:00:00:00:01" "ff:ff:ff:ff:ff:ff" "net" "other" "sub"
    "." ".." "../outside" "net/../../outside" ".owners" "/data" "/data/" "/data/../data" "/data/net" "/link"
    "/outside/../data" "/outside/file" "/pipe" "/dev/zero" "/resolv.conf" "data" "../../data" "/" "\u0000"
    "/\u0000" "eth0" "eth1" "c1" "c2" "/var/run/netns/pod" "midonet-kube-ipam" "host-local" "../../bin/sh"
    {"containerID":"c1","ifname":"eth0"} {"dst":"0.0.0.0/0"} [{"subnet":"10.0.0.0/29"}]
    [{"subnet":"fd00::/125"}] [{"subnet":"10.0.0.16/30"},{"subnet":"10.0.0.20/30"}]
    {"name":"eth0","sandbox":"/var/run/netns/pod","mac":"02:00:00:00:00:01"}
    {"address":"10.0.0.3/29","gateway":"10.0.0.1","interface":1}
"#;

const OBJECT_KEYS: &str = "
    apiVersion kind metadata spec status name namespace uid generation labels annotations creationTimestamp
    deletionTimestamp midonet.org/policy-audit midonet.org/policy-deny kubernetes.io/config.mirror
    kubernetes.io/metadata.name podSelector namespaceSelector ipBlock cidr except matchLabels matchExpressions key
    operator values policyTypes ingress egress from to ports port endPort protocol tier priority subject namespaces
    pods nodes networks domainNames action protocols tcp udp sctp destinationPort destinationNamedPort number range
    start end nodeName hostNetwork containers initContainers restartPolicy containerPort phase podIP podIPs ip
    podCIDR podCIDRs taints addresses type address clusterIP clusterIPs externalIPs nodePort loadBalancer ipMode
    sessionAffinity addressType endpoints conditions ready hints forZones cidrs other
";

const OBJECT_WORDS: &str = r#"
    null true false {} [] [[]] [null] [{}] "" 0 -1 1 2 80 1000 1001 65535 65536 4294967296 9223372036854775807
    18446744073709551615 1e99 80.5 "80" "http" "HTTP" "TCP" "UDP" "SCTP" "tcp" "ICMP" "In" "NotIn" "Exists"
    "DoesNotExist" "Gt" "Ingress" "Egress" "ingress" "Admin" "Baseline" "Accept" "Deny" "Pass" "Allow" "true" "reject"
    "0.0.0.0/0" "::/0" "10.0.0.0/8" "10.1.2.3/16" "10.0.0.0/33" "10.0.0.1" "192.0.2.1/32" "2001:db8::/32" "fd00::1/64"
    "::ffff:10.0.0.0/104" "::ffff:10.0.0.1" "fe80::1" "255.255.255.255" "a" "a/b" "a.b/c" "-" "x\u0020y" "*.example.com"
    "Always" "Succeeded" "Failed" "Running" "1970-01-01T00:00:00Z" "InternalIP" "ExternalIP" "None" "VIP" "IPv6"
    {"matchLabels":{"a":"1"}} {"matchExpressions":[{"key":"a","operator":"NotIn","values":["1"]}]}
    [{"podSelector":{}}] [{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16"]}}] [{"port":80,"endPort":90}]
    [{"namespaces":{}}] [{"networks":["10.0.0.0/8","fd00::/8"]}] [{"tcp":{"destinationPort":{"number":80}}}]
    {"range":{"start":1,"end":2}} {"name":"http","containerPort":80}
"#;

impl Vocabulary {
    fn of(keys: &'static str, words: &'static str) -> Self {
        Self { keys: keys.split_whitespace().collect(), words: words.split_whitespace().collect() }
    }
}

/// One change; places are numbered as they stand in the document, and taken modulo their number.
#[derive(Debug, Arbitrary)]
pub enum Edit {
    /// Leaves out a member or an element.
    Remove(u8),
    /// Puts another value into a place.
    Set(u8, Word),
    /// Puts what is at one place also into another.
    Copy(u8, u8),
    /// Gives an object a member, or a list an element.
    Insert(u8, u8, Word),
}

/// A value to put somewhere.
#[derive(Debug, Arbitrary)]
pub enum Word {
    /// One of the vocabulary's.
    Known(u8),
    /// Any text.
    Text(String),
    /// Any number.
    Number(i64),
}

impl Edit {
    /// Makes the change to a network configuration or a result.
    pub fn apply(&self, document: &mut Value) {
        self.apply_with(&CNI, document);
    }

    fn apply_with(&self, vocabulary: &Vocabulary, document: &mut Value) {
        let Vocabulary { keys, words } = vocabulary;
        let mut places = Vec::new();
        list(document, String::new(), &mut places);
        let place = |number: &u8| &places[usize::from(*number) % places.len()];
        match self {
            Self::Remove(at) => remove(document, place(at)),
            Self::Set(at, word) => set(document, place(at), word.value(words)),
            Self::Copy(from, to) => {
                let value = document.pointer(place(from)).cloned().unwrap_or_default();
                set(document, place(to), value);
            }
            Self::Insert(at, key, word) => match document.pointer_mut(place(at)) {
                Some(Value::Object(object)) => {
                    object.insert(keys[usize::from(*key) % keys.len()].to_owned(), word.value(words));
                }
                Some(Value::Array(list)) => list.push(word.value(words)),
                _ => {}
            },
        }
    }
}

impl Word {
    fn value(&self, words: &[&str]) -> Value {
        match self {
            Self::Known(number) => {
                let text = words[usize::from(*number) % words.len()];
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
            }
            Self::Text(text) => text.as_str().into(),
            Self::Number(number) => (*number).into(),
        }
    }
}

/// The JSON pointers (RFC 6901) of all values, the whole document's first.
fn list(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                list(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), places);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                list(value, format!("{at}/{index}"), places);
            }
        }
        _ => {}
    }
    places.push(at);
}

fn set(document: &mut Value, place: &str, value: Value) {
    if let Some(old) = document.pointer_mut(place) {
        *old = value;
    }
}

fn remove(document: &mut Value, place: &str) {
    let Some((parent, last)) = place.rsplit_once('/') else { return };
    match document.pointer_mut(parent) {
        Some(Value::Object(object)) => {
            object.remove(&last.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(values)) => {
            values.remove(last.parse().unwrap_or_default());
        }
        _ => {}
    }
}

/// A mutator for libFuzzer: mostly such changes, sometimes libFuzzer's own of the bytes.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    mutate_with(&CNI, data, size, max_size, seed)
}

/// The same for documents of another sort.
pub fn mutate_with(
    vocabulary: &Vocabulary,
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
) -> usize {
    let mut state = u64::from(seed) << 16 | 0x9e37;
    let random: Vec<u8> = std::iter::repeat_with(|| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[2]
    })
    .take(64)
    .collect();
    let document = data.get(..size).and_then(|data| serde_json::from_slice::<Value>(data).ok());
    let (Some(mut document), false) = (document, seed.is_multiple_of(4)) else {
        return fuzzer_mutate(data, size, max_size);
    };
    let mut random = Unstructured::new(&random);
    for _ in 0..=seed % 3 {
        let Ok(edit) = Edit::arbitrary(&mut random) else { break };
        edit.apply_with(vocabulary, &mut document);
    }
    let text = document.to_string();
    match data.get_mut(..text.len()).filter(|_| text.len() <= max_size) {
        Some(place) => {
            place.copy_from_slice(text.as_bytes());
            text.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
}
