//! `lovage schedule`: what starts again and again, or once at a time.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value as Json, json};

use super::submit::TaskOptions;
use super::{Connect, Fault, Listing, input, output};
use crate::client::{Client, Draft};
use crate::model::schedule::calendar::{ZONE_DEFAULT, local, parse_time, zone};
use crate::model::schedule::{CATCH_UP_DEFAULT, Calendar, Cause, Course, Overlap, Rules, Slot, Stage, When};
use crate::model::signature::{Options, Wanted};
use crate::model::time::{format_duration, parse_duration};
use crate::model::{FlowName, ScheduleName, Signature, TaskRef, Timestamp, Version};
use crate::protocol::schedule::{Call, Schedule as Record, What};

/// Slots to come that are shown.
const NEXT_SHOWN: usize = 5;

/// How long `trigger` waits for a coordinator.
const TRIGGER_TIME_MAX: Duration = Duration::from_secs(10);

/// Start tasks and flows again and again, or once at a time.
#[derive(Subcommand)]
pub(super) enum Schedule {
    /// Make a schedule of a task or a stored flow.
    Create(Box<Create>),
    /// List schedules.
    Ls(Listing),
    /// Show a schedule: its rules, its next slots and its latest starts.
    Show(Show),
    /// Let the slots of a schedule pass.
    Pause(Pause),
    /// Let a paused schedule go on with its next slot.
    Resume(One),
    /// Start what a schedule starts now; print the id of the task or run.
    Trigger(Trigger),
    /// Start what the slots of the past would have started; print the ids.
    Backfill(Backfill),
    /// Remove a schedule; what it started goes on.
    Rm(One),
}

/// Make a schedule of a task or a stored flow.
#[derive(Args)]
#[command(group(ArgGroup::new("when").required(true).args(["cron", "every", "at"])))]
#[command(group(ArgGroup::new("what").required(true).args(["task", "flow"])))]
pub(super) struct Create {
    /// Its name.
    name: ScheduleName,

    /// The input of what it starts: JSON, - for stdin, or @FILE.
    input: Option<String>,

    /// Start this task: module/task, of the latest version at each start, or module@version/task.
    #[arg(long)]
    task: Option<TaskRef>,

    /// Start a run of this stored flow: NAME, of the latest version at each start, or NAME@VERSION.
    #[arg(long)]
    flow: Option<String>,

    /// Minute, hour, day of month, month and weekday, or six fields with seconds first; also @hourly, @daily and the like.
    #[arg(long, value_name = "EXPRESSION")]
    cron: Option<String>,

    /// At equal distances, as in 90s or 6h.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    every: Option<Duration>,

    /// Once: RFC 3339, or a local time of --zone.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,

    /// The time zone of --cron and of local times, as in Europe/Berlin.
    #[arg(long, default_value = ZONE_DEFAULT)]
    zone: String,

    /// No slot before this time; intervals are counted from it.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,

    /// No slot after this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// When the start before has not ended: skip the new one, queue one, allow both, or cancel the earlier one.
    #[arg(long, default_value_t = Overlap::Skip)]
    overlap: Overlap,

    /// How late a slot may still start, as after an outage; 10m where it is not given.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    catch_up: Option<Duration>,

    /// Start each slot up to this much later, so that many schedules do not start at once.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "0s")]
    jitter: Duration,

    /// Change the schedule of this name, if there is one.
    #[arg(long)]
    replace: bool,

    /// Only print the next slots.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    options: TaskOptions,

    #[command(flatten)]
    connect: Connect,
}

/// Show a schedule.
#[derive(Args)]
pub(super) struct Show {
    /// The schedule.
    name: ScheduleName,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Let the slots of a schedule pass.
#[derive(Args)]
pub(super) struct Pause {
    /// The schedule.
    name: ScheduleName,

    /// Why, for people.
    #[arg(long, default_value = "")]
    note: String,

    #[command(flatten)]
    connect: Connect,
}

/// Start what a schedule starts now.
#[derive(Args)]
pub(super) struct Trigger {
    /// The schedule.
    name: ScheduleName,

    /// What happens when the start before has not ended: skip, queue, allow or cancel; the schedule's own where it is not given.
    #[arg(long)]
    overlap: Option<Overlap>,

