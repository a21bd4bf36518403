//! `lovage kv`: the keys and values that modules are granted.

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::{Connect, Fault, input, output};
use crate::model::BucketName;
use crate::model::grants::{KEY_BYTES_MAX, KEYS_MAX, KV_VALUE_BYTES_MAX, is_key};
use crate::protocol::note::printable;
use crate::store::kv::Kv as Bucket;

/// `lovage kv ...`.
#[derive(Subcommand)]
pub(super) enum Kv {
    /// Print the value of a key as it is.
    Get(Get),
    /// Set the value of a key: a text, - for stdin, or @FILE.
    Put(Put),
    /// List the keys of a bucket.
    Ls(Ls),
    /// Remove a key.
    Rm(One),
}

/// A key of a bucket.
#[derive(Args)]
pub(super) struct One {
    /// The bucket.
    bucket: BucketName,

    /// The key.
    #[arg(value_parser = key)]
    key: String,

    #[command(flatten)]
    connect: Connect,
}

/// `lovage kv get`.
#[derive(Args)]
pub(super) struct Get {
    #[command(flatten)]
    one: One,

    /// Print JSON: the revision, and the value as a text or, where it is none, in base64.
    #[arg(long)]
    json: bool,
}

/// `lovage kv put`.
#[derive(Args)]
pub(super) struct Put {
    #[command(flatten)]
    one: One,

    /// The value: a text, - for stdin, or @FILE.
    value: String,

    /// Only if the key still has this revision; 0: only if there is none.
    #[arg(long, value_name = "REVISION")]
    expect: Option<u64>,
}

/// `lovage kv ls`.
#[derive(Args)]
pub(super) struct Ls {
    /// The bucket.
    bucket: BucketName,

    /// Only keys that begin so.
    #[arg(long, default_value = "")]
    prefix: String,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// A key, or the name of an object.
pub(super) fn key(text: &str) -> Result<String, String> {
    if is_key(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("it takes 1 to {KEY_BYTES_MAX} bytes without control characters"))
    }
}

impl Kv {
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Get(get) => get.run().await,
            Self::Put(put) => put.run().await,
            Self::Ls(ls) => ls.run().await,
            Self::Rm(One { bucket, key, connect }) => {
                let (nats, client) = connect.client().await?;
                let (broker, tenant) = (&nats.broker(), client.tenant());
                if !(Bucket { broker, tenant, bucket: &bucket }.delete(&key).await?) {
                    return Err(missing(&bucket, &key));
                }
                eprintln!("removed {key}");
                Ok(())
            }
        }
    }
}

fn missing(bucket: &BucketName, key: &str) -> Fault {
    Fault::usage(format!("bucket {bucket} has no key {key:?}"))
}

impl Get {
    async fn run(self) -> Result<(), Fault> {
        let One { bucket, key, connect } = self.one;
        let (nats, client) = connect.client().await?;
        let (broker, tenant) = (&nats.broker(), client.tenant());
        let entry = Bucket { broker, tenant, bucket: &bucket }.get(&key).await?;
        let entry = entry.ok_or_else(|| missing(&bucket, &key))?;
        if !self.json {
            return output::value(&entry.value);
        }
        let mut shown = json!({"key": key, "revision": entry.revision});
        let (field, value) = match std::str::from_utf8(&entry.value) {
            Ok(text) => ("value", text.to_owned()),
            Err(_) => ("base64", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &entry.value)),
        };
        if let Some(object) = shown.as_object_mut() {
            object.insert(field.to_owned(), Json::from(value));
        }
        output::json(&shown)
    }
}

impl Put {
    async fn run(self) -> Result<(), Fault> {
        let One { bucket, key, connect } = self.one;
        let value = input::read(Some(&self.value))?;
        if value.len() > KV_VALUE_BYTES_MAX {
            let message = format!("the value has {} bytes: at most {KV_VALUE_BYTES_MAX} are accepted", value.len());
            return Err(Fault::usage(message).hint("larger ones are for `lovage blob put`"));
        }
        let (nats, client) = connect.client().await?;
        let (broker, tenant) = (&nats.broker(), client.tenant());
        let set = Bucket { broker, tenant, bucket: &bucket }.set(&key, value, self.expect).await;
        match set {
            Ok(revision) => output::line(&revision.to_string()),
            Err(crate::broker::Error::Conflict { .. }) => {
                Err(Fault::usage(format!("key {key:?} has another revision than {}", self.expect.unwrap_or_default())))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Ls {
    async fn run(self) -> Result<(), Fault> {
        let (nats, client) = self.connect.client().await?;
        let (broker, tenant) = (&nats.broker(), client.tenant());
        let mut keys = Bucket { broker, tenant, bucket: &self.bucket }.keys(&self.prefix, KEYS_MAX).await?;
        keys.sort_unstable();
        if self.json {
            return output::json(&keys);
        }
        keys.iter().try_for_each(|key| output::line(&printable(key)))
    }
}
