//! Lists against what a plain filter over everything says: random records, random questions. `LOVAGE_SEED` replays a run.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use lovage::broker::Publish;
use lovage::client::{LetterFilter, RunFilter};
use lovage::model::lifecycle::Usage;
use lovage::model::{Failure, Kind, RunId, Signature, Tenant, Timestamp};
use lovage::protocol::dead;
use lovage::protocol::subject::Priority;
use lovage::protocol::task::TaskMessage;
use lovage::workflow::journal::Parent;
use lovage::workflow::wire::{Entry, RunState};

use super::Rig;
use crate::support::seed::{Dice, seed};

fn labels(dice: &mut Dice) -> BTreeMap<String, String> {
    let mut label = |key: &str| (key.to_owned(), dice.pick(&["a", "b"]).to_owned());
    [label("team"), label("zone")].into()
}

/// None of them, or one label of those that runs and letters have.
fn wanted_labels(dice: &mut Dice) -> BTreeMap<String, String> {
    match dice.below(3) {
        0 => [(dice.pick(&["team", "zone", "none"]).to_owned(), dice.pick(&["a", "b"]).to_owned())].into(),
        _ => BTreeMap::new(),
    }
}

fn maybe<T>(dice: &mut Dice, value: impl FnOnce(&mut Dice) -> T) -> Option<T> {
    (dice.below(3) == 0).then(|| value(dice))
}

fn time(dice: &mut Dice) -> Timestamp {
    Timestamp::from_millis(i64::try_from(dice.roll() % 50).unwrap())
}

fn run(number: usize) -> RunId {
    RunId::derived(&["run", &number.to_string()])
}

fn entry(dice: &mut Dice, number: usize) -> Entry {
    let parent = Parent { run: run(dice.below(4)), step: "0".parse().unwrap(), generation: 0, depth: 1 };
    Entry {
        state: dice.pick(&RunState::ALL),
        flow: maybe(dice, |dice| dice.pick(&["f", "g"]).parse().unwrap()),
        labels: labels(dice),
        parent: (dice.below(2) == 0).then_some(parent),
        // Few times, so that several runs have the same.
        ..Entry::unknown(run(number), time(dice))
    }
}

