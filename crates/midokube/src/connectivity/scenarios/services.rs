//! Services by their own addresses.

use super::super::check::{Expect, Stage};
use super::super::question::What;
use super::super::scene::{
    CLIENT, ECHO, EMPTY, End, FAR, Family, GUARDED, INNER, MOVING, NEAR, SERVICE_PORT, STICKY, Scene,
};
use super::plan::{BOTH, By, Checks, Plan, Scenario, addresses, answer_of};

/// Of so many connections some come to each of two endpoints, but once in eight million runs.
const MANY: u16 = 24;

/// Of so many connections with affinity all come to the same.
const SEVERAL: u16 = 10;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "service-same-node",
        what: "a Pod reaches a Service whose endpoint is on its node, by TCP and UDP",
        plan: |scene| one_endpoint(scene, scene.pod(CLIENT)?, NEAR),
    },
    Scenario {
        name: "service-across-nodes",
        what: "a Pod reaches a Service whose endpoint is on another node, by TCP and UDP",
        plan: |scene| one_endpoint(scene, scene.pod(CLIENT)?, FAR),
    },
    Scenario {
        name: "service-from-node",
        what: "nodes' processes reach a Service, by TCP and UDP",
        plan: |scene| {
            let mut checks = Checks::default();
            for node in &scene.nodes {
                asked(
                    scene,
                    &mut checks,
                    &node.end,
                    ECHO,
                    1,
                    &Expect::By { names: endpoints(scene), client: None },
                )?;
            }
            checks.plan()
        },
    },
    Scenario {
        name: "service-spreads",
        what: "connections to a Service spread over its endpoints",
        plan: |scene| {
            scene.pod(FAR)?;
            let mut checks = Checks::default();
            asked(
                scene,
                &mut checks,
                scene.pod(CLIENT)?,
                ECHO,
                MANY,
                &Expect::Each { names: endpoints(scene) },
            )?;
            checks.plan()
        },
    },
    Scenario {
        name: "service-hairpin",
        what: "a Pod reaches itself by its Service",
        plan: |scene| {
            let mut checks = Checks::default();
            for name in [NEAR, FAR] {
                if let Ok(pod) = scene.pod(name) {
                    asked(scene, &mut checks, pod, name, 1, &answer_of(name))?;
                }
            }
            checks.plan()
        },
    },
    Scenario {
        name: "service-source-address-kept",
        what: "an endpoint sees the Service's clients by their own addresses",
        plan: |scene| {
            let (client, mut checks) = (scene.pod(CLIENT)?, Checks::default());
            for name in [NEAR, FAR] {
                if scene.pod(name).is_err() {
                    continue;
                }
                for address in addresses(scene.service(name)?, client) {
                    let expect = Expect::By {
                        names: vec![name.to_owned()],
                        client: client.address(Family::of(address)),
                    };
                    let to = (format!("Service {name} ({address})"), Vec::new());
                    checks.add(client, By::Tcp.ask(address, SERVICE_PORT, 1), to, expect);
                }
            }
            checks.plan()
        },
    },
    Scenario {
        name: "service-session-affinity",
        what: "a client of a Service with session affinity stays with one endpoint",
        plan: |scene| {
            scene.pod(FAR)?;
            let mut checks = Checks::default();
            asked(
                scene,
                &mut checks,
                scene.pod(CLIENT)?,
                STICKY,
                SEVERAL,
                &Expect::Same { names: endpoints(scene) },
            )?;
            checks.plan()
        },
    },
    Scenario {
        name: "service-internal-local",
        what: "with the internal traffic policy Local, a Service leads to endpoints of the client's node alone",
        plan: |scene| {
            scene.pod(FAR)?;
            let mut checks = Checks::default();
            for (client, endpoint) in [(CLIENT, NEAR), (GUARDED, FAR)] {
                asked(scene, &mut checks, scene.pod(client)?, INNER, SEVERAL, &answer_of(endpoint))?;
            }
            checks.plan()
        },
    },
    Scenario {
        name: "service-without-endpoints",
        what: "a Service without endpoints refuses at once",
        plan: |scene| {
            let mut checks = Checks::default();
            asked(scene, &mut checks, scene.pod(CLIENT)?, EMPTY, 1, &Expect::Refused)?;
            checks.plan()
        },
    },
    Scenario {
        name: "service-udp-endpoint-replaced",
        what: "a client of a UDP Service gets to the new endpoint when its endpoint is replaced",
        plan: |scene| {
            let (client, service) = (scene.pod(CLIENT)?, scene.service(MOVING)?);
            scene.pod(FAR)?;
            let mut checks = Checks::default();
            for address in addresses(service, client) {
                let key = format!("{MOVING} {address}");
                let to = (format!("Service {MOVING} ({address})"), Vec::new());
                let open = What::Open { key: key.clone(), to: (address, SERVICE_PORT).into(), udp: true };
                checks.held(client, open, key, to, [answer_of(NEAR), answer_of(FAR)]);
            }
            checks.plan()
        },
    },
];

/// The endpoints of the Services that have all of them.
pub(super) fn endpoints(scene: &Scene) -> Vec<String> {
    let running = [NEAR, FAR].into_iter().filter(|name| scene.pod(name).is_ok());
    running.map(str::to_owned).collect()
}

/// The Service that has that Pod alone.
fn one_endpoint(scene: &Scene, from: &End, name: &str) -> Result<Plan, String> {
    scene.pod(name)?;
    let mut checks = Checks::default();
    asked(scene, &mut checks, from, name, 1, &answer_of(name))?;
    checks.plan()
}

/// By TCP and UDP.
fn asked(
    scene: &Scene,
    checks: &mut Checks,
    from: &End,
    name: &str,
    times: u16,
    expect: &Expect,
) -> Result<(), String> {
    let service = scene.service(name)?;
    for by in BOTH {
        checks.service(Stage::Before, from, (name, service), by, times, expect);
    }
    Ok(())
}
