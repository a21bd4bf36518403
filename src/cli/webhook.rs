//! `lovage webhook`: whom to tell of ends of tasks and runs.

use std::io::Read as _;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::{Connect, Fault, output};
use crate::client::{DeliveryView, WebhookDraft};
use crate::model::WebhookName;
use crate::protocol::note::printable;
use crate::protocol::webhook::{DeliveryState, WebhookRecord};

/// The longest secret that is read.
const SECRET_BYTES_MAX: u64 = 1_000;

/// Tell receivers outside how tasks and runs end.
#[derive(Subcommand)]
pub(super) enum Webhook {
    /// Make a webhook, and print its secret, once.
    Add(Add),
    /// List webhooks.
    Ls(Ls),
    /// Show a webhook.
    Show(One),
    /// Remove a webhook; what waits to be told is not told any more.
    Rm(Name),
    /// Tell a webhook that it is tested, and show what it answers.
    Test(Name),
    /// Show what became of what a webhook was to be told, within the last day.
    Deliveries(One),
}

/// Make a webhook.
#[derive(Args)]
pub(super) struct Add {
    /// Its name.
    name: WebhookName,

    /// Where to, as in https://example.com/lovage.
    url: String,

    /// Of which ends: task.succeeded, task.failed, run.failed, run.* ...; separate several by commas.
    #[arg(long, value_name = "KIND", value_delimiter = ',', required = true)]
    on: Vec<String>,

    /// Only of this task, as in thumbs/resize or thumbs/*.
    #[arg(long)]
    task: Option<String>,

    /// Read the secret from stdin: whsec_ and the base64 of 24 to 64 bytes. One is made without this.
    #[arg(long)]
    secret_stdin: bool,

    #[command(flatten)]
    connect: Connect,
}

/// List webhooks.
#[derive(Args)]
pub(super) struct Ls {
    /// Print JSON, a webhook a line.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// A command that shows something of one webhook.
#[derive(Args)]
pub(super) struct One {
    /// The webhook.
    name: WebhookName,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// A command about one webhook.
#[derive(Args)]
pub(super) struct Name {
    /// The webhook.
    name: WebhookName,

    #[command(flatten)]
    connect: Connect,
}

impl Webhook {
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Add(add) => add.run().await,
            Self::Ls(ls) => ls.run().await,
            Self::Show(one) => one.show().await,
            Self::Rm(Name { name, connect }) => {
                let (_nats, client) = connect.client().await?;
                client.remove_webhook(&name).await?;
                eprintln!("removed {name}");
                Ok(())
            }
            Self::Test(Name { name, connect }) => {
                let (_nats, client) = connect.client().await?;
                let Some(view) = client.test_webhook(&name).await? else {
                    let fault = Fault::platform("nobody took it up");
                    return Err(fault.hint("webhooks are sent by coordinators: is one running?"));
                };
                match view.last.state {
                    DeliveryState::Delivered => output::line(&line(&view)),
                    DeliveryState::Retrying | DeliveryState::Dead => Err(Fault::platform(line(&view))),
                }
            }
            Self::Deliveries(one) => one.deliveries().await,
        }
    }
}

impl Add {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let secret = if self.secret_stdin { Some(secret()?) } else { None };
        let given = secret.is_some();
        let draft = WebhookDraft { url: self.url, on: self.on, task: self.task, secret };
        let secret = client.add_webhook(&self.name, draft).await?;
        if given {
            eprintln!("added {}", self.name);
            return Ok(());
        }
        eprintln!("added {}; its secret, which is not shown again:", self.name);
        output::line(&secret)
    }
}

fn secret() -> Result<String, Fault> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(SECRET_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| Fault::usage(format!("failed to read the secret: {error}")))?;
    Ok(text)
}

impl Ls {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let webhooks = client.webhooks().await?;
        if self.json {
            return webhooks.iter().try_for_each(|webhook| output::json(&whole(webhook)));
        }
        let row = |webhook: &WebhookRecord| {
            let WebhookRecord { name, url, on, task, .. } = webhook;
            vec![name.to_string(), url.clone(), on.join(","), task.clone().unwrap_or_else(|| "*".to_owned())]
        };
        output::table(&["NAME", "URL", "ON", "TASK"], &webhooks.iter().map(row).collect::<Vec<_>>())
    }
}

/// All but its secret.
fn whole(webhook: &WebhookRecord) -> Json {
    let WebhookRecord { name, url, on, task, created, .. } = webhook;
    json!({"name": name, "url": url, "on": on, "task": task, "created": created.to_string()})
}

impl One {
    async fn show(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let webhook = client.webhook(&self.name).await?;
        if self.json {
            return output::json(&whole(&webhook));
        }
        let task = webhook.task.as_deref().unwrap_or("all tasks");
        let text = format!("{}: {} of {task}, to {}", webhook.name, webhook.on.join(", "), webhook.url);
        output::line(&printable(&text))
    }

    async fn deliveries(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let deliveries = client.webhook_deliveries(&self.name).await?;
        if self.json {
            return deliveries.iter().try_for_each(|view| {
                let DeliveryView { id, last } = view;
                output::json(&json!({
                    "delivery": id, "kind": last.kind, "id": last.id, "state": last.state, "attempt": last.attempt,
                    "status": last.status, "reason": last.reason, "at": last.at.to_string(),
                    "next": last.next.map(|next| next.to_string()),
                }))
            });
        }
        deliveries.iter().try_for_each(|view| output::line(&line(view)))
    }
}

/// As in `t7 task.failed 01jd... delivered, attempt 2: 204`.
fn line(DeliveryView { id, last }: &DeliveryView) -> String {
    let status = last.status.filter(|_| last.reason.is_empty()).map(|status| format!(": {status}")).unwrap_or_default();
    let reason = if last.reason.is_empty() { String::new() } else { format!(": {}", last.reason) };
    let next = last.next.map(|next| format!(", again at {next}")).unwrap_or_default();
    let state = last.state.as_str();
    printable(&format!("{id} {} {} {state}, attempt {}{status}{reason}{next}", last.kind, last.id, last.attempt))
}
