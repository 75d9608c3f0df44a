"""What MidoNet is to hold of Kubernetes objects, computed without any code of the product: by Python's uuid and hashlib.

Reads one JSON object a line and writes, for each, its Translations as [namespace, name, [[kind, parent, body]...]], in
their order.
"""

import hashlib
import ipaddress
import json
import sys
import uuid

TENANT = sys.argv[1]
SPACE = uuid.uuid5(uuid.UUID("3978567E-91C4-465C-A0D1-67575F6B4C7F"), "4/" + TENANT)


def id_of(kind, key):
    return uuid.uuid5(SPACE, f"4/{kind}/{key}")


MAIN = id_of("midonet-global", "chain")
ROUTER = uuid.uuid5(MAIN, "Cluster Router")
SERVICES = uuid.uuid5(MAIN, "Services Chain")
ZONE = uuid.uuid5(MAIN, "Default Tunnel Zone")


def name_of(kind, key):
    whole = f"{kind.lower()}.4.{key}"
    name = whole.replace("/", "-").lower()
    digest = hashlib.sha1(whole.encode()).hexdigest()
    if name == whole and len(name) <= 253:
        return name
    if len(name) + 41 > 253:
        name = name[: 253 - 41].rstrip("-.")
    return f"{name}-{digest}"


def entry(kind, parent, **body):
    fields = {key: str(value) if isinstance(value, uuid.UUID) else value for key, value in body.items()}
    return [kind, str(parent or ""), json.dumps(fields, separators=(",", ":"))]


def hex_of(mac):
    return mac.replace(":", "")


def translation(namespace, kind, key, *entries):
    return [namespace, name_of(kind, key), list(entries)]


def target(low, ports):
    return [{"addressFrom": low, "addressTo": low, "portFrom": ports[0], "portTo": ports[1]}]


def snat(parent, rule, source, to):
    return entry(
        "Rule", parent, id=rule, type="snat", dlType=2048, nwSrcAddress=source, nwSrcLength=32,
        flowAction="continue", natTargets=target(to, (30000, 60000)),
    )


def mac_entries(namespace, kind, name, bridge, port, ip, mac):
    yield translation(
        namespace, f"{kind}-MAC", f"{name}/mac/{hex_of(mac)}", entry("MACPort", bridge, macAddr=mac, portId=port)
    )
    if ip:
        yield translation(
            namespace, f"{kind}-ARP", f"{name}/ip/{ip}/{hex_of(mac)}", entry("IPv4MACPair", bridge, ip=ip, mac=mac)
        )


def route(rule, to, length, port, gateway=None):
    hop = {"nextHopGateway": gateway} if gateway else {}
    return entry(
        "Route", ROUTER, id=rule, dstNetworkAddr=to, dstNetworkLength=length, **hop, nextHopPort=port,
        srcNetworkAddr="0.0.0.0", srcNetworkLength=0, type="Normal",
    )


def node(o):
    name = o["name"]
    host = uuid.UUID(o["hostId"])
    zone = uuid.UUID(o["tunnelZoneId"]) if o["tunnelZoneId"] else ZONE
    written, length = o["podCidr"].split("/")
    first = int(ipaddress.IPv4Address(written))
    gateway, ip = str(ipaddress.IPv4Address(first + 1)), str(ipaddress.IPv4Address(first + 2))
    network = ipaddress.ip_network(o["podCidr"], strict=False)
    bridge = id_of("Node", name)
    part = {
        p: uuid.uuid5(bridge, p)
        for p in ("Bridge Port", "Router Port", "Route", "Node Port Chain", "Node Port", "Node Port SNAT Rule")
    }
    digest = hashlib.sha256(name.encode()).hexdigest()
    mac = f"ac:ca:ba:{digest[0:2]}:{digest[2:4]}:{digest[4:6]}"
    yield translation(
        "default", "Node-Tunnel-Endpoint", f"{name}/{o['endpoint']}/{zone}/{host}",
        entry("TunnelZoneHost", zone, hostId=host, ipAddress=o["endpoint"]),
    )
    yield translation(
        "default", "Node", name,
        entry("Bridge", None, id=bridge, tenantId=TENANT, name=name, inboundFilterId=MAIN),
        entry("Port", bridge, id=part["Bridge Port"], type="Bridge"),
        entry(
            "Port", ROUTER, id=part["Router Port"], type="Router", portSubnet=[f"{gateway}/{length}"], portMac=mac
        ),
        route(part["Route"], str(network.network_address), int(length), part["Router Port"]),
        entry("PortLink", part["Bridge Port"], portId=None, peerId=part["Router Port"]),
        entry("Chain", None, id=part["Node Port Chain"], tenantId=TENANT, name=f"KUBE-NODE-{name}"),
        entry("Port", bridge, id=part["Node Port"], type="Bridge", outboundFilterId=part["Node Port Chain"]),
        entry(
            "HostInterfacePort", host, hostId=host, portId=part["Node Port"], interfaceName="midokube-mido"
        ),
        snat(part["Node Port Chain"], part["Node Port SNAT Rule"], ip, gateway),
    )
    for kind, address in o["addresses"]:
        key = f"{name}/{kind}/{address}"
        yield translation(
            "default", "Node-Address", key, route(id_of("Node Address", key), address, 32, part["Router Port"], ip)
        )
    yield from mac_entries("default", "Node", name, bridge, part["Node Port"], ip, o["mac"])


