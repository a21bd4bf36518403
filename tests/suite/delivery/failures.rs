//! What guests do wrong, as a caller sees it.

use lovage::model::limits::{FuelWish, Off};
use lovage::model::{Kind, Signature};

use super::{Rig, call, failure};

async fn kind_of(rig: &Rig, mut signature: Signature) -> Kind {
    signature.options.retry.attempts = 1;
    failure(&rig.client.call(signature).await.unwrap()).kind
}

#[tokio::test]
async fn limits_of_the_call_are_kept() {
    let (rig, _host) = Rig::with_host().await;
    let mut fuel = call("burn", r#"{"units":1000}"#);
    fuel.options.limits.fuel = Some(FuelWish::Units(1_000_000));
    assert_eq!(kind_of(&rig, fuel).await, Kind::OutOfFuel);

    let mut deadline = call("burn", r#"{"units":1000000}"#);
    deadline.options.limits.fuel = Some(FuelWish::Off(Off::Off));
    deadline.options.limits.attempt_timeout_ms = Some(50);
    assert_eq!(kind_of(&rig, deadline).await, Kind::Deadline);

    let mut memory = call("alloc", r#"{"bytes":67108864}"#);
    memory.options.limits.memory_bytes = Some(16 << 20);
    assert_eq!(kind_of(&rig, memory).await, Kind::MemoryLimit);
}

#[tokio::test]
async fn a_panic_is_a_trap_and_its_message_is_in_the_log() {
    let (rig, _host) = Rig::with_host().await;
    let mut signature = call("panic", r#""boo""#);
    signature.options.retry.attempts = 1;
    let id = rig.submit(signature).await;
    let settled = rig.wait(&id).await;
    assert_eq!(failure(&settled).kind, Kind::Trap);
    use futures::TryStreamExt as _;
    let lines: Vec<_> = rig.client.logs(&id, false).await.unwrap().try_collect().await.unwrap();
    assert!(lines.iter().any(|line| line.message.contains("boo")), "{lines:?}");
}

#[tokio::test]
async fn an_input_that_does_not_fit_is_refused_with_its_place() {
    let (rig, _host) = Rig::with_host().await;
    for (input, place) in [("not json", "line 1"), (r#"{"units":"x"}"#, "units"), ("{}", "units")] {
        let settled = rig.client.call(call("burn", input)).await.unwrap();
        assert_eq!(failure(&settled).kind, Kind::Refused);
        assert!(failure(&settled).message.contains(place), "{}", failure(&settled));
    }
}
