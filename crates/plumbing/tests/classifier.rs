//! A program as the first classifier at an interface's ingress or egress, beside the filters of others.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use plumbing::tc::{self, Direction};
use testkit::Namespace;

const NAME: &str = "from_uplink";
const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// `r0 = -1; exit`: lets the packet meet the next filter.
fn program() -> OwnedFd {
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        code: *const u64,
        license: *const libc::c_char,
    }
    let code: [u64; 2] = [0xffff_ffff_0000_00b7, 0x95];
    let load = Load { kind: 3, count: 2, code: code.as_ptr(), license: c"GPL".as_ptr() };
    // SAFETY: the beginning of the kernel's union for BPF_PROG_LOAD, and its length.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, 5, &raw const load, size_of::<Load>()) };
    assert!(fd >= 0, "{}: run it as root", std::io::Error::last_os_error());
    // SAFETY: the kernel just gave us this descriptor, nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd.try_into().unwrap()) }
}

fn id(program: &OwnedFd) -> u32 {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("prog_id:")).unwrap();
    line.trim().parse().unwrap()
}

struct Node {
    netns: Namespace,
    up: u32,
    direction: Direction,
}

impl Node {
    fn new(direction: Direction) -> Self {
        let netns = Namespace::new();
        netns.ip("link add up0 type veth peer name other");
        let up = netns.run(|| plumbing::link::find("up0")).unwrap().unwrap().ifindex;
        Self { netns, up, direction }
    }

    fn tc(&self, line: &str) -> String {
        testkit::run(self.netns.command("tc").args(line.split(' ')))
    }

    fn attach(&self, program: &OwnedFd) {
        self.netns.run(|| tc::attach(self.direction, self.up, program.as_fd(), NAME)).unwrap();
        assert_eq!(self.program(), Some(id(program)));
    }

    fn program(&self) -> Option<u32> {
        self.netns.run(|| tc::attached_program(self.direction, self.up, NAME)).unwrap()
    }

    fn detach(&self, except: Option<u32>) -> Vec<String> {
        self.netns.run(|| tc::detach(&[(self.direction, NAME)], except.as_slice())).unwrap()
    }

    /// Priority and handle of each filter, in the order that packets meet them.
    fn order(&self, hook: &str) -> Vec<String> {
        let shown = self.tc(&format!("filter show dev up0 {hook}"));
        let word = |line: &str, key: &str| {
            let mut words = line.split_whitespace().skip_while(|word| *word != key);
            words.nth(1).unwrap_or_default().to_owned()
        };
        let filters = shown.lines().filter(|line| line.contains(" handle ") || line.contains(" fh "));
        let handle = |line: &str| if line.contains(" fh ") { word(line, "fh") } else { word(line, "handle") };
        filters
            .filter(|line| !line.contains("ht divisor"))
            .map(|line| format!("{} {}", word(line, "pref"), handle(line)))
            .collect()
    }

    fn qdiscs(&self) -> usize {
        self.tc("qdisc show dev up0").matches("clsact").count()
    }
}

#[test]
fn it_comes_is_replaced_in_place_and_goes_with_its_qdisc() {
    for direction in BOTH {
        let node = Node::new(direction);
        let hook = direction.to_string();
        let (first, second) = (program(), program());
        assert_eq!(node.program(), None);
        node.attach(&first);
        let before = node.order(&hook);
        node.attach(&second);
        node.attach(&second);
        assert_eq!((node.order(&hook), before.len()), (before, 1));
        assert_eq!(node.detach(Some(node.up)), Vec::<String>::new());
        assert_eq!(node.program(), Some(id(&second)));
        assert_eq!(node.detach(None), ["up0"]);
        assert_eq!((node.program(), node.qdiscs()), (None, 0));
        assert_eq!(node.detach(None), Vec::<String>::new());
    }
}

