//! `lovage secret`: values that modules are granted and nobody sees again.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::{Connect, Fault, keys, output};
use crate::model::SecretName;
use crate::model::grants::SECRET_BYTES_MAX;
use crate::store::secrets;

/// `lovage secret ...`.
#[derive(Subcommand)]
pub(super) enum Secret {
    /// Set a secret: its value is read from stdin, or asked for on a terminal, and sealed before it leaves this process.
    Set(One),
    /// List the names of secrets. Their values cannot be shown.
    Ls(Ls),
    /// Remove a secret.
    Rm(One),
    /// Make a key for secrets, which all hosts of an installation share (`lovage host --secrets-key FILE`).
    Key(Key),
}

/// A command about one secret.
#[derive(Args)]
pub(super) struct One {
    /// The secret's name.
    name: SecretName,

    #[command(flatten)]
    connect: Connect,
}

/// `lovage secret ls`.
#[derive(Args)]
pub(super) struct Ls {
    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// `lovage secret key`.
#[derive(Args)]
pub(super) struct Key {
    /// The file to make.
    file: PathBuf,
}

impl Secret {
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Set(One { name, connect }) => {
                let value = value(&name)?;
                let (nats, client) = connect.client().await?;
                secrets::set(&nats.broker(), client.tenant(), &name, value).await?;
                eprintln!("set {name}");
                Ok(())
            }
            Self::Ls(ls) => ls.run().await,
            Self::Rm(One { name, connect }) => {
                let (nats, client) = connect.client().await?;
                if !secrets::remove(&nats.broker(), client.tenant(), &name).await? {
                    return Err(Fault::usage(format!("there is no secret {name}")));
                }
                eprintln!("removed {name}");
                Ok(())
            }
            Self::Key(Key { file }) => {
                let key = keys::write_new(&file)?;
                output::line(&key.public())
            }
        }
    }
}

impl Ls {
    async fn run(self) -> Result<(), Fault> {
        let (nats, client) = self.connect.client().await?;
        let secrets = secrets::list(&nats.broker(), client.tenant()).await?;
        if self.json {
            let all: Vec<Json> = secrets.iter().map(|(name, at)| json!({"name": name, "set_at": at})).collect();
            return output::json(&all);
        }
        let rows: Vec<Vec<String>> = secrets.iter().map(|(name, at)| vec![name.to_string(), at.to_string()]).collect();
        output::table(&["SECRET", "SET"], &rows)
    }
}

/// The value: what is typed without being shown, or all of stdin but one newline at its end.
fn value(name: &SecretName) -> Result<String, Fault> {
    let failed = |error: std::io::Error| Fault::usage(format!("failed to read the value: {error}"));
    let stdin = std::io::stdin();
    let mut value = String::new();
    if stdin.is_terminal() {
        let _hidden = Hidden::begin();
        eprint!("value of {name}: ");
        std::io::stderr().flush().map_err(failed)?;
        stdin.read_line(&mut value).map_err(failed)?;
        eprintln!();
    } else {
        stdin.lock().take(SECRET_BYTES_MAX as u64 + 2).read_to_string(&mut value).map_err(failed)?;
    }
    let end = value.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).len());
    value.truncate(end.unwrap_or(value.len()));
    Ok(value)
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Hidden;

impl Hidden {
    fn begin() -> Self {
        stty("-echo");
        Self
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        stty("echo");
    }
}

/// A terminal without `stty` shows what is typed: nothing worse follows.
fn stty(setting: &str) {
    let status = Command::new("stty").arg(setting).stdin(Stdio::inherit()).stderr(Stdio::null()).status();
    drop(status);
}
