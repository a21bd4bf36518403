//! Values above the inline limit travel by reference.

use lovage::client::Order;
use lovage::workflow::flow::Document;
use serde_json::json;

use super::Rig;

#[tokio::test(start_paused = true)]
async fn large_inputs_and_outputs_come_through() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let (_host, _) = rig.host().await;
    let large = format!("\"{}\"", "y".repeat(300_000));
    for (what, document, input, size) in [
        ("an input", json!({"task": "canvas/id"}), Some(large.as_str()), 300_002),
        ("an output", json!({"task": "canvas/big", "args": []}), None, 200_002),
        ("many of them", json!({"map": {"task": "canvas/big"}, "over": [1, 2, 3]}), None, 3 * 200_002 + 4),
        (
            "many of them to one task",
            json!({"chain": [{"map": {"task": "canvas/big"}, "over": [1, 2, 3]}, {"task": "canvas/id"}]}),
            None,
            3 * 200_002 + 4,
        ),
        (
            "an expression that looks inside",
            json!({"chain": [{"task": "canvas/big", "args": []}, {"value": "${size(prev)}"}]}),
            None,
            6,
        ),
    ] {
        let run = rig.start(document, input).await;
        assert_eq!(rig.output(&run).await.len(), size, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_document_is_read_from_the_object_store() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let document = json!({"value": "z".repeat(400_000)});
    let run = rig.start(document, None).await;
    assert_eq!(rig.output(&run).await.len(), 400_002);
}

#[tokio::test(start_paused = true)]
async fn values_are_carried_to_a_child_and_back() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let (_host, _) = rig.host().await;
    let inner = Document::from_json(&json!({"task": "canvas/id"})).unwrap();
    rig.client.push_flow(&"inner".parse().unwrap(), None, &inner).await.unwrap();
    let order = rig.client.order(&"inner".parse().unwrap(), None).await.unwrap();
    let large = format!("\"{}\"", "y".repeat(300_000));
    let alone = rig.client.start(order.with_input(large.clone())).await.unwrap();
    assert_eq!(rig.output(&alone).await, large);
    let outer = Document::from_json(&json!({"chain": [{"flow": "inner"}, {"task": "canvas/id"}]})).unwrap();
    let run = rig.client.start(Order::new(outer).with_input(large.clone())).await.unwrap();
    assert_eq!(rig.output(&run).await, large);
}

#[tokio::test(start_paused = true)]
async fn a_large_flow_that_is_handed_back_is_read_from_the_object_store() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let (_host, _) = rig.host().await;
    let document = json!({"task": "canvas/flow", "input": {"value": "w".repeat(300_000)}});
    let run = rig.start(document, None).await;
    assert_eq!(rig.output(&run).await.len(), 300_002);
    // It is read the same by those who show the run.
    assert!(rig.client.view_run(&run).await.unwrap().end().is_some());
}
