//! On a terminal: colours, and a watch that draws over itself.

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::ptr::null_mut;

use super::support::{FakeAgent, full, starting, text};

const ESCAPE: char = '\x1b';

/// A pseudo-terminal: the side that shows, and the side for programs.
fn terminal(rows: u16) -> (File, File) {
    let (mut shows, mut programs) = (-1, -1);
    let size = libc::winsize { ws_row: rows, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the two descriptors are written to variables of ours, the size is read.
    let result =
        unsafe { libc::openpty(&raw mut shows, &raw mut programs, null_mut(), null_mut(), &raw const size) };
    assert_eq!(result, 0, "no pseudo-terminal: is /dev/pts mounted?");
    // SAFETY: the kernel just gave us these descriptors, nobody else has them.
    [shows, programs].map(|fd| File::from(unsafe { OwnedFd::from_raw_fd(fd) })).into()
}

fn start(mut command: Command, rows: u16) -> (Child, File) {
    let (shows, programs) = terminal(rows);
    command.stdin(Stdio::null()).stdout(programs.try_clone().unwrap()).stderr(programs);
    // A shell starts what it runs in the background with SIGINT ignored, and that is inherited.
    // SAFETY: signal(2) may be called between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
    (command.spawn().unwrap(), shows)
}

/// Reads until the program has ended or `enough` is shown.
fn read(shows: &mut File, enough: impl Fn(&str) -> bool) -> String {
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    // EIO: nobody has the other side any more.
    while let Ok(length @ 1..) = shows.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..length]);
        if enough(&String::from_utf8_lossy(&shown)) {
            break;
        }
    }
    text(&shown)
}

fn on_a_terminal(command: Command) -> String {
    let (mut child, mut shows) = start(command, 50);
    let shown = read(&mut shows, |_| false);
    child.wait().unwrap();
    shown
}

#[test]
fn colours_are_for_terminals() {
    let agent = FakeAgent::with(full());
    assert!(on_a_terminal(agent.command(&["status"])).contains("\x1b[1mPorts\x1b[0m"));
    assert!(!text(&agent.run(&["status"]).stdout).contains(ESCAPE));
    for format in ["json", "yaml"] {
        let shown = on_a_terminal(agent.command(&["status", "-o", format]));
        assert!(shown.contains("node7") && !shown.contains(ESCAPE), "{shown}");
    }
    let shown = on_a_terminal(FakeAgent::with(starting()).command(&["status"]));
    assert!(shown.contains("\x1b[31mNOT READY") || shown.contains("\x1b[1m\x1b[31mNOT READY"), "{shown:?}");
}

#[test]
fn colours_can_be_forbidden_and_demanded() {
    let agent = FakeAgent::with(full());
    for (name, value) in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
        let mut command = agent.command(&["status"]);
        command.env(name, value);
        let shown = on_a_terminal(command);
        assert!(shown.contains("Ports") && !shown.contains(ESCAPE), "{name}={value}: {shown:?}");
    }
    let mut forced = agent.command(&["status"]);
    let output = forced.env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(text(&output.stdout).contains("\x1b[1mPorts"));
}

#[test]
fn a_watch_draws_over_itself_within_the_screen_and_ends_on_interrupt() {
    const ROWS: u16 = 6;
    const FRAME: &str = "\x1b[H";
    let agent = FakeAgent::with(full());
    for no_colour in [false, true] {
        let mut command = agent.command(&["status", "--watch=100ms"]);
        if no_colour {
            command.env("NO_COLOR", "1");
        }
        let (mut child, mut shows) = start(command, ROWS);
        let shown = read(&mut shows, |shown| shown.matches(FRAME).count() > 2);
        // SAFETY: it is our own child, which has not been waited for.
        unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGINT) };
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGINT));

        let frame = shown.split(FRAME).nth(1).unwrap();
        assert!(frame.contains("node7"), "{frame:?}");
        assert!(frame.matches('\n').count() < ROWS.into(), "{frame:?}");
        assert_eq!(frame.contains("\x1b[1mAgent"), !no_colour, "{frame:?}");
    }
}

#[test]
fn a_watch_shows_why_there_is_no_answer() {
    let agent = FakeAgent::answering(|| Err(tonic::Status::unavailable("the datapath is gone")));
    let (mut child, mut shows) = start(agent.command(&["status", "--watch=100ms"]), 50);
    let shown = read(&mut shows, |shown| shown.matches("datapath").count() > 1);
    assert!(shown.contains("\x1b[H"), "{shown:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}
