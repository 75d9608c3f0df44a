//! Opening the datapath, and everything the agent does with it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};

use aya::maps::{Array, Map, MapData};
use aya::programs::{ProgramError, SchedClassifier};
use aya::{Ebpf, EbpfLoader};
use ipnet::IpNet;

use crate::counters::Counters;
use crate::error::{Error, Result, chain};
use crate::layout::{self, Sizes};
use crate::links;
use crate::model::{Counter, NodeConfig, Options, Port, Route};
use crate::nodes::Nodes;
use crate::pins::{Pins, replace_pin};
use crate::ports::Ports;
use crate::recovery;
use crate::routes::Routes;
use crate::takeover::{share, take_over};

pub(crate) const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/midokube.bpf.o"));
pub(crate) const FROM_ENDPOINT: &str = "from_endpoint";
pub(crate) const FROM_OVERLAY: &str = "from_overlay";
/// The name of the program that removes VXLAN headers at the uplink.
pub const FROM_UPLINK: &str = "from_uplink";
pub(crate) const PROGRAMS: [&str; 3] = [FROM_ENDPOINT, FROM_OVERLAY, FROM_UPLINK];

/// The network's programs and maps in the kernel.
///
/// Dropping it changes nothing: what it made is pinned, and packets go on. There must be only one
/// writer to a pin directory at a time: the agent.
pub struct Datapath {
    pub(crate) ebpf: Ebpf,
    pub(crate) pins: Pins,
    /// The interfaces with the uplinks' program.
    pub(crate) uplinks: BTreeSet<u32>,
    pub(crate) config: Array<MapData, layout::Config>,
    ports: Ports,
    pub(crate) routes: Routes,
    pub(crate) nodes: Nodes,
    counters: Counters,
}

impl Datapath {
    /// Adopts the pinned maps of this layout with all that is in them, or creates them and takes over what
    /// an agent with another layout left, or what is at work without any pin; then loads the programs and pins them in the place of the former
    /// ones.
    ///
    /// What is attached goes on with the former programs until
    /// [`endpoint_program`](Self::endpoint_program) is put into the block and
    /// [`attach_overlay`](Self::attach_overlay) is called.
    ///
    /// # Errors
    ///
    /// If the directory is not on a BPF file system or not root's alone, a pinned map has another shape, another layout's maps
    /// cannot be read or have more in them than fits, or the kernel refuses the maps or the programs.
    pub fn open(options: &Options) -> Result<Self> {
        let sizes = sizes(options)?;
        let shapes = layout::map_shapes(&sizes);
        let pins = Pins::create(&options.pin_dir, &layout_name(&sizes))?;
        let former = match (pins.at_work_elsewhere()?, options.at_work) {
            (None, Some(program)) if !pins.are_at_work() => {
                recovery::find(&pins, program)?.filter(|directory| !pins.is_own(directory))
            }
            (former, _) => former,
        };
        if let Some(former) = &former {
            share(former, &pins)?;
        }
        let mut loader = EbpfLoader::new();
        // Nothing in the object is relocated against the kernel's own types.
        loader.btf(None);
        for shape in &shapes {
            pins.check_map(shape)?;
            loader.map_max_entries(shape.name, shape.max_entries);
            loader.map_pin_path(shape.name, pins.map(shape.name));
        }
        let mut ebpf =
            loader.load(OBJECT).map_err(|error| Error::Load { what: "maps", reason: chain(&error) })?;
        for name in PROGRAMS {
            let program = program(&mut ebpf, name)?;
            load(program).map_err(|error| load_error(name, &error))?;
            replace_pin(program, &pins.program(name))?;
        }
        let config = take(&mut ebpf, "config")?;
        let config =
            config.try_into().map_err(|source| Error::Map { action: "open", map: "config", source })?;
        let (ports, endpoints) = (take(&mut ebpf, "ports")?, take(&mut ebpf, "endpoints")?);
        let limits = take(&mut ebpf, "limits")?;
        let mut ports = Ports::new(ports, endpoints, Some(limits), sizes.ports)?;
        let mut routes = Routes::new(take(&mut ebpf, "routes")?, sizes.routes)?;
        let mut nodes = Nodes::new(take(&mut ebpf, "nodes")?, sizes.nodes)?;
        let mut counters = Counters::new(take(&mut ebpf, "counters")?)?;
        if let Some(former) = &former {
            take_over(former, &mut ports, &mut routes, &mut nodes, &mut counters)?;
        }
        tracing::debug!(directory = %pins.map("").display(), "datapath is open");
        Ok(Self { uplinks: BTreeSet::new(), config, ports, routes, nodes, counters, pins, ebpf })
    }

