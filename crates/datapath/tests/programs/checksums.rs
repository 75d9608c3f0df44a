//! The checksums of translated packets where a plain comparison with what a sender would compute says little.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use crate::support::packets::*;
use crate::support::scene::*;
use crate::support::services::*;
use crate::support::tunnel::*;
use crate::support::*;
use testkit::packet::*;

const OBJECT: &str = env!("DATAPATH_TUNNEL_OBJECT");

/// In UDP a zero stands for no checksum, and IPv6 has no packets without one.
#[test]
fn no_udp_checksum_becomes_zero_and_none_stays_none() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let (client, vip, backend) = ((p.pods.a, 40_000), (p.vip, 80), (p.pods.b, 8080));
            scene.maps.serve(SCOPE_ADDRESS, UDP, vip, &Service::new(1, &[backend]));
            let packet = |to, data: &[u8]| segment(UDP, client, to, 0, data);
            let data = (0..=u16::MAX)
                .map(u16::to_be_bytes)
                .find(|data| packet(backend, data).payload[6..8] == [0xff, 0xff])
                .expect("every sum is that of some packet");
            let expected = after(1, packet(backend, &data));
            delivered(&scene.a_sends(&packet(vip, &data)), "local", B_MAC, &expected);
            let without = |to| {
                let mut packet = packet(to, b"none");
                packet.payload[6..8].fill(0);
                packet
            };
            delivered(&scene.a_sends(&without(vip)), "local", B_MAC, &after(1, without(backend)));
        }
    });
}

/// A frame has at least 60 bytes on the wire, and the last of them are not the packet's.
#[test]
fn what_pads_a_frame_is_in_no_checksum() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        let p = &parties()[0];
        let (client, front, backend) = ((p.client, 40_000), (p.own, 30_080), (p.pods.b, 8080));
        for protocol in [TCP, UDP, SCTP] {
            scene.maps.serve(SCOPE_NODE_PORT, protocol, front, &Service::new(1, &[backend]));
            scene.maps.serve_port(protocol, front.1);
            let padded = |frame: Vec<u8>| [&frame[..], &[0x5a; 7]].concat();
            let frame = padded(segment(protocol, client, front, SYN, b"1234").frame(UPLINK_MAC, PEER_MAC));
            let (verdict, _) = scene.node.run(&scene.node.program("from_uplink"), scene.uplink, 0, &frame);
            let expected = after(1, segment(protocol, client, backend, SYN, b"1234"));
            assert_eq!(verdict.frame, padded(expected.frame(B_MAC, GATEWAY_MAC)), "{protocol}");
        }
    });
}

/// The argument of `BPF_PROG_TEST_RUN`.
#[repr(C)]
struct TestRun {
    program: u32,
    action: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
}

/// Runs a program on a packet that comes with the sum over all of it, as interfaces compute it (`CHECKSUM_COMPLETE`).
/// Says what the kernel says if the sum is another than the packet's afterwards.
fn with_sum(scene: &Scene, program: &str, frame: &[u8]) -> io::Result<u32> {
    const PROG_TEST_RUN: libc::c_int = 10;
    const CHECKSUM_COMPLETE: u32 = 1 << 2;
    let program = scene.node.program(program);
    let mut context = [0u8; 192]; // struct __sk_buff
    context[40..44].copy_from_slice(&scene.uplink.to_ne_bytes());
    let mut run = TestRun {
        program: program.fd().unwrap().as_fd().as_raw_fd().cast_unsigned(),
        action: 0,
        size_in: frame.len() as u32,
        size_out: 0,
        data_in: frame.as_ptr() as u64,
        data_out: 0,
        repeat: 1,
        duration: 0,
        context_size_in: context.len() as u32,
        context_size_out: 0,
        context_in: context.as_ptr() as u64,
        context_out: 0,
        flags: CHECKSUM_COMPLETE,
        cpu: 0,
    };
    // SAFETY: the beginning of the kernel's union for this command, and its length; the pointers in it are to what
    // outlives the call, with the sizes beside them.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_TEST_RUN, &raw mut run, size_of::<TestRun>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(run.action) }
}

/// Whether this kernel can check such sums: from Linux 6.17 on.
fn can_check(scene: &Scene) -> bool {
    let packet = segment(TCP, ("192.0.2.1".parse().unwrap(), 1), (OWN.parse().unwrap(), 2), 0, b"");
    match with_sum(scene, "from_uplink", &packet.frame(UPLINK_MAC, PEER_MAC)) {
        Ok(_) => true,
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_interfaces_sum_stays_that_of_the_packet() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        if !can_check(&scene) {
            eprintln!("this kernel cannot check sums of test runs: nothing was tested");
            return;
        }
        for p in parties() {
            for protocol in [TCP, UDP, SCTP] {
                for (port, backend) in [(1, p.pods.b), (2, p.own), (3, p.other), (4, p.pods.node)] {
                    let (client, front, backend) =
                        ((p.client, 40_000), (p.own, 30_000 + port), (backend, 8080));
                    scene.maps.serve(SCOPE_NODE_PORT, protocol, front, &Service::new(1, &[backend]));
                    scene.maps.serve_port(protocol, front.1);
                    let packet = segment(protocol, client, front, SYN, b"question");
                    let sum = |program, packet: &Ip| {
                        let frame = packet.frame(UPLINK_MAC, PEER_MAC);
                        let result = with_sum(&scene, program, &frame);
                        assert!(result.is_ok(), "{program} {protocol} {packet:?}: {result:?}");
                    };
                    sum("from_uplink", &packet);
                    let verdict = scene.uplink_brings(&packet);
                    let source = ends(&verdict.frame[14..]).0;
                    let answer = segment(protocol, backend, source, SYN | ACK, b"answer");
                    match port {
                        2 => sum("to_uplink", &answer),
                        3 => sum("from_uplink", &answer),
                        _ => {}
                    }
                    let kind = if p.own.is_ipv6() { (1, 4) } else { (3, 3) };
                    let seen = segment(protocol, front, client, ACK, b"answer").bytes();
                    sum("from_uplink", &error(p.client, front.0, kind, &seen));
                }
            }
        }
    });
}