    #[command(flatten)]
    connect: Connect,
}

/// Start what the slots of the past would have started.
#[derive(Args)]
pub(super) struct Backfill {
    /// The schedule.
    name: ScheduleName,

    /// The first slot: RFC 3339, or a local time of the schedule's zone.
    from: String,

    /// The last slot.
    to: String,

    /// queue: one after the other; allow: all at once.
    #[arg(long, default_value_t = Overlap::Queue)]
    overlap: Overlap,

    #[command(flatten)]
    connect: Connect,
}

/// A command about one schedule.
#[derive(Args)]
pub(super) struct One {
    /// The schedule.
    name: ScheduleName,

    #[command(flatten)]
    connect: Connect,
}

impl Schedule {
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Create(create) => create.run().await,
            Self::Ls(listing) => ls(listing).await,
            Self::Show(show) => show.run().await,
            Self::Pause(pause) => {
                let (_nats, client) = pause.connect.client().await?;
                client.pause_schedule(&pause.name, &pause.note).await?;
                output::told("paused", &pause.name)
            }
            Self::Resume(one) => {
                let (_nats, client) = one.connect.client().await?;
                client.resume_schedule(&one.name).await?;
                output::told("resumed", &one.name)
            }
            Self::Trigger(trigger) => trigger.run().await,
            Self::Backfill(backfill) => backfill.run().await,
            Self::Rm(one) => {
                let (_nats, client) = one.connect.client().await?;
                client.remove_schedule(&one.name).await?;
                output::told("removed", &one.name)
            }
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), Fault> {
        zone(&self.zone).map_err(client_error)?;
        let time = |text: &Option<String>| text.as_deref().map(|text| parse_time(text, &self.zone)).transpose();
        let (from, until) = (time(&self.from).map_err(client_error)?, time(&self.until).map_err(client_error)?);
        let what = self.what()?;
        let (nats, client) = if self.dry_run {
            (None, None)
        } else {
            let (nats, client) = self.connect.client().await?;
            (Some(nats), Some(client))
        };
        let clock = crate::broker::SystemClock;
        let now = crate::broker::Clock::now(&clock);
        let when = match (&self.cron, self.every, time(&self.at).map_err(client_error)?) {
            (Some(cron), ..) => When::Cron { expression: cron.clone(), zone: self.zone.clone() },
            (_, Some(every), _) => When::Every { every, anchor: from.unwrap_or(now) },
            (_, _, Some(at)) if at < now => return Err(Fault::usage(format!("--at: {at} is over, it is {now}"))),
            (_, _, Some(at)) => When::Once { at },
            (None, None, None) => return Err(Fault::usage("it takes --cron, --every or --at")),
        };
        let catch_up = self.catch_up.unwrap_or(CATCH_UP_DEFAULT);
        let rules = Rules { when, overlap: self.overlap, catch_up, jitter: self.jitter, until };
        let Some(client) = client else { return preview(&rules, &self.zone, from.unwrap_or(now)) };
        let draft = Draft { name: self.name, rules, what, from, replace: self.replace };
        let made = client.create_schedule(draft).await?;
        drop(nats);
        let next = next_of(&made, 1).first().map(|slot| local(*slot, &self.zone));
        eprintln!("next slot {}", next.unwrap_or_default());
        output::line(made.name.as_str())
    }

    fn what(&self) -> Result<What, Fault> {
        let given = self.input.as_deref().map(|text| input::read(Some(text))).transpose()?;
        let options = self.options.options()?;
        if let Some(task) = &self.task {
            let input = given.unwrap_or_else(|| bytes::Bytes::from_static(b"null"));
            if std::str::from_utf8(&input).is_err() {
                return Err(Fault::usage("the input of a schedule is text"));
            }
            let signature = Signature { options, ..Signature::new(task.clone(), input) };
            let (wanted, queue) = (self.options.wanted(), self.options.queue.clone());
            return Ok(What::Task(Box::new(Call { signature, wanted, queue, priority: self.options.priority })));
        }
        let flow = self.flow.as_deref().unwrap_or_default();
        let (name, version) = match flow.split_once('@') {
            Some((name, version)) => (name.parse::<FlowName>()?, Some(version.parse::<Version>()?)),
            None => (flow.parse::<FlowName>()?, None),
        };
        let own = Options { labels: options.labels.clone(), ..Default::default() };
        if options != own || self.options.wanted() != Wanted::default() {
            return Err(Fault::usage("--retry, --fuel, --memory and the like are of tasks: a flow names its own"));
        }
        Ok(What::Flow { name, version, input: given, labels: options.labels })
    }
}

