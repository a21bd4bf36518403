//! Files of an operator: the key that secrets are opened with, and what guests may be granted.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::Fault;
use crate::model::grants::Allow;
use crate::store::secrets::SealingKey;

/// Whoever is neither the owner nor of the group must not read a key.
const OTHERS: u32 = 0o007;

/// Reads a key for secrets.
pub(super) fn read(file: &Path) -> Result<SealingKey, Fault> {
    let failed = |error: std::io::Error| Fault::usage(format!("failed to read {}: {error}", file.display()));
    let mode = std::fs::metadata(file).map_err(failed)?.mode();
    if mode & OTHERS != 0 {
        return Err(Fault::usage(format!("{}: everyone on this machine may read this key", file.display()))
            .hint(format!("chmod 600 {}", file.display())));
    }
    let seed = std::fs::read_to_string(file).map_err(failed)?;
    Ok(SealingKey::from_seed(&seed)?)
}

/// Makes a key for secrets in a file that is not there yet, and which only its owner reads.
pub(super) fn write_new(file: &Path) -> Result<SealingKey, Fault> {
    let failed = |error: std::io::Error| Fault::usage(format!("failed to make {}: {error}", file.display()));
    let key = SealingKey::generate();
    let seed = key.seed()?;
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    opened.write_all(format!("{seed}\n").as_bytes()).and_then(|()| opened.sync_all()).map_err(failed)?;
    Ok(key)
}

/// Reads what guests may be granted.
pub(super) fn read_allow(file: &Path) -> Result<Allow, Fault> {
    let wrong = |error: &dyn std::fmt::Display| Fault::usage(format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(file)
        .map_err(|error| Fault::usage(format!("failed to read {}: {error}", file.display())))?;
    toml::from_str(&text).map_err(|error| wrong(&error.message()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let key = write_new(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read(&file).unwrap().public(), key.public());
        assert!(write_new(&file).is_err(), "a key is never replaced");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let fault = format!("{:?}", read(&file).unwrap_err());
        assert!(fault.contains("code: 2") && fault.contains("chmod 600"), "{fault}");
    }

    #[test]
    fn what_is_allowed_is_read_from_toml() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("allow.toml");
        std::fs::write(&file, "[all]\nclock = false\nkv = { sessions = \"rw\" }\n[tenants.acme]\nclock = true\n")
            .unwrap();
        let allow = read_allow(&file).unwrap();
        assert_eq!(allow.all.clock, Some(false));
        assert_eq!(allow.tenants.len(), 1);
        std::fs::write(&file, "[all]\nclocks = false\n").unwrap();
        let fault = format!("{:?}", read_allow(&file).unwrap_err());
        assert!(fault.contains("code: 2") && fault.contains("clocks"), "{fault}");
    }
}