    /// The program for the shared ingress block of all Pods' outer ends and `midokube-mido`, to be
    /// attached as a direct-action classifier.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell its number.
    pub fn endpoint_program(&self) -> Result<Program<'_>> {
        self.classifier(FROM_ENDPOINT)
    }

    /// The program for the ingress of the VXLAN device, where there is no tcx: to be attached as a
    /// direct-action classifier, and then [noted](Self::note_overlay).
    ///
    /// # Errors
    ///
    /// If the kernel does not tell its number.
    pub fn overlay_program(&self) -> Result<Program<'_>> {
        self.classifier(FROM_OVERLAY)
    }

    /// The program that removes VXLAN headers, in the same way for the interfaces that carry the tunnels.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell its number.
    pub fn uplink_program(&self) -> Result<Program<'_>> {
        self.classifier(FROM_UPLINK)
    }

    fn classifier(&self, name: &'static str) -> Result<Program<'_>> {
        let missing = || Error::Load { what: name, reason: "it is missing".into() };
        let program = self.ebpf.program(name).ok_or_else(missing)?;
        let program: &SchedClassifier = program.try_into().map_err(|error| load_error(name, &error))?;
        let fd = program.fd().map_err(|error| load_error(name, &error))?.as_fd();
        Ok(Program { name, id: self.info(name)?.id(), fd })
    }

    /// Attaches the overlay's program to the ingress of the VXLAN device by a pinned tcx link, or
    /// replaces the program of the link that is there in one step.
    ///
    /// Creating a link holds the kernel's RTNL for some 7-30 ms; replacing takes microseconds.
    ///
    /// # Errors
    ///
    /// If there is no such interface, or the kernel refuses the link: ask [`has_tcx`](crate::has_tcx) first.
    pub fn attach_overlay(&mut self, ifindex: u32) -> Result<()> {
        links::attach(program(&mut self.ebpf, FROM_OVERLAY)?, ifindex, &self.pins, links::OVERLAY)
    }

    /// Notes that [`overlay_program`](Self::overlay_program) is attached: from now on a datapath that is opened
    /// with another layout takes over from this one. A tcx link that was there goes.
    ///
    /// # Errors
    ///
    /// If the pin cannot be made.
    pub fn note_overlay(&mut self) -> Result<()> {
        links::note(program(&mut self.ebpf, FROM_OVERLAY)?, &self.pins, links::OVERLAY)
    }

    /// Attaches the program that removes VXLAN headers to the ingress of the interfaces that carry the tunnels by
    /// pinned tcx links, as the overlay's, and takes it away from all others.
    ///
    /// # Errors
    ///
    /// If there is no such interface, or the kernel refuses the link.
    pub fn attach_uplinks(&mut self, ifindexes: &[u32]) -> Result<()> {
        self.uplinks.clear();
        for ifindex in ifindexes {
            let program = program(&mut self.ebpf, FROM_UPLINK)?;
            links::attach(program, *ifindex, &self.pins, &links::uplink(*ifindex))?;
            self.uplinks.insert(*ifindex);
        }
        links::leave_other_uplinks(&self.pins, &self.uplinks)
    }

    /// Notes where [`uplink_program`](Self::uplink_program) is attached. Tcx links that were there go.
    ///
    /// # Errors
    ///
    /// If a pin cannot be made or removed.
    pub fn note_uplinks(&mut self, ifindexes: &[u32]) -> Result<()> {
        self.uplinks.clear();
        for ifindex in ifindexes {
            links::note(program(&mut self.ebpf, FROM_UPLINK)?, &self.pins, &links::uplink(*ifindex))?;
            self.uplinks.insert(*ifindex);
        }
        links::leave_other_uplinks(&self.pins, &self.uplinks)
    }

    /// Removes the pins that agents with other map layouts or sizes left in the pin directory.
    ///
    /// To be called when both programs are attached: until then the old ones do the work.
    ///
    /// # Errors
    ///
    /// If a pin cannot be removed.
    pub fn remove_other_layouts(&self) -> Result<()> {
        self.pins.remove_other_layouts()
    }

    /// Tells the programs what this node is. Before the first time every packet is dropped.
    ///
    /// # Errors
    ///
    /// If the configuration cannot be right, or the map cannot be written.
    pub fn set_config(&mut self, config: &NodeConfig) -> Result<()> {
        let config = layout::Config::try_from(config)?;
        self.config.set(0, config, 0).map_err(|source| Error::Map { action: "write", map: "config", source })
    }

    /// Lets packets pass between an interface's addresses and the network.
    ///
    /// What the interface had before is replaced, and its addresses are taken from whoever had them.
    /// Binding the same port again changes nothing.
    ///
    /// # Errors
    ///
    /// If the port cannot be right, or there is no room: then everything is as before. If the kernel
    /// fails in between, the interface is left without any address.
    pub fn bind(&mut self, port: &Port) -> Result<()> {
        let config = self.config.get(&0, 0);
        let config = config.map_err(|source| Error::Map { action: "read", map: "config", source })?;
        if let Some(gateway) = port.addresses.iter().find(|address| config.is_gateway(**address)) {
            let reason = format!("{gateway} is the gateway's address, which no Pod can have");
            return Err(Error::Port { ifindex: port.ifindex, reason });
        }
        self.ports.bind(port)
    }

    /// Lets no more packets pass through an interface. One that is not bound is released already.
    ///
    /// # Errors
    ///
    /// If a map cannot be read or written.
    pub fn release(&mut self, ifindex: u32) -> Result<()> {
        self.ports.release(ifindex)
    }

    /// Every port as the kernel has it, by interface index.
    ///
    /// # Errors
    ///
    /// If a map cannot be read, or holds what this program does not write.
    pub fn ports(&self) -> Result<Vec<Port>> {
        self.ports.all()
    }

    /// Every route as the kernel has it.
    ///
    /// # Errors
    ///
    /// If the map cannot be read, or holds what this program does not write.
    pub fn routes(&self) -> Result<BTreeMap<IpNet, Route>> {
        self.routes.all()
    }

    /// Adds or replaces the route of a prefix; bits of its address beyond its length do not count.
    ///
    /// # Errors
    ///
    /// If the route cannot be right, there is no room, or the map cannot be written.
    pub fn set_route(&mut self, prefix: IpNet, route: Route) -> Result<()> {
        self.routes.set(prefix, route)
    }

    /// Removes the route of a prefix, if there is one.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn remove_route(&mut self, prefix: IpNet) -> Result<()> {
        self.routes.remove(prefix)
    }

    /// The addresses that are known as nodes' own, each with where tunnels to its node end; `None`: this node's.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn nodes(&self) -> Result<BTreeMap<IpAddr, Option<IpAddr>>> {
        self.nodes.all()
    }

    /// Makes an address known as that of the node where tunnels end there; `None`: as this node's.
    ///
    /// Such a node may send tunnels' packets from there, and its processes may talk to Pods from there.
    ///
    /// # Errors
    ///
    /// If an address cannot be right, there is no room, or the map cannot be written.
    pub fn set_node(&mut self, address: IpAddr, end: Option<IpAddr>) -> Result<()> {
        self.nodes.set(address, end)
    }

    /// Makes an address nobody's, if it was a node's.
    ///
    /// # Errors
    ///
    /// If the map cannot be written.
    pub fn remove_node(&mut self, address: IpAddr) -> Result<()> {
        self.nodes.remove(address)
    }

    /// What became of the packets so far, in the order of `bpf/reasons.def`, of all CPUs together.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn counters(&self) -> Result<Vec<Counter>> {
        self.counters.read()
    }
}

