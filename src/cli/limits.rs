//! `lovage limits`: what waits for which limit across the fleet.

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::{Connect, Fault, output};
use crate::client::LimitView;
use crate::model::limit::{Rate, Rule, Unfit};
use crate::model::time::format_duration;
use crate::protocol::note::printable;

/// Waiting tasks that are shown.
const SHOWN: usize = 20;

/// The options that make a rule.
#[derive(Args, Clone, Copy)]
pub(super) struct RuleArgs {
    /// How many start in a time, over all hosts: 10/s, 600/h, with s, m, h or d. The others wait (elsewhere called throttle).
    #[arg(long, value_name = "N/UNIT")]
    rate: Option<Rate>,

    /// How many of them may start at once after a while without any; 1 where it is not given.
    #[arg(long, value_name = "N", requires = "rate")]
    burst: Option<u32>,

    /// How many run at a time, over all hosts.
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
}

impl RuleArgs {
    /// The rule, if one is given.
    pub(super) fn rule(self) -> Result<Option<Rule>, Fault> {
        let Self { rate, burst, concurrency } = self;
        if rate.is_none() && concurrency.is_none() {
            return Ok(None);
        }
        let rule = Rule { rate, burst, concurrency }.checked();
        rule.map(Some).map_err(|unfit: Unfit| Fault::usage(unfit.to_string()))
    }
}

/// See limits across the fleet.
#[derive(Subcommand)]
pub(super) enum Limits {
    /// List limits, with what runs and waits under them.
    Ls(Ls),
    /// Show a limit, and the first tasks that wait for it.
    Show(Show),
}

/// List limits.
#[derive(Args)]
pub(super) struct Ls {
    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Show a limit.
#[derive(Args)]
pub(super) struct Show {
    /// Its name, as in "queue images" or "key customer-7".
    name: String,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

impl Limits {
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Ls(ls) => ls.run().await,
            Self::Show(show) => show.run().await,
        }
    }
}

impl Ls {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let views = client.limits().await?;
        if self.json {
            return views.iter().try_for_each(|view| output::json(&whole(view)));
        }
        let row = |view: &LimitView| {
            let limit = &view.ledger.limit;
            let oldest = view.oldest.map_or_else(|| "-".to_owned(), format_duration);
            let name = printable(&limit.name).to_string();
            vec![name, limit.rule.to_string(), view.ledger.places.len().to_string(), view.waiting.to_string(), oldest]
        };
        let rows: Vec<Vec<String>> = views.iter().map(row).collect();
        output::table(&["LIMIT", "ALLOWS", "HELD", "WAITING", "OLDEST"], &rows)
    }
}

fn whole(view: &LimitView) -> Json {
    json!({
        "name": view.ledger.limit.name,
        "rule": view.ledger.limit.rule,
        "held_by": view.ledger.places.iter().map(|place| &place.task).collect::<Vec<_>>(),
        "waiting": view.waiting,
        "oldest_ms": view.oldest.map(|oldest| u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX)),
    })
}

impl Show {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let (view, waiting) = client.limit(&self.name, SHOWN).await?;
        if self.json {
            let first = waiting.iter().map(|(task, since)| json!({"task": task, "waits": format_duration(*since)}));
            let first: Vec<Json> = first.collect();
            return output::json(&json!({"limit": whole(&view), "first": first}));
        }
        let limit = &view.ledger.limit;
        output::line(&format!("{}: {}, {} wait", printable(&limit.name), limit.rule, view.waiting))?;
        for place in &view.ledger.places {
            let what = if place.started { "runs" } else { "is invited" };
            output::line(&format!("{what}  {}", place.task))?;
        }
        for (task, since) in &waiting {
            output::line(&format!("waits {}  {task}", format_duration(*since)))?;
        }
        Ok(())
    }
}