#[test]
fn one_at_each_end_share_a_qdisc_which_goes_with_both() {
    for first in BOTH {
        let node = Node::new(first);
        let (one, other) = (program(), program());
        node.attach(&one);
        let second = if first == Direction::Ingress { Direction::Egress } else { Direction::Ingress };
        let (netns, up) = (&node.netns, node.up);
        netns.run(|| tc::attach(second, up, other.as_fd(), "to_uplink")).unwrap();
        let there = |direction, name| netns.run(|| tc::attached_program(direction, up, name)).unwrap();
        assert_eq!((there(first, NAME), there(second, "to_uplink")), (Some(id(&one)), Some(id(&other))));
        assert_eq!((there(second, NAME), there(first, "to_uplink")), (None, None));
        let both = [(first, NAME), (second, "to_uplink")];
        assert_eq!(netns.run(|| tc::detach(&both, &[])).unwrap(), ["up0"]);
        assert_eq!((there(first, NAME), there(second, "to_uplink"), node.qdiscs()), (None, None, 0));
    }
}

#[test]
fn somebody_elses_qdisc_and_filters_stay_and_come_after_it() {
    for direction in BOTH {
        for (theirs, others) in [
            // Classic BPF is of the same kind: both can have the first priority.
            ("prio 1 handle 1 bpf bytecode 1,6#0#0#0", "1 0x1"),
            ("prio 5 protocol ip u32 match ip dst 192.0.2.1 flowid 1:1", "5 800::800"),
            ("prio 1 protocol ip u32 match ip dst 192.0.2.1 flowid 1:1", "1 800::800"),
        ] {
            let node = Node::new(direction);
            let hook = direction.to_string();
            let theirs: Vec<_> = theirs.split(' ').map(|word| word.replace('#', " ")).collect();
            node.tc("qdisc add dev up0 clsact");
            let add = ["filter", "add", "dev", "up0", hook.as_str()].map(str::to_owned);
            testkit::run(node.netns.command("tc").args(add.into_iter().chain(theirs)));
            assert_eq!(node.order(&hook), [others]);
            let (first, second) = (program(), program());
            node.attach(&first);
            node.attach(&second);
            let order = node.order(&hook);
            assert_eq!(order.len(), 2, "{order:?}");
            // Only where theirs are of another kind and have the first priority, they are before it.
            assert_eq!(
                order.iter().position(|one| one.ends_with("0x6d69")),
                Some(usize::from(order[1] == "2 0x6d69"))
            );
            assert_eq!(node.detach(None), ["up0"]);
            assert_eq!((node.order(&hook), node.qdiscs()), (vec![others.to_owned()], 1));
        }
    }
}

#[test]
fn a_qdisc_that_others_use_by_now_stays() {
    for hook in ["ingress", "egress"] {
        let node = Node::new(Direction::Ingress);
        node.attach(&program());
        node.tc(&format!(
            "filter add dev up0 {hook} prio 7 protocol ip u32 match ip dst 192.0.2.1 flowid 1:1"
        ));
        assert_eq!(node.detach(None), ["up0"]);
        assert_eq!((node.order(hook), node.qdiscs()), (vec!["7 800::800".to_owned()], 1));
    }
    // And one that was there before, though it has nothing in it.
    let node = Node::new(Direction::Ingress);
    node.tc("qdisc add dev up0 clsact");
    node.attach(&program());
    assert_eq!(node.detach(None), ["up0"]);
    assert_eq!(node.qdiscs(), 1);
}

#[test]
fn what_others_take_away_is_put_back() {
    let node = Node::new(Direction::Ingress);
    let program = program();
    node.attach(&program);
    for line in
        ["filter del dev up0 ingress prio 1", "filter del dev up0 ingress", "qdisc del dev up0 clsact"]
    {
        node.tc(line);
        assert_eq!(node.program(), None, "{line}");
        node.attach(&program);
    }
    let error = node.netns.run(|| tc::attach(Direction::Ingress, 9999, program.as_fd(), NAME)).unwrap_err();
    assert!(error.to_string().contains("interface 9999"), "{error}");
}
