//! Events of the past against what was stored: random ends of tasks, states of runs, and words of hosts. `LOVAGE_SEED` replays a
//! run.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt as _;
use lovage::broker::Publish;
use lovage::client::EventFilter;
use lovage::model::lifecycle::{About, End, Record, Settled, Usage};
use lovage::model::{Failure, Kind, RunId, Timestamp, Value};
use lovage::protocol::host::{HostNews, NewsKind};
use lovage::protocol::{host, record, subject};
use lovage::workflow::wire::{Entry, RunState};

use super::Rig;
use crate::support::seed::{Dice, seed};

/// What an event is to be: its kind, of what, and with which label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Expected {
    at: Timestamp,
    kind: String,
    id: String,
    team: Option<String>,
}

/// Stores something that is an event, and says which.
async fn happen(rig: &Rig, dice: &mut Dice) -> (String, Expected) {
    let (tenant, now) = (rig.client.tenant(), rig.broker.clock.now());
    let team = dice.pick(&["a", "b"]).to_owned();
    let labels = BTreeMap::from([("team".to_owned(), team.clone())]);
    let (publish, kind, id) = match dice.below(3) {
        0 => {
            let id = format!("t{}", dice.below(30));
            let failed = End::Failed(Failure::new(Kind::Trap, "no"));
            let ends = vec![failed, End::Succeeded(Value::Inline("1".into())), End::Cancelled];
            let end = ends.into_iter().nth(dice.below(3)).unwrap();
            let kind = format!("task.{}", end.state());
            let about = Some(Box::new(About { labels, ..About::default() }));
            let usage = Usage { attempt: 1, about, ..Usage::default() };
            let (headers, payload) = record::encode(&Record::Settled(Settled { end, usage }));
            let subject = subject::result(tenant, &id.parse().unwrap());
            (Publish { headers, ..Publish::new(subject, payload) }, kind, id)
        }
        1 => {
            let run = RunId::derived(&["run", &dice.below(30).to_string()]);
            let state = dice.pick(&RunState::ALL);
            let entry = Entry { state, labels, ..Entry::unknown(run.clone(), now) };
            (Publish::new(Entry::subject(tenant, &run), entry.encode()), format!("run.{state}"), run.to_string())
        }
        _ => {
            let id = format!("h{}", dice.below(5));
            let what = dice.pick(&[NewsKind::Joined, NewsKind::Draining, NewsKind::Left]);
            let news = HostNews { at: now, what, name: "box".to_owned(), labels };
            let subject = HostNews::subject(tenant, &id.parse().unwrap());
            (Publish::new(subject, host::encode(&news)), format!("host.{}", what.as_str()), id)
        }
    };
    let subject = publish.subject.clone();
    rig.broker.streams.publish(publish).await.unwrap();
    (subject, Expected { at: now, kind, id, team: Some(team) })
}

#[tokio::test(start_paused = true)]
async fn events_of_the_past_come_in_the_order_of_time_and_none_is_missed() {
    let (rig, mut dice) = (Rig::new().await, Dice(seed()));
    let begin = rig.broker.clock.now();
    // Of a task and of a run the last state is kept, of hosts everything.
    let (mut last, mut news) = (BTreeMap::new(), Vec::new());
    for _ in 0..200 {
        tokio::time::advance(Duration::from_millis(dice.roll() % 4)).await;
        let (subject, expected) = happen(&rig, &mut dice).await;
        if expected.kind.starts_with("host.") {
            news.push(expected);
        } else {
            last.insert(subject, expected);
        }
    }
    rig.broker.streams.publish(Publish::new("lvg.default.ev.host.h1", "no news")).await.unwrap();
    let kinds = ["task", "run", "host", "task.failed", "*.failed", "run.*", "host.left", "step"];
    for _ in 0..100 {
        let since = begin.after(Duration::from_millis(dice.roll() % 300));
        let wanted: Vec<String> = (0..dice.below(3)).map(|_| dice.pick(&kinds).to_owned()).collect();
        let team = (dice.below(2) == 0).then(|| dice.pick(&["a", "b"]).to_owned());
        let labels = team.iter().map(|team| ("team".to_owned(), team.clone())).collect();
        let fits = |expected: &&Expected| {
            let (family, what) = expected.kind.split_once('.').unwrap();
            let of_kind = |kind: &String| match kind.split_once('.') {
                None => kind == family,
                Some((of, "*")) => of == family,
                Some(("*", state)) => state == what,
                Some(_) => *kind == expected.kind,
            };
            expected.at >= since
                && (wanted.is_empty() || wanted.iter().any(of_kind))
                && (team.is_none() || team == expected.team)
        };
        let mut expected: Vec<Expected> = last.values().chain(&news).filter(fits).cloned().collect();
        expected.sort_unstable();
        let filter = EventFilter { kinds: wanted.clone(), labels, ..EventFilter::default() };
        let told = rig.client.past_events(since, &filter).await.unwrap();
        let told: Vec<_> = told.try_collect().await.unwrap();
        assert!(told.is_sorted_by_key(|event| event.at), "{filter:?}");
        let of = |event: &lovage::client::Event| Expected {
            at: event.at,
            kind: event.kind.clone(),
            id: event.id.clone(),
            team: event.labels.get("team").cloned(),
        };
        let mut told: Vec<Expected> = told.iter().map(of).collect();
        told.sort_unstable();
        assert_eq!(told, expected, "{filter:?} since {since}");
    }
}