fn client_error(unfit: crate::model::schedule::Unfit) -> Fault {
    crate::client::Error::from(unfit).into()
}

/// Prints the next slots of rules.
fn preview(rules: &Rules, zone: &str, from: Timestamp) -> Result<(), Fault> {
    let calendar = Calendar::new(&rules.when).map_err(client_error)?;
    let course = Course { calendar: &calendar, rules, paused: false, seed: "" };
    let slots = slots(&course, from, NEXT_SHOWN);
    if slots.is_empty() {
        return Err(client_error(course.never(from)));
    }
    slots.iter().try_for_each(|slot| output::line(&format!("{slot}  {}", local(*slot, zone))))
}

fn slots(course: &Course<'_>, after: Timestamp, count: usize) -> Vec<Timestamp> {
    std::iter::successors(course.next(after), |slot| course.next(*slot)).take(count).collect()
}

/// The next slots of a schedule.
fn next_of(schedule: &Record, count: usize) -> Vec<Timestamp> {
    let Ok(calendar) = schedule.calendar() else { return Vec::new() };
    slots(&schedule.course(&calendar), schedule.progress.decided, count)
}

/// Where a schedule is.
fn state(schedule: &Record) -> &'static str {
    if schedule.paused.is_some() {
        "paused"
    } else if next_of(schedule, 1).is_empty() && schedule.progress.waiting.is_empty() {
        "over"
    } else {
        "active"
    }
}

fn starts(schedule: &Record) -> String {
    match &schedule.what {
        What::Task(call) => call.signature.task.to_string(),
        What::Flow { name, version: None, .. } => format!("flow {name}"),
        What::Flow { name, version: Some(version), .. } => format!("flow {name}@{version}"),
    }
}

async fn ls(listing: Listing) -> Result<(), Fault> {
    let (_nats, client) = listing.connect.client().await?;
    let schedules = client.schedules().await?;
    if listing.json {
        return schedules.iter().try_for_each(|schedule| output::json(&summary(schedule)));
    }
    let row = |schedule: &Record| {
        let next = next_of(schedule, 1).first().filter(|_| schedule.paused.is_none()).map(ToString::to_string);
        let last = schedule.progress.recent.back().map(|begun| begun.slot.at.to_string());
        let count = schedule.progress.started.to_string();
        let cell = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let when = schedule.rules.when.to_string();
        vec![
            schedule.name.to_string(),
            when,
            starts(schedule),
            state(schedule).to_owned(),
            cell(last),
            cell(next),
            count,
        ]
    };
    let rows: Vec<Vec<String>> = schedules.iter().map(row).collect();
    output::table(&["NAME", "WHEN", "STARTS", "STATE", "LAST", "NEXT", "COUNT"], &rows)
}

fn summary(schedule: &Record) -> Json {
    let Record { name, created, rules, paused, progress, .. } = schedule;
    let next: Vec<String> = next_of(schedule, NEXT_SHOWN).iter().map(ToString::to_string).collect();
    json!({
        "name": name,
        "state": state(schedule),
        "when": rules.when.to_string(),
        "starts": starts(schedule),
        "overlap": rules.overlap,
        "catch_up": format_duration(rules.catch_up),
        "jitter": format_duration(rules.jitter),
        "until": rules.until.map(|until| until.to_string()),
        "created": created.to_string(),
        "paused": paused.as_ref().map(|paused| json!({"since": paused.since.to_string(), "note": paused.note})),
        "next": if paused.is_some() { Vec::new() } else { next },
        "waiting": progress.waiting.len(),
        "started": progress.started,
        "skipped": progress.skipped,
        "missed": progress.missed,
    })
}

/// Why a start was begun, in a word.
fn cause(slot: &Slot) -> &'static str {
    match slot.cause {
        Cause::Slot => "slot",
        Cause::Trigger(_) => "trigger",
        Cause::Backfill(_) => "backfill",
    }
}

