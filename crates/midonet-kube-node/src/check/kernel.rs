//! What the kernel can do, found out by doing it: in a network namespace of its own, with pins that are removed.

use std::thread;

use anyhow::{Context, Result, anyhow};
use datapath::Datapath;
use naming::{GATEWAY_MAC, OVERLAY_MAC, interface};
use nix::sched::{CloneFlags, unshare};
use plumbing::nft::{Elements, LocalServices, Rules};
use plumbing::veth::VethPair;
use plumbing::{Family, tc};

use super::Finding;
use crate::backend::embedded::Hook;
use crate::config::{Config, NetworkKind};

pub(super) fn try_out(args: &Config) -> Vec<Finding> {
    let tried = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace to try things in")?;
            Ok(Trial::default().run(args))
        });
        thread.join().unwrap_or_else(|_| Err(anyhow!("the trial ended early")))
    });
    tried.unwrap_or_else(|error: anyhow::Error| {
        vec![Finding::missing("the kernel's features", format!("{error:#}"), "run it as root")]
    })
}

#[derive(Debug, Default)]
struct Trial {
    findings: Vec<Finding>,
}

impl Trial {
    fn run(mut self, args: &Config) -> Vec<Finding> {
        let _loopback = plumbing::link::set_up("lo");
        let ipv6 = plumbing::sysctl::has_ipv6();
        self.findings.push(if ipv6 { Finding::good("IPv6") } else { without_ipv6(args) });
        let pair = self.step(
            if ipv6 {
                "veth pairs in a shared block, IPv4 and IPv6"
            } else {
                "veth pairs in a shared block, IPv4"
            },
            "CONFIG_VETH, CONFIG_NET_CLS_ACT and CONFIG_NET_SCH_INGRESS (modprobe veth sch_ingress)",
            || make_pair(ipv6),
        );
        if args.network == NetworkKind::Midonet {
            return self.findings;
        }
        let overlay = self.step("VXLAN devices", "CONFIG_VXLAN (modprobe vxlan)", || {
            Ok(plumbing::overlay::ensure(interface::OVERLAY, OVERLAY_MAC.0, 1450, args.tunnel_port)?)
        });
        self.step(
            "translation of addresses by nftables",
            "CONFIG_NF_TABLES_INET, CONFIG_NFT_NAT, CONFIG_NFT_MASQ, CONFIG_NFT_CT and CONFIG_NFT_FIB_INET (modprobe \
             nf_tables nft_chain_nat nft_masq nft_nat nft_ct nft_fib_inet)",
            || {
                let pod_cidrs = vec!["192.0.2.0/24".parse()?, "2001:db8::/64".parse()?];
                let gateways = vec!["192.0.2.1".parse()?, "2001:db8::1".parse()?];
                let services = Some(LocalServices { gateways, loopback: vec![Family::V4, Family::V6] });
                let (inside, source_ports) = (interface::NODE.into(), 32_768..=60_999);
                Ok(Rules { pod_cidrs, inside, source_ports, services }.apply(&Elements::new())?)
            },
        );
        if let Err(error) = plumbing::shape::try_out(interface::SHAPER, interface::SHAPED) {
            let needs = "CONFIG_NET_SCH_TBF and CONFIG_NET_SCH_HTB (modprobe sch_tbf sch_htb)";
            let problem = format!("{error}: Pods with a limit cannot be added");
            let remedy = format!("the kernel needs {needs}");
            self.findings.push(Finding::warning("limits of Pods' bandwidth", problem, remedy));
        } else {
            self.findings.push(Finding::good("limits of Pods' bandwidth"));
        }
        let paths = &args.paths;
        let was_there = paths.bpf_dir.exists();
        let pin_dir = paths.bpf_dir.join(format!("check-{}", std::process::id()));
        let options = datapath::Options {
            pin_dir: pin_dir.clone(),
            max_endpoints: 1,
            max_routes: 1,
            max_connections: Some(1),
            max_services: 1,
            max_backends: 1,
            policy: datapath::policy::Sizes::LEAST,
            max_drops: 1,
            recording: None,
            at_work: None,
        };
        let datapath = self.step(
            "eBPF maps, programs and pins",
            &format!("CONFIG_BPF_SYSCALL and CONFIG_BPF_JIT, and Linux 6.1 or later: this is {}", release()),
            || Ok(Datapath::open(&options)?),
        );
        if let Some(mut datapath) = datapath {
            if pair.is_some() {
                self.step("eBPF classifiers", "CONFIG_NET_CLS_BPF (modprobe cls_bpf)", || {
                    Ok(tc::set_block_program(tc::INGRESS_BLOCK, datapath.endpoint_program()?.fd, "check")?)
                });
            }
            if let Some(overlay) = overlay {
                let hook = Hook::choose(args.hook);
                let what = hook.as_ref().map_or_else(|_| "tcx links".to_owned(), ToString::to_string);
                let what = format!("eBPF programs at the overlay and the uplink: {what}");
                let needs = "CONFIG_NET_XGRESS, or CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF";
                self.step(&what, needs, || hook?.attach_overlay(&mut datapath, overlay));
            }
        }
        if let Err(error) = datapath::remove_pins(&pin_dir) {
            self.findings.push(Finding::warning("the trial's pins", error, "remove them"));
        }
        if !was_there {
            let _ = std::fs::remove_dir(&paths.bpf_dir); // not if an agent has begun to use it meanwhile
        }
        self.findings
    }

    /// Does one thing; notes how that went, and what the kernel needs for it.
    fn step<T>(&mut self, what: &str, needs: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        match work() {
            Ok(made) => {
                self.findings.push(Finding::good(what));
                Some(made)
            }
            Err(error) => {
                self.findings.push(Finding::missing(
                    what,
                    format!("{error:#}"),
                    format!("the kernel needs {needs}"),
                ));
                None
            }
        }
    }
}

/// Whether that matters depends on the Pods' addresses.
fn without_ipv6(args: &Config) -> Finding {
    let problem = "this kernel has none (ipv6.disable=1, or no CONFIG_IPV6)";
    match args.cluster_cidr.iter().find(|cidr| cidr.addr().is_ipv6()) {
        Some(cidr) => Finding::missing(
            "IPv6",
            format!("{problem}, but --cluster-cidr has {cidr}"),
            "boot without ipv6.disable=1, or take it out",
        ),
        None => Finding::warning("IPv6", problem, "none is needed, Pods have IPv4 addresses only"),
    }
}

fn release() -> String {
    let name = nix::sys::utsname::uname();
    name.map_or_else(|error| error.to_string(), |name| name.release().to_string_lossy().into_owned())
}

fn make_pair(ipv6: bool) -> Result<()> {
    let count = if ipv6 { 2 } else { 1 };
    let addresses = ["192.0.2.2/24".parse()?, "2001:db8::2/64".parse()?].into_iter().take(count);
    let gateways = ["192.0.2.1".parse()?, "2001:db8::1".parse()?].into_iter().take(count);
    let pair = VethPair {
        ifname: interface::NODE.into(),
        mac: naming::attachment_mac("check", interface::NODE).0,
        host_ifname: interface::MIDO.into(),
        host_mac: GATEWAY_MAC.0,
        alias: "check".into(),
        mtu: 1450,
        addresses: addresses.collect(),
        gateways: gateways.collect(),
        routes: Vec::new(),
        forwarding: Some(true),
        replace_stale: false,
        in_block: true,
    };
    plumbing::veth::create(None, &pair)?;
    Ok(())
}
