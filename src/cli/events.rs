//! `lovage events`: what happens to tasks, runs, schedules and hosts.

use std::time::Duration;

use clap::Args;
use futures::TryStreamExt as _;

use super::{Connect, Fault, output};
use crate::client::{Event, EventFilter};
use crate::model::signature::parse_label;
use crate::model::time::parse_duration;
use crate::model::{Queue, RunId};
use crate::protocol::note::printable;

/// How far back is looked where nothing is said.
const SINCE_DEFAULT: Duration = Duration::from_secs(3_600);

/// Families of kinds, and what `*.` stands for.
const FAMILIES: [&str; 6] = ["task", "run", "step", "schedule", "host", "webhook"];

/// `lovage events`.
#[derive(Args)]
pub(super) struct Events {
    /// Go on with what happens, until ctrl-c.
    #[arg(long, short)]
    follow: bool,

    /// Only events of this task, as in thumbs/resize or thumbs/*.
    #[arg(long, value_name = "TASK")]
    task: Option<String>,

    /// Only events of tasks of this queue.
    #[arg(long)]
    queue: Option<Queue>,

    /// Only events of tasks, runs and hosts with this label; repeat it for more.
    #[arg(long = "label", value_name = "K=V", value_parser = parse_label)]
    labels: Vec<(String, String)>,

    /// Only events of this kind: task.failed, run, *.failed ...; separate several by commas.
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    kinds: Vec<String>,

    /// Only events of this run and its steps.
    #[arg(long, value_name = "RUN")]
    run: Option<RunId>,

    /// How far back, as in 10m; an hour where it is not given, with --follow nothing.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    since: Option<Duration>,

    /// One JSON object a line.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// A kind that no event has would wait for ever.
pub(super) fn kind(text: &str) -> Result<String, String> {
    let family = text.split('.').next().unwrap_or_default();
    if family.contains('*') || FAMILIES.contains(&family) {
        return Ok(text.to_owned());
    }
    Err(format!("a kind begins with {} or *, as in task.failed", FAMILIES.join(", ")))
}

impl Events {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let labels = self.labels.into_iter().collect();
        let filter = EventFilter { kinds: self.kinds, task: self.task, queue: self.queue, labels, run: self.run };
        let now = client.broker().clock.now();
        let mut events = if self.follow {
            client.live_events(self.since.map(|since| now.before(since)), &filter).await?
        } else {
            client.past_events(now.before(self.since.unwrap_or(SINCE_DEFAULT)), &filter).await?
        };
        while let Some(event) = events.try_next().await? {
            if self.json { output::json(&event)? } else { output::line(&line(&event))? }
        }
        Ok(())
    }
}

/// As in `2026-11-22T19:00:00.000Z task.failed     01jd... thumbs/resize attempt 2 on h1: returned: no`.
fn line(event: &Event) -> String {
    let Event { at, kind, id, task, host, attempt, failure, detail, flow, .. } = event;
    let mut line = format!("{at} {kind:15} {id}");
    let mut add = |text: String| line.extend([" ", &text]);
    if let Some(task) = task {
        add(task.to_string());
    }
    if let Some(flow) = flow {
        add(format!("flow {flow}"));
    }
    if let Some(attempt) = attempt {
        add(format!("attempt {attempt}"));
    }
    if let Some(host) = host.as_ref().filter(|host| host.as_str() != id) {
        add(format!("on {host}"));
    }
    if let (Some(done), total) = (detail["done"].as_f64(), detail["total"].as_f64()) {
        let note = detail["note"].as_str().map(|note| format!("  {note}")).unwrap_or_default();
        add(format!("{done}{}{note}", total.map(|total| format!(" of {total}")).unwrap_or_default()));
    }
    if let Some(failure) = failure {
        let text = |field: &str| failure[field].as_str().unwrap_or_default().to_owned();
        add(format!("{}: {}", text("kind"), text("message")));
    }
    printable(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_says_what_is_known_and_drives_no_terminal() {
        let event = Event {
            kind: "task.failed".to_owned(),
            id: "x".to_owned(),
            task: "m/t".parse().ok(),
            host: "h".parse().ok(),
            attempt: Some(2),
            failure: Some(json!({"kind": "returned", "message": "no\x1b[2J"})),
            ..Event::default()
        };
        assert_eq!(
            line(&event),
            "1970-01-01T00:00:00.000Z task.failed     x m/t attempt 2 on h returned: no\\u{1b}[2J"
        );
        let progress = Event {
            kind: "task.progress".to_owned(),
            id: "x".to_owned(),
            detail: json!({"done": 1, "total": 4, "note": "on"}),
            ..Event::default()
        };
        assert!(line(&progress).ends_with("task.progress   x 1 of 4  on"), "{}", line(&progress));
    }

    #[test]
    fn a_kind_that_no_event_has_is_refused() {
        for good in ["task", "task.failed", "*.failed", "run.*"] {
            assert_eq!(kind(good).as_deref(), Ok(good));
        }
        assert!(kind("tasks.failed").unwrap_err().contains("as in task.failed"));
    }
}
