//! What a client promises by itself, on the broker in memory and without any host: lists and their bounds, and what is refused
//! before anything is published.

mod events;
mod flows;
mod lists;
mod refusals;

use bytes::Bytes;
use lovage::broker::Broker;
use lovage::broker::memory::Memory;
use lovage::client::{Client, Upload};
use lovage::model::module::Manifest;
use lovage::model::{Contract, TaskDescription, Tenant};

/// A broker with the module `m`, whose task is `t`.
struct Rig {
    broker: Broker,
    client: Client,
}

impl Rig {
    async fn new() -> Self {
        let broker = Memory::new().broker();
        let client = Client::new(broker.clone(), Tenant::default_tenant());
        let task = TaskDescription {
            name: "t".parse().unwrap(),
            summary: String::new(),
            input_schema: None,
            output_schema: None,
            media_type: None,
        };
        let upload = Upload {
            name: "m".parse().unwrap(),
            version: None,
            bytes: Bytes::from_static(b"a stand-in"),
            source_digest: None,
            contract: Contract::Task,
            tasks: [task].into(),
            manifest: Manifest::default(),
        };
        client.push(upload).await.unwrap();
        Self { broker, client }
    }

    /// Whether nothing is queued, scheduled or due.
    async fn is_idle(&self) -> bool {
        for subject in ["lvg.default.task.>", "lvg.default.sched.>", "lvg.default.fire.>"] {
            if self.broker.streams.last(subject).await.unwrap().is_some() {
                return false;
            }
        }
        true
    }
}
