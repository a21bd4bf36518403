//! The units under `examples/deploy`: systemd reads them, and finds little that is left open.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The exposure that is allowed, in tenths: `systemd-analyze` calls what is below 2 "OK", and an unconfined service has 96.
const EXPOSURE_MAX: &str = "15";

/// The units, and what each must hold beside what a general measure finds.
const UNITS: [(&str, &[&str]); 2] = [
    (
        "lovage-host.service",
        &[
            "MemoryMax=8G",
            "SystemCallFilter=seccomp setrlimit prlimit64 sched_getaffinity sched_yield",
            "TasksMax=512",
            "CacheDirectoryMode=0700",
            "IPAddressDeny=any",
        ],
    ),
    ("lovage-coordinator.service", &["MemoryMax=2G", "MemoryDenyWriteExecute=yes", "IPAddressDeny=any"]),
];

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// What `systemd-analyze` says, if it is there and knows of the option: `None` elsewhere.
fn analyze(args: &[&str], file: &Path) -> Option<(bool, String)> {
    let output = Command::new("systemd-analyze").args(args).arg(file).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (!said.contains("unrecognized option")).then_some((output.status.success(), said))
}

#[test]
fn units_name_what_bounds_a_role() {
    for (name, lines) in UNITS {
        let text = unit(name);
        for line in lines.iter().chain(&["NoNewPrivileges=yes", "DynamicUser=yes", "ProtectSystem=strict"]) {
            assert!(text.lines().any(|there| there == *line), "{name} has no {line}");
        }
        assert!(text.contains("SystemCallFilter=@system-service"), "{name}");
    }
}

#[test]
fn systemd_reads_the_units_and_finds_little_left_open() {
    let dir = tempfile::tempdir().unwrap();
    for (name, _) in UNITS {
        // It looks whether the program is there.
        let file: PathBuf = dir.path().join(name);
        std::fs::write(&file, unit(name).replace("/usr/local/bin/lovage", env!("CARGO_BIN_EXE_lovage"))).unwrap();
        let Some((fine, said)) = analyze(&["verify", "--man=no"], &file) else {
            println!("no systemd here");
            return;
        };
        assert!(fine && said.is_empty(), "{name}: {said}");
        let threshold = format!("--threshold={EXPOSURE_MAX}");
        if let Some((fine, said)) = analyze(&["security", "--offline=true", &threshold], &file) {
            println!("{}", said.lines().last().unwrap_or_default());
            assert!(fine, "{name}: {said}");
        }
    }
}
