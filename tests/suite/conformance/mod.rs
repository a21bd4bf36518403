//! What every broker promises, checked on the one in memory and on NATS.
//!
//! Each promise is an async function over a [`Rig`]; the table below makes two tests of it. Tests wait on messages, never for a
//! time; that nothing comes is shown by something that comes later.

mod bus;
mod faults;
mod journal;
mod model;
mod objects;
mod publish;
mod queue;
mod rates;
mod reading;
mod restart;
mod schedule;

use std::time::Duration;

use async_nats::jetstream;
use lovage::broker::memory::Memory;
use lovage::broker::nats::{Nats, Options};
use lovage::broker::{Broker, Consumer, Deliveries, Delivery, Message, Publish, Settings, Stored};
use lovage::model::Tenant;
use lovage::protocol::Stream;
use lovage::protocol::stream::RESULT_TTL;

use crate::support::nats::TestServer;

/// Queued tasks that the tenant of a rig may have.
const QUEUED_MAX: u64 = 4;

/// A broker under test.
pub(super) struct Rig {
    /// The ports.
    pub broker: Broker,
    /// The server, if there is one.
    server: Option<TestServer>,
}

impl Rig {
    fn memory() -> Self {
        let memory = Memory::new();
        memory.provision(&Tenant::default_tenant(), &settings());
        Self { broker: memory.broker(), server: None }
    }

    async fn nats() -> Self {
        let server = TestServer::start(settings()).await;
        Self { broker: server.nats.broker(), server: Some(server) }
    }

    /// Stores a message.
    pub(super) async fn put(&self, subject: &str, payload: &'static str) -> Stored {
        self.broker.streams.publish(Publish::new(subject, payload)).await.unwrap()
    }

    /// Waits until what is in the stream of results is older than results become. A server has the age made short for it.
    pub(super) async fn let_results_age(&self) {
        let Some(test) = &self.server else {
            return tokio::time::advance(RESULT_TTL).await;
        };
        let context = jetstream::new(async_nats::connect(test.server.url()).await.unwrap());
        let mut stream = context.get_stream(Stream::Result.name()).await.unwrap();
        let mut config = stream.info().await.unwrap().config.clone();
        config.max_age = Duration::from_secs(1);
        config.duplicate_window = config.max_age;
        context.update_stream(config).await.unwrap();
        let lasting = async { while stream.info().await.unwrap().state.messages > 1 {} };
        soon(lasting).await;
    }

    /// A second connection to the same broker.
    pub(super) async fn other(&self) -> Broker {
        match &self.server {
            Some(test) => Nats::connect(Options::new(test.server.url(), "other")).await.unwrap().broker(),
            None => self.broker.clone(),
        }
    }

    /// Takes deliveries of `filter` in the tenant's task stream.
    pub(super) async fn take(&self, filter: &str, lease: Duration) -> Box<dyn Deliveries> {
        self.broker.queues.consume(&tasks(filter, lease)).await.unwrap()
    }
}

fn settings() -> Settings {
    Settings { queued_max: QUEUED_MAX, ..Settings::default() }
}

/// A consumer of the default tenant's tasks.
pub(super) fn tasks(filter: &str, lease: Duration) -> Consumer {
    Consumer {
        stream: Stream::Task(Tenant::default_tenant()),
        name: "tasks".to_owned(),
        filter: filter.to_owned(),
        lease,
        deliveries_max: None,
    }
}

/// The result of what must not take long.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it takes more than 10 s")
}

/// The next delivery.
pub(super) async fn next(deliveries: &mut Box<dyn Deliveries>) -> Delivery {
    soon(deliveries.next()).await.unwrap()
}

/// The payload as text.
pub(super) fn text(message: &Message) -> &str {
    std::str::from_utf8(&message.payload).unwrap()
}

macro_rules! promises {
    ($($file:ident: $($promise:ident),+;)+) => {
        mod memory {
            $($(#[tokio::test(start_paused = true)]
            async fn $promise() {
                super::$file::$promise(super::Rig::memory()).await;
            })+)+
        }
        mod nats {
            $($(#[tokio::test]
            async fn $promise() {
                super::$file::$promise(super::Rig::nats().await).await;
            })+)+
        }
    };
}

promises! {
    publish: sequences_count_from_one, expected_sequences_are_compared, a_unique_subject_is_occupied_until_finished,
        a_full_stream_is_told_from_an_occupied_subject, a_message_id_is_stored_once, the_last_message_takes_the_place_of_others,
        the_last_message_is_found_with_wildcards, a_purge_counts, a_message_with_a_time_to_live_goes,
        a_lasting_message_outlives_the_age_of_its_stream,
        subjects_of_no_stream_are_not_found, headers_are_kept, white_space_around_a_header_does_not_travel,
        what_was_delivered_can_be_published_again;
    reading: a_reading_ends_at_the_last_message, a_long_reading_has_every_message, a_reading_begins_at_a_sequence, a_reading_begins_at_a_time,
        the_last_of_each_subject_is_read, a_reading_that_follows_sees_later_messages, the_last_of_each_is_followed_by_all,
        a_work_queue_is_read_and_not_followed;
    schedule: a_schedule_fires_when_it_is_due, a_past_schedule_fires_at_once, a_new_schedule_takes_the_place_of_the_old,
        a_purged_schedule_never_fires, a_schedule_produces_headers_and_no_message_id;
    journal: a_timer_produces_its_record, a_timer_of_the_past_fires_at_once, a_timer_is_ended_and_moved,
        a_record_is_written_once, a_partition_is_followed_across_tenants, readings_at_once_see_one_order;
    queue: no_more_is_delivered_than_allowed, what_waits_and_what_is_out_is_counted, two_takers_share, a_lease_that_ran_out_is_delivered_again,
        a_purge_of_one_subject_leaves_deliveries_of_others,
        an_extended_lease_goes_on, what_is_finished_is_gone, what_is_let_go_is_gone_when_the_broker_hears_of_it, what_is_handed_back_comes_after_its_delay,
        a_late_taker_gets_what_is_stored, deliveries_out_are_bounded, what_a_closed_taker_had_is_free,
        a_delivery_says_where_it_stands, a_dropped_wait_loses_nothing, many_are_delivered_once_each,
        a_visit_takes_what_waits_and_waits_for_nothing, what_is_recalled_does_not_come,
        subjects_with_messages_are_listed;
    bus: a_listener_hears_what_is_sent_and_stored, an_asker_gets_as_many_answers_as_it_takes, nobody_answers_at_once,
        after_a_flush_nothing_of_others_is_missed;
    objects: objects_of_any_size_come_back, an_object_is_replaced, a_missing_object_is_none, a_removed_object_is_gone,
        objects_are_listed_until_they_are_removed;
}
