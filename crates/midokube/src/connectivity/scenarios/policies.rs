//! What NetworkPolicies allow, and what they do not.
//!
//! `GUARDED` takes from clients with a label at `PORT`, from the other namespace at `PORT_NAMESPACE`, from the visitor's address
//! at `PORT_BLOCK`, and from everywhere but the client's at `PORT_EXCEPT`. `CONFINED` sends to `NEAR` at `PORT`.

use std::net::SocketAddr;

use super::super::check::{Expect, Stage};
use super::super::question::What;
use super::super::scene::{
    CLIENT, CONFINED, End, GUARDED, NEAR, OTHER_NAMESPACE, PORT, PORT_BLOCK, PORT_EXCEPT, PORT_NAMESPACE,
    Scene,
};
use super::plan::{BOTH, By, Checks, Plan, Scenario, answer_of, common};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "policy-default-deny",
        what: "a policy denies what it does not allow: from the same node and from others",
        plan: |scene| during(scene, &[(scene.visitor()?, PORT, false), (scene.pod(NEAR)?, PORT, false)]),
    },
    Scenario {
        name: "policy-allow-label",
        what: "a policy allows Pods by their label",
        plan: |scene| during(scene, &[(scene.pod(CLIENT)?, PORT, true)]),
    },
    Scenario {
        name: "policy-allow-namespace",
        what: "a policy allows Pods by their namespace",
        plan: |scene| {
            during(
                scene,
                &[
                    (scene.pod(OTHER_NAMESPACE)?, PORT_NAMESPACE, true),
                    (scene.pod(OTHER_NAMESPACE)?, PORT, false),
                ],
            )
        },
    },
    Scenario {
        name: "policy-port",
        what: "a policy that allows one port allows no other",
        plan: |scene| {
            during(scene, &[(scene.pod(CLIENT)?, PORT, true), (scene.pod(CLIENT)?, PORT_NAMESPACE, false)])
        },
    },
    Scenario {
        name: "policy-ip-block",
        what: "a policy allows a block of addresses, and no others",
        plan: |scene| {
            during(scene, &[(scene.visitor()?, PORT_BLOCK, true), (scene.pod(CLIENT)?, PORT_BLOCK, false)])
        },
    },
    Scenario {
        name: "policy-ip-block-except",
        what: "a policy allows a block of addresses but for an exception",
        plan: |scene| {
            during(scene, &[(scene.visitor()?, PORT_EXCEPT, true), (scene.pod(CLIENT)?, PORT_EXCEPT, false)])
        },
    },
    Scenario {
        name: "policy-behind-service",
        what: "a policy counts behind a Service, too",
        plan: |scene| {
            enforced(scene)?;
            let (service, mut checks) = (scene.service(GUARDED)?, Checks::default());
            scene.pod(GUARDED)?;
            for (from, expect) in
                [(scene.pod(CLIENT)?, answer_of(GUARDED)), (scene.visitor()?, Expect::Silence)]
            {
                for by in BOTH {
                    checks.service(Stage::During, from, (GUARDED, service), by, 1, &expect);
                }
            }
            checks.plan()
        },
    },
    Scenario {
        name: "policy-own-node",
        what: "a policy keeps a Pod's own node from nothing: kubelet probes it",
        plan: |scene| {
            enforced(scene)?;
            let (guarded, mut checks) = (scene.pod(GUARDED)?, Checks::default());
            let node = scene.node(&guarded.node)?;
            checks.pod(Stage::During, &node.end, guarded, By::Tcp, PORT, &answer_of(GUARDED));
            checks.plan()
        },
    },
    Scenario {
        name: "policy-egress",
        what: "a policy denies what a Pod sends, but for what it allows",
        plan: |scene| {
            enforced(scene)?;
            let (confined, near, mut checks) = (scene.pod(CONFINED)?, scene.pod(NEAR)?, Checks::default());
            let visitor = scene.visitor()?;
            for by in BOTH {
                checks.pod(Stage::During, confined, near, by, PORT, &answer_of(NEAR));
                checks.pod(Stage::During, confined, near, by, PORT_NAMESPACE, &Expect::Silence);
                if visitor != near {
                    checks.pod(Stage::During, confined, visitor, by, PORT, &Expect::Silence);
                }
            }
            checks.plan()
        },
    },
    Scenario {
        name: "policy-keeps-allowed-connection",
        what: "an open connection that a new policy allows goes on",
        plan: |scene| held(scene, scene.pod(CLIENT)?, &answer_of(GUARDED)),
    },
    Scenario {
        name: "policy-ends-denied-connection",
        what: "an open connection that a new policy denies does not go on",
        plan: |scene| held(scene, scene.visitor()?, &Expect::Silence),
    },
    Scenario {
        name: "policy-removed",
        what: "what a policy denied passes again once the policy is removed",
        plan: |scene| {
            enforced(scene)?;
            let (guarded, visitor, mut checks) = (scene.pod(GUARDED)?, scene.visitor()?, Checks::default());
            for by in BOTH {
                checks.pod(Stage::After, visitor, guarded, by, PORT, &answer_of(GUARDED));
                checks.pod(Stage::After, scene.pod(CONFINED)?, visitor, by, PORT, &answer_of(visitor.name()));
            }
            checks.plan()
        },
    },
];

fn enforced(scene: &Scene) -> Result<(), String> {
    if scene.abilities.policies {
        return Ok(());
    }
    Err(if scene.abilities.embedded {
        "the agents enforce no policy (--policy off)".to_owned()
    } else {
        "a MidoNet is the network: it enforces no policy".to_owned()
    })
}

/// Who asks `GUARDED` at which port, and whether it gets an answer, while its policy is in force.
fn during(scene: &Scene, asked: &[(&End, u16, bool)]) -> Result<Plan, String> {
    enforced(scene)?;
    let (guarded, mut checks) = (scene.pod(GUARDED)?, Checks::default());
    for (from, port, allowed) in asked {
        let expect = if *allowed { answer_of(GUARDED) } else { Expect::Silence };
        for by in BOTH {
            checks.pod(Stage::During, from, guarded, by, *port, &expect);
        }
    }
    checks.plan()
}

/// A connection to `GUARDED` that is opened before its policy, and what comes of it afterwards.
fn held(scene: &Scene, from: &End, expect: &Expect) -> Result<Plan, String> {
    enforced(scene)?;
    let (guarded, mut checks) = (scene.pod(GUARDED)?, Checks::default());
    for (address, to) in common(from, guarded) {
        let key = format!("{GUARDED} {address}");
        let open = What::Open { key: key.clone(), to: SocketAddr::new(address, PORT), udp: false };
        checks.held(from, open, key, to, [answer_of(GUARDED), expect.clone()]);
    }
    checks.plan()
}
