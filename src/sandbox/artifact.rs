//! Compiled modules on disk: private, authenticated before they are mapped, bounded in bytes.
//!
//! **Invariant:** no byte is mapped as code that this installation's own compiler did not write.
//!
//! A file is the artifact and after it 32 bytes: a keyed hash of it, together with what it is the artifact of. It is written
//! beside its place and renamed into it, so that it is never half there and never changes while it is mapped.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use wasmtime::Engine;
use wasmtime::component::Component;

use super::error::Error;
use super::rejection::Rejection;
use crate::model::{Contract, Digest, EngineClass};

/// Length of the key and of the tag.
const TAG_BYTES: u64 = 32;

/// What one thread hashes at a time. Most artifacts are smaller, and take one thread.
const SEGMENT_BYTES: u64 = 4 << 20;

/// Threads that hash an artifact together.
const THREADS_MAX: usize = 4;

/// Read at once: it stays in a core's own cache.
const READ_BYTES: usize = 128 << 10;

/// The directory of artifacts of one version of the engine.
#[derive(Debug)]
pub(super) struct Artifacts {
    dir: PathBuf,
    key: [u8; 32],
    bytes_max: u64,
}

/// What an artifact is of: a module, how it is called, and the engine that its code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Build {
    pub(super) digest: Digest,
    pub(super) contract: Contract,
    pub(super) class: EngineClass,
}

/// Machine code, mapped.
pub(super) enum Code {
    Module(wasmtime::Module),
    Component(Component),
}