/// A program for a classifier.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Its name.
    pub name: &'static str,
    /// The kernel's number of it, which a look at the classifier gives, too.
    pub id: u32,
    /// The program.
    pub fd: BorrowedFd<'a>,
}

/// The most that [`Options::max_endpoints`] and [`Options::max_routes`] can be: far more than a node can run or a
/// cluster can have, and no harm to the kernel's memory.
pub const MOST_ENTRIES: u32 = 1 << 16;

fn sizes(options: &Options) -> Result<Sizes> {
    let Options { max_endpoints, max_routes, .. } = *options;
    if !(1..=MOST_ENTRIES).contains(&max_endpoints) || !(1..=MOST_ENTRIES).contains(&max_routes) {
        return Err(Error::Sizes { max_endpoints, max_routes, limit: "each must be between 1 and 65536" });
    }
    // With room for every address of every port, only one map can ever be full.
    let addresses = u32::try_from(layout::PORT_ADDRESSES).unwrap_or(u32::MAX);
    Ok(Sizes {
        ports: max_endpoints,
        endpoints: max_endpoints.saturating_mul(addresses),
        routes: max_routes,
        // A node with a route for each family seldom has more than two addresses of each.
        nodes: max_routes.saturating_mul(2),
    })
}

/// The name of the directory of maps of this shape and these sizes.
fn layout_name(sizes: &Sizes) -> String {
    format!("{}-{}-{}", env!("DATAPATH_LAYOUT"), sizes.ports, sizes.routes)
}

pub(crate) fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier> {
    let program =
        ebpf.program_mut(name).ok_or_else(|| Error::Load { what: name, reason: "it is missing".into() })?;
    program.try_into().map_err(|error| load_error(name, &error))
}

/// How often a program is loaded whose verification a signal interrupted. As often as libbpf does.
const LOADS: usize = 5;

/// Loads a program. A signal in the middle of its verification makes the kernel give up (EAGAIN): it is asked again.
fn load(program: &mut SchedClassifier) -> std::result::Result<(), ProgramError> {
    for _ in 1..LOADS {
        match program.load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) => {}
            loaded => return loaded,
        }
    }
    program.load()
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map> {
    ebpf.take_map(name).ok_or_else(|| Error::Load { what: "maps", reason: format!("map {name} is missing") })
}

fn load_error(what: &'static str, error: &dyn std::error::Error) -> Error {
    let reason = chain(error);
    tracing::debug!(what, reason, "the kernel refused a program");
    // The verifier's log is thousands of lines; what it stumbled over stands at the end.
    let lines: Vec<_> = reason.lines().collect();
    let reason = match lines.as_slice() {
        [first, .., a, b, c, d, e, f] => [*first, "...", a, b, c, d, e, f].join("\n"),
        _ => reason,
    };
    Error::Load { what, reason }
}
