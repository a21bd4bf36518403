//! The compiler is a child that dies of its limits, and only it.

use std::time::Duration;

use bytes::Bytes;
use lovage::model::Digest;
use lovage::sandbox::{Config, Error, Rejection, Sandbox};
use tokio::task::JoinSet;

use super::{Call, Rig, guests, output};
use crate::support::eventually::eventually;
use crate::support::gate::{Gate, large};

/// Loops in loops over many locals: the time and the memory of register allocation grow with the square of either.
fn bomb(depth: usize, locals: usize) -> Bytes {
    let steps: String = (0..locals)
        .map(|n| format!("(local.set {n} (i32.add (local.get {}) (local.get {n})))", (n + 1) % locals))
        .collect();
    let opening = "(loop (br_if 0 (local.get 0))".repeat(depth);
    let text = format!(
        r#"(module (func (export "_start") (local {}) {opening} {steps} {}))"#,
        "i32 ".repeat(locals),
        ")".repeat(depth)
    );
    wat::parse_str(text).unwrap().into()
}

async fn rejection(sandbox: &Sandbox, bytes: Bytes) -> Rejection {
    let error = sandbox.load(&Digest::of(&bytes), bytes).await.unwrap_err();
    let Error::Rejected(rejection) = error else { panic!("{error}") };
    rejection
}

#[tokio::test]
async fn a_module_that_takes_too_much_cpu_is_refused() {
    let rig = Rig::with(|config| config.compiler.cpu_seconds = 1);
    let rejection = rejection(&rig.sandbox, bomb(600, 900)).await;
    assert_eq!(rejection, Rejection::CompileLimit { limit: "1 s of CPU".to_owned() });
    assert_eq!(output(&rig.report(&guests::says(1, "1", 0), Call::default()).await), "1", "the sandbox goes on");
}

#[tokio::test]
async fn a_module_that_takes_too_much_memory_is_refused() {
    let rig = Rig::with(|config| config.compiler.memory_bytes = 128 << 20);
    let rejection = rejection(&rig.sandbox, bomb(600, 900)).await;
    assert_eq!(rejection, Rejection::CompileLimit { limit: "128 MiB".to_owned() });
}

#[tokio::test]
async fn a_bomb_goes_off_once() {
    let rig = Rig::with(|config| config.compiler.cpu_seconds = 1);
    let bomb = bomb(600, 900);
    let mut tasks = JoinSet::new();
    for _ in 0..12 {
        let (sandbox, bomb) = (rig.sandbox.clone(), bomb.clone());
        tasks.spawn(async move { rejection(&sandbox, bomb).await });
    }
    let rejections = tasks.join_all().await;
    assert!(rejections.iter().all(|rejection| matches!(rejection, Rejection::CompileLimit { .. })));
    assert_eq!(rig.sandbox.stats().compiled, 1);
}

#[tokio::test]
async fn a_small_module_is_not_stuck_behind_large_ones() {
    let gate = Gate::new();
    let sandbox = Sandbox::new(Config::new(4, 2, gate.cache(), gate.compiler())).unwrap();
    let mut tasks = JoinSet::new();
    for mark in ["a", "b", "c"] {
        let (sandbox, bytes) = (sandbox.clone(), Bytes::from(large(mark)));
        tasks
            .spawn(async move { sandbox.load(&Digest::of(&bytes), bytes).await.map(|module| module.artifact_bytes()) });
    }
    eventually("a large one is compiled", || async { (sandbox.stats().compiled == 1).then_some(()) }).await;
    let small = Bytes::from(guests::says(1, "1", 0));
    sandbox.load(&Digest::of(&small), small).await.unwrap();
    assert_eq!(sandbox.stats().compiled, 2, "the small one, and one of the large ones");
    gate.open();
    assert!(tasks.join_all().await.iter().all(|loaded| matches!(loaded, Ok(bytes) if *bytes > 1 << 20)));
    assert_eq!(sandbox.stats().compiled, 4);
}

#[tokio::test]
async fn a_machine_that_is_too_busy_is_no_fault_of_the_module() {
    let rig = Rig::with(|config| config.compiler.wall = Duration::from_millis(1));
    let bytes = bomb(600, 900);
    let error = rig.sandbox.load(&Digest::of(&bytes), bytes).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn compilers_have_nothing_of_the_system_in_reach() {
    let rig = Rig::new();
    for wasm in [guests::spins(), guests::says(1, "1", 0)] {
        let wasm = Bytes::from(wasm);
        let module = rig.sandbox.load(&Digest::of(&wasm), wasm).await.unwrap();
        assert!(module.compilation().unwrap().confined, "its status says that its system calls are filtered");
    }
}

#[tokio::test]
async fn a_missing_compiler_is_no_fault_of_the_module() {
    let rig = Rig::with(|config| config.compiler.program = "/nowhere/lovage".into());
    let bytes = Bytes::from(guests::spins());
    let error = rig.sandbox.load(&Digest::of(&bytes), bytes).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().starts_with("start the compiler: "), "{error}");
}
