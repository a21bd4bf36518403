//! What a run calls is decided when it is started: later uploads are for later runs.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use lovage::broker::Message;
use lovage::client::{Order, Upload};
use lovage::model::module::Manifest;
use lovage::model::{Contract, Digest, TaskDescription};
use lovage::protocol::task::TaskMessage;
use lovage::workflow::flow::Document;
use serde_json::json;

use super::{Rig, soon};

/// As long as what was looked up by name is believed.
const BELIEVED_FOR: Duration = Duration::from_secs(1);

impl Rig {
    /// Uploads another `canvas`, which still has the task `id` and no other.
    async fn push_another(&self, bytes: &'static [u8]) {
        let task = TaskDescription {
            name: "id".parse().unwrap(),
            summary: String::new(),
            input_schema: None,
            output_schema: None,
            media_type: None,
        };
        let upload = Upload {
            name: "canvas".parse().unwrap(),
            version: None,
            bytes: Bytes::from_static(bytes),
            source_digest: None,
            contract: Contract::Task,
            tasks: [task].into(),
            manifest: Manifest::default(),
        };
        self.client.push(upload).await.unwrap();
        tokio::time::advance(BELIEVED_FOR).await;
    }

    async fn signal(&self, run: &lovage::model::RunId) {
        self.client.signal(run, &"go".parse().unwrap(), &"7".into(), None).await.unwrap();
    }
}

/// The version that the next queued task names, and the digest that its module must have.
async fn next(queued: &mut BoxStream<'static, Message>) -> (String, Option<Digest>) {
    let message = soon("a task is queued", queued.next()).await.unwrap();
    let task = TaskMessage::decode(&message.headers, &message.payload).unwrap();
    (task.signature.task.version.unwrap().to_string(), task.digest)
}

#[tokio::test(start_paused = true)]
async fn an_upload_changes_nothing_of_a_run_under_way() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let (_host, _) = rig.host().await;
    let mut queued = rig.broker.bus.listen("lvg.default.task.>").await.unwrap();
    let chain = json!({"chain": [{"wait": "go"}, {"task": "canvas/id"}, {"task": "canvas/sum", "args": [1, 2]}]});
    let run = rig.start(chain, None).await;
    rig.push_another(b"a later stand-in").await;
    rig.signal(&run).await;
    assert_eq!(rig.output(&run).await, "10", "a task that the later version has not");
    let first = ("1".to_owned(), Some(Digest::of(b"a stand-in")));
    assert_eq!([next(&mut queued).await, next(&mut queued).await], [first.clone(), first]);
    let later = rig.start(json!({"task": "canvas/id", "input": 1}), None).await;
    assert_eq!(rig.output(&later).await, "1");
    assert_eq!(next(&mut queued).await, ("2".to_owned(), Some(Digest::of(b"a later stand-in"))));
}

#[tokio::test(start_paused = true)]
async fn a_stored_flow_stays_as_it_was_for_those_who_have_begun() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let push = async |name: &str, document: serde_json::Value| {
        let document = Document::from_json(&document).unwrap();
        rig.client.push_flow(&name.parse().unwrap(), None, &document).await.unwrap();
        tokio::time::advance(BELIEVED_FOR).await;
    };
    push("part", json!({"value": "old"})).await;
    push("whole", json!({"chain": [{"wait": "go"}, {"flow": "part"}]})).await;
    let start = async || {
        let order: Order = rig.client.order(&"whole".parse().unwrap(), None).await.unwrap();
        rig.client.start(order).await.unwrap()
    };
    let early = start().await;
    push("part", json!({"value": "new"})).await;
    let late = start().await;
    push("whole", json!({"value": "something else"})).await;
    for (run, output) in [(&early, "\"old\""), (&late, "\"new\"")] {
        rig.signal(run).await;
        assert_eq!(rig.output(run).await, output);
    }
    assert_eq!(rig.output(&start().await).await, "\"something else\"");
}
