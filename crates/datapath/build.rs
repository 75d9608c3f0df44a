//! Compiles the eBPF programs and turns the list of reasons into a Rust table.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    let out = PathBuf::from(env::var("OUT_DIR").context("OUT_DIR")?);
    let clang = match find_clang() {
        Ok(clang) => clang,
        Err(error) => {
            println!("cargo::error={error}");
            return Ok(());
        }
    };
    compile(&clang, Path::new("bpf/midokube.bpf.c"), &out.join("midokube.bpf.o"))?;
    // For single packets of traces and tests: test_run has no tunnel device, so a program stands in for it.
    compile(&clang, Path::new("bpf/tunnel.bpf.c"), &out.join("tunnel.bpf.o"))?;
    // For packets at work, while somebody follows a connection.
    compile(&clang, Path::new("bpf/follow.bpf.c"), &out.join("follow.bpf.o"))?;
    println!("cargo::rustc-env=DATAPATH_TUNNEL_OBJECT={}", out.join("tunnel.bpf.o").display());

    for header in fs::read_dir("bpf").context("bpf")? {
        let header = header.context("bpf")?.path();
        if header.extension().is_some_and(|extension| extension == "h") {
            check_header(&clang, &header)?;
        }
    }
    let reasons = fs::read_to_string("bpf/reasons.def").context("bpf/reasons.def")?;
    fs::write(out.join("reasons.rs"), reasons_table(&reasons)?).context("reasons.rs")?;
    Ok(())
}

fn find_clang() -> Result<String> {
    if let Ok(clang) = env::var("CLANG") {
        if runs(&clang) {
            return Ok(clang);
        }
        bail!("CLANG={clang} does not run: set it to a clang of version 14 or later, or unset it");
    }
    let versions = (14..=19).rev().map(|version| format!("clang-{version}"));
    std::iter::once("clang".to_owned()).chain(versions).find(|name| runs(name)).context(
        "no clang found: the eBPF programs need one of version 14 or later; on Debian and Ubuntu: \
         apt-get install clang",
    )
}

fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn compile(clang: &str, source: &Path, object: &Path) -> Result<()> {
    run(clang, source, |command| command.arg("-c").arg(source).arg("-o").arg(object))?;
    strip(clang, object);
    Ok(())
}

/// A header includes what it uses: it compiles alone.
fn check_header(clang: &str, header: &Path) -> Result<()> {
    run(clang, header, |command| {
        command.arg("-fsyntax-only").arg("-include").arg(header).args(["-x", "c", "/dev/null"])
    })
}

fn run(clang: &str, what: &Path, arguments: impl Fn(&mut Command) -> &mut Command) -> Result<()> {
    let mut command = Command::new(clang);
    command.args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror"]).args([
        "-Wno-unused-parameter",
        "-Wno-unused-const-variable",
        "-Ibpf",
    ]);
    let output = arguments(&mut command).output().with_context(|| format!("running {clang}"))?;
    if !output.status.success() {
        bail!("{clang} refused {}:\n{}", what.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Removes DWARF, which only makes the object larger; `.BTF` stays. Without the tool, it stays too.
fn strip(clang: &str, object: &Path) {
    let suffix = clang.rsplit('/').next().and_then(|name| name.strip_prefix("clang")).unwrap_or_default();
    let tools = ["llvm-strip", "llvm-objcopy"].map(|tool| [format!("{tool}{suffix}"), tool.to_owned()]);
    for tool in tools.as_flattened() {
        let stripped = Command::new(tool).arg("--strip-debug").arg(object).output();
        if stripped.is_ok_and(|output| output.status.success()) {
            return;
        }
    }
}

/// The `REASON(name, fate, "help")` lines as the elements of an array of `Reason`.
fn reasons_table(definitions: &str) -> Result<String> {
    let mut table = String::from("&[\n");
    for line in definitions.lines().filter(|line| line.starts_with("REASON(")) {
        let parts = line
            .strip_prefix("REASON(")
            .and_then(|line| line.strip_suffix(')'))
            .and_then(|line| line.split_once(", "))
            .and_then(|(name, rest)| rest.split_once(", ").map(|(fate, help)| (name, fate, help)));
        let Some((name, fate, help)) = parts else {
            bail!("bpf/reasons.def: expected REASON(name, fate, \"help\"), found: {line}");
        };
        let fate = match fate {
            "FORWARD" => "Forward",
            "DROP" => "Drop",
            "IGNORE" => "Ignore",
            _ => bail!("bpf/reasons.def: {name}: {fate} is none of FORWARD, DROP and IGNORE"),
        };
        writeln!(table, "    Reason {{ name: \"{name}\", fate: Fate::{fate}, help: {help} }},")?;
    }
    table.push(']');
    Ok(table)
}