impl Artifacts {
    /// Opens the directory for artifacts that depend on `compatibility`, and makes the key if there is none.
    pub(super) fn open(cache_dir: &Path, compatibility: &str, bytes_max: u64) -> Result<Self, Error> {
        // A directory of its own, since everything else in it is removed and nobody else may enter it.
        let own = cache_dir.join("artifacts");
        let dir = own.join(compatibility);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(Error::io("make the artifact cache"))?;
        fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).map_err(Error::io("close the artifact cache"))?;
        remove_other_versions(&own, compatibility).map_err(Error::io("clean the artifact cache"))?;
        let key = key(&own.join("key")).map_err(Error::io("read the key of the artifact cache"))?;
        Ok(Self { dir, key, bytes_max })
    }

    /// Loads an artifact if it is there and authentic, with its size. One that is not is removed.
    pub(super) fn load(&self, engine: &Engine, build: &Build) -> Result<Option<(Code, u64)>, Error> {
        let path = self.path(build);
        let doing = "read an artifact";
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(doing)(error)),
        };
        let Some(size) = self.authentic_size(&file, build).map_err(Error::io(doing))? else {
            tracing::warn!(module = %build.digest, "artifact is not authentic: it is compiled again");
            fs::remove_file(&path).map_err(Error::io("remove an artifact"))?;
            return Ok(None);
        };
        touch(&file).map_err(Error::io(doing))?;
        map(engine, file, build.contract).map(|code| Some((code, size)))
    }

    /// Stores an artifact, then makes room.
    pub(super) fn store(&self, build: &Build, artifact: &[u8]) -> Result<(), Error> {
        self.write(build, artifact).map_err(Error::io("store an artifact"))?;
        self.make_room(build).map_err(Error::io("make room in the artifact cache"))
    }

    fn write(&self, build: &Build, artifact: &[u8]) -> io::Result<()> {
        // Temporary files are made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(artifact)?;
        let tag = self.tag(build, file.as_file(), artifact.len() as u64)?;
        file.write_all(tag.as_bytes())?;
        file.persist(self.path(build)).map(drop).map_err(|error| error.error)
    }

    /// The file's size if its tag is that of its content; the file is read once, through the descriptor that is mapped.
    fn authentic_size(&self, file: &File, build: &Build) -> io::Result<Option<u64>> {
        let size = file.metadata()?.len();
        let Some(artifact_bytes) = size.checked_sub(TAG_BYTES) else { return Ok(None) };
        let mut found = [0; 32];
        file.read_exact_at(&mut found, artifact_bytes)?;
        // The comparison of two hashes takes the same time for all of them.
        Ok((self.tag(build, file, artifact_bytes)? == blake3::Hash::from_bytes(found)).then_some(size))
    }

    /// The tag of the artifact that a file begins with: the keyed hash of those of its segments, which all cores make together. For
    /// a large artifact that is most of the time of loading it.
    fn tag(&self, build: &Build, file: &File, artifact_bytes: u64) -> io::Result<blake3::Hash> {
        let segments = artifact_bytes.div_ceil(SEGMENT_BYTES);
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX) as u64;
        let threads = threads.min(segments).max(1);
        let part = |first| -> io::Result<Vec<(u64, blake3::Hash)>> {
            let mine = (first..segments).step_by(usize::try_from(threads).unwrap_or(1));
            mine.map(|index| Ok((index, self.segment(file, artifact_bytes, index)?))).collect()
        };
        let mut hashes = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|first| scope.spawn(move || part(first))).collect();
            let mut hashes = part(0)?;
            for other in others {
                hashes.extend(other.join().map_err(|_| io::Error::other("a thread that hashes ended early"))??);
            }
            Ok::<_, io::Error>(hashes)
        })?;
        hashes.sort_by_key(|(index, _)| *index);
        let mut hasher = self.hasher(build);
        hasher.update(&artifact_bytes.to_le_bytes());
        for (_, hash) in hashes {
            hasher.update(hash.as_bytes());
        }
        Ok(hasher.finalize())
    }

    /// The keyed hash of one segment, and of its place.
    fn segment(&self, file: &File, artifact_bytes: u64, index: u64) -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        // No digest begins so: a segment's hash is never a tag.
        hasher.update(b"segment\0").update(&index.to_le_bytes());
        let mut at = index.saturating_mul(SEGMENT_BYTES);
        let end = at.saturating_add(SEGMENT_BYTES).min(artifact_bytes);
        let mut bytes = vec![0; READ_BYTES];
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(READ_BYTES).min(READ_BYTES);
            let bytes = bytes.get_mut(..most).unwrap_or_default();
            file.read_exact_at(bytes, at)?;
            hasher.update(bytes);
            at += bytes.len() as u64;
        }
        Ok(hasher.finalize())
    }

    fn hasher(&self, build: &Build) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(build.digest.hex().as_bytes());
        hasher.update(match build.contract {
            Contract::Command => b"command  ",
            Contract::CommandComponent => b"component",
            Contract::Task => b"task     ",
            Contract::Typed => b"typed    ",
        });
        // Of any length: nothing but the artifact comes after it, and no word is the beginning of code.
        hasher.update(build.class.as_str().as_bytes()).update(b"\0");
        hasher
    }

    fn path(&self, build: &Build) -> PathBuf {
        self.dir.join(format!("{}.{}.cwasm", build.digest.hex(), build.class.as_str()))
    }

    /// Removes the artifacts that were loaded longest ago until the rest fits; never the one just stored.
    fn make_room(&self, stored: &Build) -> io::Result<()> {
        let stored = self.path(stored);
        let mut files = Vec::new();
        let mut bytes: u64 = 0;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // Another process that shares the cache may remove files, too.
            let Ok(metadata) = entry.metadata() else { continue };
            bytes = bytes.saturating_add(metadata.len());
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
        files.sort();
        for (_, size, path) in files {
            if bytes <= self.bytes_max {
                break;
            }
            if path != stored && fs::remove_file(&path).is_ok() {
                bytes = bytes.saturating_sub(size);
            }
        }
        Ok(())
    }
}

/// Marks a file as used now, by the file system's clock.
#[expect(clippy::disallowed_methods, reason = "the order of files on this disk, not a time of the platform")]
fn touch(file: &File) -> io::Result<()> {
    file.set_modified(SystemTime::now())
}