#[tokio::test]
async fn a_list_of_runs_shows_the_latest_that_fit_up_to_its_bound() {
    let (rig, mut dice) = (Rig::new().await, Dice(seed()));
    let mut there: BTreeMap<RunId, Entry> = BTreeMap::new();
    for number in 0..200 {
        // What is written anew takes the place of what was.
        let written = entry(&mut dice, number % 120);
        let subject = Entry::subject(rig.client.tenant(), &written.run);
        rig.broker.streams.publish(Publish::new(subject, written.encode())).await.unwrap();
        there.insert(written.run.clone(), written);
    }
    let unreadable = Entry::subject(rig.client.tenant(), &run(1_000));
    rig.broker.streams.publish(Publish::new(unreadable, "{\"v\":9}")).await.unwrap();
    for _ in 0..300 {
        let filter = RunFilter {
            state: maybe(&mut dice, |dice| dice.pick(&RunState::ALL)),
            flow: maybe(&mut dice, |dice| dice.pick(&["f", "g", "h"]).parse().unwrap()),
            labels: wanted_labels(&mut dice),
            since: maybe(&mut dice, time),
            until: maybe(&mut dice, time),
            parent: maybe(&mut dice, |dice| run(dice.below(5))),
            count_max: dice.pick(&[0, 1, 3, 100, 1_000]),
        };
        let fits = |entry: &&Entry| {
            let labels = filter.labels.iter().all(|label| entry.labels.iter().any(|own| own == label));
            let times = filter.since.is_none_or(|since| since <= entry.started)
                && filter.until.is_none_or(|until| entry.started < until);
            let parent = entry.parent.as_ref().map(|parent| &parent.run);
            labels
                && times
                && (filter.state.is_none() || filter.state == Some(entry.state))
                && (filter.flow.is_none() || filter.flow == entry.flow)
                && (filter.parent.is_none() || filter.parent.as_ref() == parent)
        };
        let mut expected: Vec<&Entry> = there.values().filter(fits).collect();
        expected.sort_by_key(|entry| std::cmp::Reverse((entry.started, entry.run.clone())));
        expected.truncate(filter.count_max);
        let shown = rig.client.runs(&filter).await.unwrap();
        assert_eq!(shown.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
}

struct Died {
    id: String,
    queue: &'static str,
    task: &'static str,
    kind: Kind,
    labels: BTreeMap<String, String>,
    at: Timestamp,
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_listed_in_the_order_of_their_deaths_by_all_that_is_asked_for() {
    let (rig, mut dice) = (Rig::new().await, Dice(seed()));
    let tenant = Tenant::default_tenant();
    let begin = rig.broker.clock.now();
    let mut there = Vec::new();
    for number in 0..150 {
        tokio::time::advance(Duration::from_millis(dice.roll() % 3)).await;
        let died = Died {
            id: format!("t{number}"),
            queue: dice.pick(&["q", "r"]),
            task: dice.pick(&["m/t", "m@2/t", "n/t", "n/u"]),
            kind: dice.pick(&[Kind::Trap, Kind::Returned, Kind::HostLost]),
            labels: labels(&mut dice),
            at: rig.broker.clock.now(),
        };
        let mut signature = Signature::new(died.task.parse().unwrap(), "1");
        signature.options.labels.clone_from(&died.labels);
        let (headers, payload) = TaskMessage::first(signature).encode();
        let failure = Failure::new(died.kind, "no");
        let headers = dead::encode(&headers, Priority::new(5).unwrap(), &failure, &Usage::default());
        let subject = dead::subject(&tenant, &died.queue.parse().unwrap(), &died.id.parse().unwrap());
        rig.broker.streams.publish(Publish { subject, headers, payload, ..Publish::default() }).await.unwrap();
        there.push(died);
    }
    let foreign = Publish::new("lvg.default.dead.q.x", Bytes::from_static(b"no letter"));
    rig.broker.streams.publish(foreign).await.unwrap();
    let moment = |dice: &mut Dice| begin.after(Duration::from_millis(dice.roll() % 160));
    for _ in 0..300 {
        let filter = LetterFilter {
            queue: maybe(&mut dice, |dice| dice.pick(&["q", "r", "s"]).parse().unwrap()),
            module: maybe(&mut dice, |dice| dice.pick(&["m", "n", "o"]).parse().unwrap()),
            task: maybe(&mut dice, |dice| dice.pick(&["t", "u"]).parse().unwrap()),
            kind: maybe(&mut dice, |dice| dice.pick(&[Kind::Trap, Kind::Returned])),
            labels: wanted_labels(&mut dice),
            since: maybe(&mut dice, moment),
            until: maybe(&mut dice, moment),
        };
        let fits = |died: &&Died| {
            let (module, task) = died.task.split_once('/').unwrap();
            let module = module.split('@').next().unwrap();
            filter.queue.as_ref().is_none_or(|queue| queue.as_str() == died.queue)
                && filter.module.as_ref().is_none_or(|wanted| wanted.as_str() == module)
                && filter.task.as_ref().is_none_or(|wanted| wanted.as_str() == task)
                && filter.kind.is_none_or(|kind| kind == died.kind)
                && filter.labels.iter().all(|label| died.labels.iter().any(|own| own == label))
                && filter.since.is_none_or(|since| since <= died.at)
                && filter.until.is_none_or(|until| died.at < until)
        };
        let expected: Vec<&str> = there.iter().filter(fits).map(|died| died.id.as_str()).collect();
        let letters = rig.client.letters(filter.clone()).await.unwrap();
        let letters: Vec<_> = letters.try_collect().await.unwrap();
        let shown: Vec<&str> = letters.iter().map(|letter| letter.id.as_str()).collect();
        assert_eq!(shown, expected, "{filter:?}");
    }
}
