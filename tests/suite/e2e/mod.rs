//! The platform end to end: real processes, a real nats-server, guests from real source.
//!
//! | file | what is promised |
//! |---|---|
//! | `main_job` | a module is pushed and called, and its results stay |
//! | `dev` | `lovage dev` starts, refuses, drains and leaves nothing behind |
//! | `delivery` | nothing is lost and nothing is committed twice when hosts are killed |
//! | `retries`, `cancel` | attempts are counted, wait in the broker, and can be stopped anywhere |
//! | `hosts` | which hosts there are, what they do, and how they leave |
//! | `events` | what is told of tasks, runs, schedules and hosts |
//! | `webhooks` | receivers outside are told, signed and again |
//! | `broker` | a broker that is late, gone or full |
//! | `placement` | tasks go to hosts of their tenant and queue |
//! | `messages` | what strangers publish |
//! | `grants` | tenants keep to their own buckets and secrets, and operators decide what may be granted |
//! | `metering` | modules that count no fuel, and operators who do not want them |
//! | `values` | inputs and outputs above the inline limit |
//! | `runs` | runs of flows, and coordinators that are killed |
//! | `schedules` | one start a slot, with two coordinators of which one is killed |
//! | `crashes` | a chord while coordinator, host and broker are killed |
//! | `submit` | another language submits with its own NATS client |

mod broker;
mod cancel;
mod crashes;
mod delivery;
mod dev;
mod events;
mod grants;
mod hosts;
mod main_job;
mod messages;
mod metering;
mod placement;
mod retries;
mod runs;
mod schedules;
mod submit;
mod values;
mod webhooks;

use lovage::broker::Settings;
use lovage::model::{Signature, TaskId};

use crate::support::nats::TestServer;
use crate::support::platform::Cli;

/// A nats-server of the test's own, and the command line against it.
async fn server() -> (TestServer, Cli) {
    let server = TestServer::start(Settings::default()).await;
    let cli = Cli { nats: server.server.url() };
    (server, cli)
}

/// A call of `task` with `input`.
fn signature(task: &str, input: &str) -> Signature {
    Signature::new(task.parse().unwrap(), input.to_owned())
}

/// An id that the command line printed.
fn task_id(text: &str) -> TaskId {
    text.parse().unwrap()
}