/// Artifacts of other versions of the engine are never read again.
fn remove_other_versions(own: &Path, compatibility: &str) -> io::Result<()> {
    for entry in fs::read_dir(own)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name() != compatibility {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// The key, made once: whoever comes second reads what the first wrote.
fn key(path: &Path) -> io::Result<[u8; 32]> {
    let made: [u8; 32] = rand::random();
    let dir = path.parent().unwrap_or(path);
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&made)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(made),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            let mut key = [0; 32];
            File::open(path)?.read_exact(&mut key)?;
            Ok(key)
        }
        Err(error) => Err(error.error),
    }
}

/// Maps an authenticated file as code.
///
/// wasmtime opens components by their path only: the one under `/proc/self/fd` is the very file that was authenticated,
/// whatever has been put in its place meanwhile.
#[expect(unsafe_code, reason = "mapping compiled code; see SAFETY")]
fn map(engine: &Engine, file: File, contract: Contract) -> Result<Code, Error> {
    match contract {
        Contract::Command => {
            // SAFETY: the file's content carries our key's tag, so our compiler wrote it, for this version and settings
            // of the engine; it lies in a directory of mode 0700 and is replaced, never written, while it is mapped.
            let module = unsafe { wasmtime::Module::deserialize_open_file(engine, file) };
            module.map(Code::Module).map_err(refused)
        }
        Contract::CommandComponent | Contract::Task | Contract::Typed => {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            // SAFETY: as above; `file` is open until the mapping is made.
            let component = unsafe { Component::deserialize_file(engine, path) };
            component.map(Code::Component).map_err(refused)
        }
    }
}

/// Why an artifact of our own is not loaded: in most cases its module begins with more than the pool has for any.
fn refused(error: wasmtime::Error) -> Error {
    let cause = error.root_cause().to_string();
    if cause.contains(EXCEEDS) {
        return Rejection::DoesNotFit { message: cause }.into();
    }
    Error::engine("load an artifact")(error)
}

/// The engine has no type for what is too large for its pool: the corpus of hostile modules pins its words.
const EXCEEDS: &str = "exceeds the";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metering;

    #[test]
    fn no_byte_of_a_large_artifact_can_be_changed_moved_added_or_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(dir.path(), "version", u64::MAX).unwrap();
        let build = Build { digest: Digest::of(b"module"), contract: Contract::Command, class: EngineClass::default() };
        let segment = usize::try_from(SEGMENT_BYTES).unwrap();
        let artifact: Vec<u8> = (0..segment * 5 / 2).map(|at| (at / 1_000 % 251).to_le_bytes()[0]).collect();
        artifacts.write(&build, &artifact).unwrap();
        let path = artifacts.path(&build);
        let is_authentic = |build: &Build| artifacts.authentic_size(&File::open(&path).unwrap(), build).unwrap();
        let whole = fs::read(&path).unwrap();
        assert_eq!(is_authentic(&build), Some(whole.len() as u64));
        for at in [0, segment - 1, segment, 2 * segment, artifact.len() - 1, artifact.len(), whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            assert_eq!(is_authentic(&build), None, "byte {at}");
        }
        let (first, rest) = whole.split_at(segment);
        let (second, rest) = rest.split_at(segment);
        for (what, bytes) in [
            ("two segments in each other's place", [second, first, rest].concat()),
            ("one segment twice", [first, first, rest].concat()),
            ("a segment less", [first, rest].concat()),
            ("a byte more", [first, second, &[0], rest].concat()),
            ("a byte less", [&first[1..], second, rest].concat()),
            ("nothing but a tag", rest[rest.len() - 32..].to_vec()),
            ("less than a tag", vec![0; 31]),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(is_authentic(&build), None, "{what}");
        }
        fs::write(&path, &whole).unwrap();
        for other in [
            Build { digest: Digest::of(b"another"), ..build },
            Build { contract: Contract::Typed, ..build },
            Build { class: Metering::Deadline.into(), ..build },
            Build { class: EngineClass { exceptions: true, ..build.class }, ..build },
        ] {
            assert_eq!(is_authentic(&other), None, "{other:?}");
        }
        assert_eq!(is_authentic(&build), Some(whole.len() as u64));
    }
}
