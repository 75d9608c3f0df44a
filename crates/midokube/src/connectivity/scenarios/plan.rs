//! What scenarios have in common.

use std::net::{IpAddr, SocketAddr};

use super::super::check::{Check, Expect, Stage};
use super::super::question::{Size, What};
use super::super::scene::{End, FAMILIES, Family, PORT, SERVICE_PORT, Scene, Service};

/// A scenario.
pub(in crate::connectivity) struct Scenario {
    /// By what it is chosen. It does not change.
    pub(in crate::connectivity) name: &'static str,
    /// What is so if it passes.
    pub(in crate::connectivity) what: &'static str,
    /// What is to be tried; or why nothing can be.
    pub(in crate::connectivity) plan: fn(&Scene) -> Result<Plan, String>,
}

/// What is to be tried, and what is known without a try.
#[derive(Debug, Default)]
pub(in crate::connectivity) struct Plan {
    pub(in crate::connectivity) checks: Vec<Check>,
    pub(in crate::connectivity) known: Vec<Known>,
}

/// A fault that is known without a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::connectivity) struct Known {
    /// Whose.
    pub(in crate::connectivity) object: String,
    pub(in crate::connectivity) node: String,
    pub(in crate::connectivity) expected: String,
    pub(in crate::connectivity) observed: String,
}

/// How a Pod is asked who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Tcp,
    Udp,
}

impl By {
    /// The question, so many times.
    pub(super) fn ask(self, to: IpAddr, port: u16, times: u16) -> What {
        let to = SocketAddr::new(to, port);
        match self {
            Self::Tcp => What::Tcp { to, times, bytes: 0 },
            Self::Udp => What::Udp { to, times, size: Size::Small },
        }
    }
}

pub(super) const BOTH: [By; 2] = [By::Tcp, By::Udp];

/// An answer of this Pod.
pub(super) fn answer_of(name: &str) -> Expect {
    Expect::By { names: vec![name.to_owned()], client: None }
}

/// Checks that are being collected.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<Check>);

impl Checks {
    /// Adds one.
    pub(super) fn add(&mut self, from: &End, what: What, to: (String, Vec<String>), expect: Expect) {
        self.at(Stage::Before, from, what, to, expect);
    }

    /// Adds one of that stage. Its family is that of the address that packets are for.
    pub(super) fn at(
        &mut self,
        stage: Stage,
        from: &End,
        what: What,
        (to, to_nodes): (String, Vec<String>),
        expect: Expect,
    ) {
        let opened = what.clone();
        self.0.push(Check { stage, opened, from: from.clone(), what, to, to_nodes, expect });
    }

    /// Opens a connection by which the expected one answers, and says what is to come of it later.
    pub(super) fn held(
        &mut self,
        from: &End,
        open: What,
        key: String,
        to: (String, Vec<String>),
        [first, later]: [Expect; 2],
    ) {
        self.add(from, open.clone(), to.clone(), first);
        let (stage, what, (to, to_nodes)) = (Stage::During, What::Use { key }, to);
        self.0.push(Check { stage, opened: open, from: from.clone(), what, to, to_nodes, expect: later });
    }

    /// Asks a Pod for its name, over each family that both have.
    pub(super) fn pod(&mut self, stage: Stage, from: &End, to: &End, by: By, port: u16, expect: &Expect) {
        for (address, end) in common(from, to) {
            self.at(stage, from, by.ask(address, port, 1), end, expect.clone());
        }
    }

    /// Asks a Service so many times, over each family that it and the client have.
    pub(super) fn service(
        &mut self,
        stage: Stage,
        from: &End,
        (name, service): (&str, &Service),
        by: By,
        times: u16,
        expect: &Expect,
    ) {
        for address in addresses(service, from) {
            let to = (format!("Service {name} ({address})"), Vec::new());
            self.at(stage, from, by.ask(address, SERVICE_PORT, times), to, expect.clone());
        }
    }

    /// All of them, if there are any.
    pub(super) fn plan(self) -> Result<Plan, String> {
        if self.0.is_empty() {
            return Err("the ends have no addresses of one family".to_owned());
        }
        Ok(Plan { checks: self.0, known: Vec::new() })
    }
}

/// The addresses of the other end that have a counterpart, each with who that is.
pub(super) fn common(from: &End, to: &End) -> Vec<(IpAddr, (String, Vec<String>))> {
    let pair = |family: Family| {
        let address = to.address(family)?;
        from.address(family)?;
        Some((address, (to.at(address), vec![to.node.clone()])))
    };
    FAMILIES.into_iter().filter_map(pair).collect()
}

/// The Service's addresses of the client's families.
pub(super) fn addresses(service: &Service, from: &End) -> Vec<IpAddr> {
    let families = FAMILIES.into_iter().filter(|family| from.address(*family).is_some());
    families.filter_map(|family| family.first(&service.addresses)).collect()
}

/// The Pods ask each other for their names, by a protocol.
pub(super) fn each_other(one: &End, other: &End, by: By) -> Result<Plan, String> {
    let mut checks = Checks::default();
    for (from, to) in [(one, other), (other, one)] {
        checks.pod(Stage::Before, from, to, by, PORT, &answer_of(to.name()));
    }
    checks.plan()
}

/// Why a MidoNet's network is not tried with this.
pub(super) fn embedded(scene: &Scene, what: &str) -> Result<(), String> {
    if scene.abilities.embedded { Ok(()) } else { Err(format!("a MidoNet is the network: it has no {what}")) }
}
