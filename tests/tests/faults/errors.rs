//! Each system call of the plugin fails with an error that it can have.

use std::os::unix::process::ExitStatusExt;

use lab::Family;

use crate::node::{Answer, Fault, Node, SystemCall};

/// Which errors a system call can meet, by its manual page; those that are not here are not failed.
const ERRORS: &[(&[&str], &[&str])] = &[
    (&["open", "openat"], &["EMFILE", "ENFILE", "EIO"]),
    (&["mkdir", "mkdirat"], &["ENOSPC", "EROFS"]),
    (
        &["link", "linkat", "symlink", "symlinkat", "rename", "renameat", "renameat2"],
        &["ENOSPC", "EROFS", "EIO"],
    ),
    (&["unlink", "unlinkat", "rmdir"], &["EROFS", "EIO"]),
    (&["write", "writev", "pwrite64"], &["ENOSPC", "EIO"]),
    (&["ftruncate", "utimensat", "chmod", "fchmod"], &["EIO", "EROFS"]),
    (&["read", "readv", "pread64", "getdents64", "readlink", "readlinkat"], &["EIO"]),
    (&["stat", "lstat", "fstat", "newfstatat", "statx"], &["EIO"]),
    (&["flock"], &["ENOLCK", "EINTR"]),
    (
        &["socket", "socketpair", "epoll_create1", "eventfd2", "memfd_create", "pidfd_open"],
        &["EMFILE", "ENOMEM"],
    ),
    (&["connect"], &["ECONNREFUSED", "EAGAIN"]),
    (&["sendto", "sendmsg"], &["ENOBUFS", "ENOMEM"]),
    (&["recvfrom", "recvmsg"], &["ENOBUFS", "ENOMEM"]),
    (&["bind", "setsockopt", "getsockopt", "getsockname", "epoll_ctl"], &["ENOMEM"]),
    (&["setns"], &["ENOMEM", "EPERM"]),
    (&["dup", "fcntl"], &["EMFILE"]),
    (&["fork", "vfork", "clone", "clone3"], &["EAGAIN", "ENOMEM"]),
];

/// What opening a file can meet that may have to be made.
const CREATE_ERRORS: &[&str] = &["ENOSPC", "EROFS", "EMFILE"];

/// Every fault that a call can meet which makes these system calls: each with one error, so that each error is
/// had at some of them.
fn faults(calls: Vec<SystemCall>) -> Vec<Fault> {
    let known = |call: &SystemCall| ERRORS.iter().find(|(names, _)| names.contains(&call.name.as_str()));
    let faults = calls.into_iter().enumerate().filter_map(|(number, call)| {
        let errors = if call.creates { CREATE_ERRORS } else { known(&call)?.1 };
        Some(Fault::Error(call, errors[number % errors.len()]))
    });
    faults.collect()
}

/// Whether the fault is that the answer could not be written.
fn silences(fault: &Fault) -> bool {
    matches!(fault, Fault::Error(call, _) if call.name.starts_with("write"))
}

/// Whether the plugin ended itself since it could not come back from a namespace: whatever it did next, it
/// would do in the wrong one.
fn aborted(answer: &Answer, fault: &Fault) -> bool {
    let returns = matches!(fault, Fault::Error(call, _) if call.name == "setns");
    returns && answer.status.signal() == Some(6)
}

#[test]
fn add_whose_system_calls_fail() {
    let node = Node::new(Family::Dual, "midonet-kube-ipam");
    let pod = node.sandbox("pod");
    let faults = faults(node.system_calls("ADD", &pod, &node.config));
    node.delete(&pod);
    let (mut failed, mut worked) = (0, 0);
    // Each one where the former host side still waits for its deletion, which costs ADD other calls, and where it is gone.
    for (fault, settles) in faults.iter().flat_map(|fault| [(fault.clone(), false), (fault.clone(), true)]) {
        if settles {
            node.settle();
        }
        let answer = node.call("ADD", &pod, &node.config, &fault);
        if aborted(&answer, &fault) || answer.json.is_null() && silences(&fault) {
            assert!(!answer.status.success(), "{fault:?}: {answer:?}");
        } else if answer.is_success(&fault) {
            worked += 1;
            assert_eq!(node.reserved(&pod).len(), 2, "{fault:?}");
        } else {
            // A failed ADD undoes itself what it can: here only one call failed.
            failed += 1;
            node.assert_gone(&pod, &fault);
        }
        node.delete(&pod);
        node.assert_gone(&pod, &fault);
    }
    eprintln!("ADD: {failed} failed, {worked} worked all the same");
    assert!(failed > 20);
    node.assert_as_before();
}

#[test]
fn del_whose_system_calls_fail() {
    let node = Node::new(Family::Dual, "midonet-kube-ipam");
    let pod = node.sandbox("pod");
    node.add(&pod);
    let (mut failed, mut worked) = (0, 0);
    for fault in faults(node.system_calls("DEL", &pod, &node.config)) {
        node.add(&pod);
        let answer = node.call("DEL", &pod, &node.config, &fault);
        if !aborted(&answer, &fault) && answer.is_success(&fault) {
            worked += 1;
        } else {
            failed += 1;
            let (ports, reserved) = (node.ports(&pod), node.reserved(&pod));
            assert!(ports.is_empty() || reserved.len() == 2, "{fault:?}: {ports:?} with {reserved:?}");
            node.delete(&pod);
        }
        node.assert_gone(&pod, &fault);
    }
    eprintln!("DEL: {failed} failed, {worked} worked all the same");
    assert!(failed > 5);
    node.assert_as_before();
}
