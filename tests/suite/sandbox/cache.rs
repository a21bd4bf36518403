//! Artifacts: compiled once, authenticated, bounded.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use lovage::model::{Contract, Digest};
use lovage::sandbox::{Config, Error, Sandbox};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{Call, Rig, config, guests, output};

pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let own = dir.join("artifacts");
    let versions = fs::read_dir(own).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    versions.flat_map(|version| fs::read_dir(version).unwrap().map(|entry| entry.unwrap().path())).collect()
}

#[tokio::test]
async fn a_second_sandbox_loads_what_the_first_compiled() {
    let rig = Rig::new();
    let bytes = Bytes::from(guests::says(1, "1", 0));
    let digest = Digest::of(&bytes);
    assert!(rig.sandbox.loaded(&digest, Contract::Command).await.unwrap().is_none());
    rig.sandbox.load(&digest, bytes.clone()).await.unwrap();
    rig.sandbox.load(&digest, bytes.clone()).await.unwrap();
    assert!(rig.sandbox.loaded(&digest, Contract::Command).await.unwrap().is_some());
    assert_eq!((rig.sandbox.stats().compiled, rig.sandbox.stats().hot_modules), (1, 1));

    let second = Sandbox::new(config(&rig.dir)).unwrap();
    let module = second.loaded(&digest, Contract::Command).await.unwrap().unwrap();
    let (invocation, _heard) = Call::default().invocation();
    assert_eq!(output(&second.invoke(module, invocation).await), "1");
    let third = Sandbox::new(config(&rig.dir)).unwrap();
    third.load(&digest, bytes).await.unwrap();
    assert_eq!((second.stats().compiled, second.stats().loaded), (0, 1));
    assert_eq!((third.stats().compiled, third.stats().loaded), (0, 1));
}

#[tokio::test]
async fn an_artifact_that_was_touched_is_removed_and_compiled_again() {
    let rig = Rig::new();
    let bytes = Bytes::from(guests::says(1, "1", 0));
    let digest = Digest::of(&bytes);
    rig.sandbox.load(&digest, bytes.clone()).await.unwrap();
    let [file] = &files(rig.dir.path())[..] else { panic!("one artifact") };
    let whole = fs::read(file).unwrap();
    let mut middle = whole.clone();
    middle[whole.len() / 2] ^= 1;
    let mut tag = whole.clone();
    tag[whole.len() - 1] ^= 1;
    for tampered in [&middle[..], &tag, &whole[..whole.len() - 1], &whole[..7], b""] {
        // Another file in its place: the mapped one must not change.
        fs::remove_file(file).unwrap();
        fs::write(file, tampered).unwrap();
        let sandbox = Sandbox::new(config(&rig.dir)).unwrap();
        assert!(sandbox.loaded(&digest, Contract::Command).await.unwrap().is_none());
        let module = sandbox.load(&digest, bytes.clone()).await.unwrap();
        assert_eq!((sandbox.stats().compiled, sandbox.stats().loaded), (1, 0));
        let (invocation, _heard) = Call::default().invocation();
        assert_eq!(output(&sandbox.invoke(module, invocation).await), "1");
    }
}

#[tokio::test]
async fn an_artifact_is_that_of_one_module_and_contract() {
    let rig = Rig::new();
    let (one, two) = (Bytes::from(guests::says(1, "1", 0)), Bytes::from(guests::says(1, "2", 0)));
    rig.sandbox.load(&Digest::of(&one), one.clone()).await.unwrap();
    let [first] = &files(rig.dir.path())[..] else { panic!("one artifact") };
    rig.sandbox.load(&Digest::of(&two), two.clone()).await.unwrap();
    let second = files(rig.dir.path()).into_iter().find(|file| file != first).unwrap();
    fs::remove_file(&second).unwrap();
    fs::copy(first, &second).unwrap();
    let sandbox = Sandbox::new(config(&rig.dir)).unwrap();
    assert!(sandbox.loaded(&Digest::of(&two), Contract::Command).await.unwrap().is_none(), "another module's");
    assert!(sandbox.loaded(&Digest::of(&one), Contract::Task).await.unwrap().is_none(), "another contract's");
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_made_says_why() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let nowhere = Sandbox::new(Config { cache_dir: file.join("cache"), ..config(&dir) }).unwrap_err();
    assert!(matches!(nowhere, Error::Io { doing: "make the artifact cache", .. }), "{nowhere}");
    let too_many = Sandbox::new(Config { slots: 50_000, ..config(&dir) }).unwrap_err();
    assert!(matches!(too_many, Error::Engine { .. }), "{too_many}");
    Sandbox::new(config(&dir)).unwrap();
}

#[tokio::test]
async fn others_cannot_enter() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new();
    rig.load(&guests::says(1, "1", 0)).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let own = rig.dir.path().join("artifacts");
    assert_eq!((mode(&own), mode(&own.join("key"))), (0o700, 0o600));
    assert!(files(rig.dir.path()).iter().all(|file| mode(file) == 0o600));
}

#[tokio::test]
async fn calls_at_the_same_time_compile_once() {
    let rig = Rig::new();
    let bytes = Bytes::from(guests::says(1, "1", 0));
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let (sandbox, bytes) = (rig.sandbox.clone(), bytes.clone());
        tasks.spawn(async move { sandbox.load(&Digest::of(&bytes), bytes).await.map(|module| *module.digest()) });
    }
    for loaded in tasks.join_all().await {
        assert_eq!(loaded.unwrap(), Digest::of(&bytes));
    }
    assert_eq!(rig.sandbox.stats().compiled, 1);
}

#[tokio::test]
async fn memory_and_disk_keep_the_modules_used_last() {
    let rig = Rig::with(|config| (config.hot_modules_max, config.cache_bytes_max) = (2, 1));
    let guests: Vec<Vec<u8>> = ["1", "2", "3"].iter().map(|text| guests::says(1, text, 0)).collect();
    for guest in &guests {
        rig.load(guest).await;
    }
    let stats = rig.sandbox.stats();
    assert_eq!((stats.compiled, stats.hot_modules), (3, 2));
    assert_eq!(files(rig.dir.path()).len(), 1, "one artifact is kept even if it alone exceeds the bound");
    assert_eq!(output(&rig.report(&guests[1], Call::default()).await), "2", "what is mapped outlives its file");
    assert_eq!(output(&rig.report(&guests[0], Call::default()).await), "1");
    assert_eq!(rig.sandbox.stats().compiled, 4);

    let rig = Rig::with(|config| config.hot_bytes_max = 1);
    rig.load(&guests[0]).await;
    let small = rig.sandbox.stats().hot_bytes;
    rig.load(&guests[1]).await;
    assert_eq!((rig.sandbox.stats().hot_modules, rig.sandbox.stats().hot_bytes), (1, small));
}