def pod(o):
    key = f"{o['namespace']}/{o['name']}"
    bridge, port, host = id_of("Node", o["node"]), id_of("Pod", key), uuid.UUID(o["hostId"])
    interface = "mido" + hashlib.sha1(key.encode()).hexdigest()[:11]
    yield translation(
        o["namespace"], "Pod", o["name"],
        entry("Port", bridge, id=port, type="Bridge"),
        entry("HostInterfacePort", host, hostId=host, portId=port, interfaceName=interface),
    )
    yield from mac_entries(o["namespace"], "Pod", o["name"], bridge, port, o["ip"], o["mac"])


def service(o):
    namespace, name, ip = o["namespace"], o["name"], o["clusterIp"]
    chains, dnats, endpoints, jumps = [], [], [], []
    for port_name, protocol, number in o["ports"]:
        port_key = f"{namespace}/{name}/{port_name}"
        proto = {"TCP": 6, "UDP": 17}[protocol]
        chain = id_of("ServicePort", port_key)
        dnat, eps = uuid.uuid5(chain, "DNAT Chain"), uuid.uuid5(chain, "Endpoints Chain")
        end = uuid.uuid5(chain, "End Chain")
        chains += [
            entry("Chain", None, id=chain, tenantId=TENANT, name=f"KUBE-SVC-{port_key}"),
            entry("Chain", None, id=dnat, tenantId=TENANT, name=f"KUBE-DNAT-{port_key}"),
            entry("Chain", None, id=eps, tenantId=TENANT, name=f"KUBE-EPS-{port_key}"),
            entry("Chain", None, id=end, tenantId=TENANT, name=f"KUBE-END-{port_key}"),
            entry("Rule", end, id=uuid.uuid5(chain, "Accept Translated"), type="accept"),
            entry(
                "Rule", end, id=uuid.uuid5(chain, f"Return {ip}"), type="return", dlType=2048, nwDstAddress=ip,
                nwDstLength=32,
            ),
            entry("Rule", chain, id=uuid.uuid5(chain, "Jump To End"), type="jump", jumpChainId=end),
            entry("Rule", chain, id=uuid.uuid5(chain, "Jump To Endpoints"), type="jump", jumpChainId=eps),
            entry("Rule", chain, id=uuid.uuid5(chain, "Jump To DNAT"), type="jump", jumpChainId=dnat),
        ]
        pairs = sorted((ipaddress.IPv4Address(a), p) for n, q, p in o["endpointPorts"] if (n, q) == (port_name, protocol)
                       for a in o["endpoints"])
        digest = hashlib.sha1(",".join(f"{a}:{p}" for a, p in pairs).encode()).hexdigest()
        dnats.append(translation(
            namespace, "Endpoints-DNAT", f"{name}/{port_name}/{ip}/{digest}",
            entry(
                "Rule", dnat, id=id_of("EndpointsDNAT", f"{port_key}/{ip}/{digest}"), type="dnat", dlType=2048,
                nwDstAddress=ip, nwDstLength=32, flowAction="continue",
                natTargets=[t for a, p in pairs for t in target(str(a), (p, p))],
            ),
        ))
        for a, p in pairs:
            key = f"{name}/{port_name}/{ip}/{a}/{p}/{protocol}"
            sep = id_of("Endpoint", key)
            endpoints.append(translation(
                namespace, "Endpoints-Port", key,
                entry("Chain", None, id=sep, tenantId=TENANT, name=f"KUBE-SEP-{key}"),
                snat(sep, uuid.uuid5(sep, "SNAT From Itself"), str(a), ip),
                entry(
                    "Rule", eps, id=uuid.uuid5(sep, "Jump From Itself"), type="jump", dlType=2048,
                    nwDstAddress=str(a), nwDstLength=32, nwProto=proto, nwSrcAddress=str(a), nwSrcLength=32,
                    tpDst={"start": p, "end": p}, jumpChainId=sep,
                ),
            ))
        key = f"{port_key}/{ip}/{proto}/{number}"
        jumps.append(translation(
            namespace, "Service-Port", key,
            entry(
                "Rule", SERVICES, id=id_of("ServicePortSub", key), type="jump", dlType=2048, nwDstAddress=ip,
                nwDstLength=32, nwProto=proto, tpDst={"start": number, "end": number}, jumpChainId=chain,
            ),
        ))
    yield translation(namespace, "Service", name, *chains)
    yield from dnats + endpoints + jumps


MAKERS = {"Node": node, "Pod": pod, "Service": service}

for line in sys.stdin:
    o = json.loads(line)
    print(json.dumps(list(MAKERS[o["kind"]](o))))
