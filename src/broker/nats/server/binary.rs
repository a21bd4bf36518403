//! Where a nats-server may be found, and which will do.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use crate::broker::nats::check_version;

/// How a user of this platform gets one.
const HINT: &str = if cfg!(target_os = "macos") {
    "install it with `brew install nats-server`, or name one with --nats-server"
} else if cfg!(target_os = "windows") {
    "install it with `winget install NATSAuthors.NATSServer`, or name one with --nats-server"
} else {
    "install version 2.14 or later with your package manager (`apt install nats-server`, `pacman -S nats-server`, \
     `apk add nats-server`, `nix profile install nixpkgs#nats-server`), or name one with --nats-server"
};

/// A nats-server that will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The program.
    pub path: PathBuf,
    /// Its version.
    pub version: String,
}

/// Where to look besides the place that was named. Read from the environment by `cli`.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `PATH`.
    pub path: Option<std::ffi::OsString>,
    /// `XDG_CACHE_HOME`, or `.cache` in the home directory.
    pub cache: Option<PathBuf>,
}

impl Places {
    /// The program's places in the order in which they are tried.
    fn candidates(&self) -> Vec<PathBuf> {
        let program = format!("nats-server{}", std::env::consts::EXE_SUFFIX);
        let path = self.path.as_deref().unwrap_or(OsStr::new(""));
        let mut places: Vec<PathBuf> = std::env::split_paths(path).map(|dir| dir.join(&program)).collect();
        places.extend(self.cache.iter().map(|dir| dir.join("lovage/tools/bin").join(&program)));
        places
    }
}

/// Finds a nats-server: the one that was named, or else the first in `PATH` or in Lovage's cache that will do.
///
/// # Errors
/// [`Error::Unsuitable`] if the one that was named will not do, or if all that were found are too old; [`Error::Missing`],
/// with how to install it, if there is none.
pub fn find(named: Option<&Path>, places: &Places) -> Result<Binary, Error> {
    if let Some(path) = named {
        return inspect(path);
    }
    let mut unsuitable = None;
    for path in places.candidates().into_iter().filter(|path| path.is_file()) {
        match inspect(&path) {
            Ok(binary) => return Ok(binary),
            Err(error) => unsuitable = unsuitable.or(Some(error)),
        }
    }
    Err(unsuitable.unwrap_or(Error::Missing { hint: HINT }))
}

/// Asks a program for its version.
fn inspect(path: &Path) -> Result<Binary, Error> {
    let unsuitable = |reason: String| Error::Unsuitable { path: path.to_owned(), reason };
    let output = Command::new(path).arg("--version").output().map_err(|error| unsuitable(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version =
        text.trim().strip_prefix("nats-server: v").ok_or_else(|| unsuitable("it is no nats-server".to_owned()))?;
    check_version(version).map_err(|error| unsuitable(error.to_string()))?;
    Ok(Binary { path: path.to_owned(), version: version.to_owned() })
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(dir: &Path, says: &str) -> PathBuf {
        let path = dir.join("nats-server");
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_first_that_will_do_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("old");
        program(&old, "nats-server: v2.9.10");
        let places = Places { path: Some(old.clone().into()), cache: Some(dir.path().to_owned()) };
        let error = find(None, &places).unwrap_err().to_string();
        assert!(error.contains("nats-server 2.9.10 is too old"), "{error}");
        let cached = program(&dir.path().join("lovage/tools/bin"), "nats-server: v2.15.1");
        assert_eq!(find(None, &places).unwrap(), Binary { path: cached, version: "2.15.1".to_owned() });
        assert!(find(Some(&old.join("nats-server")), &places).is_err());
    }

    #[test]
    fn without_one_the_user_is_told_how_to_get_it() {
        let error = find(None, &Places::default()).unwrap_err().to_string();
        assert!(error.contains("install"), "{error}");
    }
}