impl Show {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let schedule = client.schedule(&self.name).await?;
        let mut recent = Vec::new();
        for begun in schedule.progress.recent.iter().rev() {
            let (state, why) = match &begun.stage {
                Stage::Begin => ("starting".to_owned(), None),
                Stage::Cancel | Stage::Cancelling => ("cancelling".to_owned(), None),
                Stage::Refused(why) => ("refused".to_owned(), Some(why.clone())),
                Stage::Open | Stage::Ended => (client.slot_state(&schedule, &begun.slot).await?, None),
            };
            let id = schedule.id(client.tenant(), &begun.slot);
            recent.push(json!({
                "slot": begun.slot.at.to_string(),
                "cause": cause(&begun.slot),
                "decided": begun.decided.to_string(),
                "id": id,
                "state": state,
                "why": why,
            }));
        }
        if self.json {
            let mut whole = summary(&schedule);
            if let Some(fields) = whole.as_object_mut() {
                fields.insert("recent".to_owned(), Json::Array(recent));
            }
            return output::json(&whole);
        }
        describe(&schedule)?;
        let text = |row: &Json, key: &str| row.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        let rows: Vec<Vec<String>> = recent
            .iter()
            .map(|row| ["slot", "cause", "id", "state", "why"].iter().map(|key| text(row, key)).collect())
            .collect();
        output::table(&["SLOT", "CAUSE", "ID", "STATE", ""], &rows)
    }
}

/// The rules of a schedule and its next slots, for people.
fn describe(schedule: &Record) -> Result<(), Fault> {
    let Record { name, rules, paused, progress, .. } = schedule;
    output::line(&format!("{name}: {}, starts {}", rules.when, starts(schedule)))?;
    let mut rest = vec![format!("overlap {}", rules.overlap), format!("catch-up {}", format_duration(rules.catch_up))];
    if !rules.jitter.is_zero() {
        rest.push(format!("jitter {}", format_duration(rules.jitter)));
    }
    rest.extend(rules.until.map(|until| format!("until {until}")));
    output::line(&format!("{}, {}", state(schedule), rest.join(", ")))?;
    if let Some(paused) = paused {
        output::line(&format!("paused since {}: {}", paused.since, crate::protocol::note::printable(&paused.note)))?;
    } else {
        for slot in next_of(schedule, NEXT_SHOWN) {
            output::line(&format!("next {slot}  {}", local(slot, schedule.zone())))?;
        }
    }
    let (started, skipped, missed) = (progress.started, progress.skipped, progress.missed);
    output::line(&format!("{started} started, {skipped} skipped, {missed} missed, {} waiting", progress.waiting.len()))
}

impl Trigger {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let (id, slot) = client.trigger_schedule(&self.name, self.overlap).await?;
        match tokio::time::timeout(TRIGGER_TIME_MAX, decided(&client, &self.name, &slot)).await {
            Ok(Ok(Some(Stage::Refused(why)))) => Err(Fault::usage(format!("failed to {why}"))),
            Ok(Ok(Some(_))) => output::line(id.as_str()),
            Ok(Ok(None)) => {
                Err(Fault::usage("it was skipped: what was started before has not ended")
                    .hint("--overlap tells otherwise"))
            }
            Ok(Err(fault)) => Err(fault),
            Err(_) => {
                eprintln!("it waits in the schedule: for the end of what was started before, or for a coordinator");
                output::line(id.as_str())
            }
        }
    }
}

/// What became of an ask, once that is decided: its stage, `None` where it was left out.
async fn decided(client: &Client, name: &ScheduleName, slot: &Slot) -> Result<Option<Stage>, Fault> {
    let mut patience = crate::broker::patience::Patience::default();
    loop {
        let progress = client.schedule(name).await?.progress;
        match progress.recent.iter().find(|begun| begun.slot == *slot).map(|begun| begun.stage.clone()) {
            Some(Stage::Begin) => {}
            Some(stage) => return Ok(Some(stage)),
            None if progress.waiting.iter().all(|waiting| waiting.slot != *slot) => return Ok(None),
            None => {}
        }
        patience.wait().await;
    }
}

impl Backfill {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let schedule = client.schedule(&self.name).await?;
        let time = |text: &str| parse_time(text, schedule.zone()).map_err(client_error);
        let asked = client.backfill_schedule(&self.name, time(&self.from)?, time(&self.to)?, self.overlap).await?;
        asked.iter().try_for_each(|(id, slot)| output::line(&format!("{id} {slot}")))
    }
}
