//! Large modules on their first use: their tasks wait for the compiler and hold nothing, others go on, and it is said what is
//! waited for.

use futures::TryStreamExt as _;
use lovage::host::{Config, Host};
use lovage::model::lifecycle::{End, State};
use lovage::model::{Signature, Tenant};
use lovage::protocol::host::HostLoading;
use lovage::sandbox::{self, Sandbox};
use lovage::telemetry::Metrics;
use tokio_util::sync::CancellationToken;

use super::{Rig, Running, call, output};
use crate::support::eventually::eventually;
use crate::support::gate::{Gate, large};
use crate::support::modules;

/// A rig with the module `large`, and a host of one slot whose compiler is behind a gate.
async fn rig() -> (Rig, Running, Gate) {
    let (rig, gate) = (Rig::new().await, Gate::new());
    modules::push_bytes(&rig.client, "large", &large("a")).await;
    let sandbox = Sandbox::new(sandbox::Config::new(4, 2, gate.cache(), gate.compiler())).unwrap();
    let config = Config::new(Tenant::default_tenant(), "host-1".parse().unwrap(), 1);
    let host = Host::begin(rig.broker.clone(), sandbox, config, Metrics::default()).await.unwrap();
    let stop = CancellationToken::new();
    let serve = host.serve(stop.clone());
    (rig, Running::spawn(stop, async move { serve.await.unwrap() }), gate)
}

fn call_large() -> Signature {
    Signature::new("large/run".parse().unwrap(), "null".to_owned())
}

/// What the host compiles, once that is something.
async fn loading(rig: &Rig) -> Vec<HostLoading> {
    let id = "host-1".parse().unwrap();
    eventually("a module that is compiled", || async {
        let loading = rig.client.host(&id).await.ok()?.loading;
        (!loading.is_empty()).then_some(loading)
    })
    .await
}

#[tokio::test]
async fn others_go_on_while_a_large_module_is_compiled() {
    let (rig, _host, gate) = rig().await;
    let waits = rig.submit(call_large()).await;
    let [first] = &loading(&rig).await[..] else { panic!("one module") };
    assert_eq!((first.module.as_str(), first.tasks, first.size > 1 << 20), ("large", 1, true));
    // It has the only slot of the host no more than it has a compiler's place for small modules.
    assert_eq!(output(&rig.client.call(call("echo", "1")).await.unwrap()), "1");
    // A second one may wait as well, and then all that may are there: the host takes no third.
    rig.submit(call_large()).await;
    eventually("two that wait", || async { (loading(&rig).await[0].tasks == 2).then_some(()) }).await;
    eventually("its log", || async {
        let lines: Vec<_> = rig.client.logs(&waits, false).await.unwrap().try_collect().await.unwrap();
        lines.iter().find(|line| line.message.starts_with("waiting for its module: large@1, ")).map(|_| ())
    })
    .await;
    gate.open();
    assert_eq!(output(&rig.wait(&waits).await), "null");
    rig.until_idle().await;
    assert!(rig.client.host(&"host-1".parse().unwrap()).await.unwrap().loading.is_empty());
}

#[tokio::test]
async fn a_cancel_ends_the_wait_for_a_module() {
    let (rig, _host, gate) = rig().await;
    let waits = rig.submit(call_large()).await;
    loading(&rig).await;
    rig.client.cancel(&waits).await.unwrap();
    assert_eq!(rig.wait(&waits).await.end, End::Cancelled);
    rig.until_idle().await;
    // Nobody waits for it any more, so that its compiler is gone; who comes next begins anew.
    let again = rig.submit(call_large()).await;
    loading(&rig).await;
    gate.open();
    rig.until(&again, State::Succeeded).await;
}
