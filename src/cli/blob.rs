//! `lovage blob`: the objects that modules are granted.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::kv::key;
use super::{Connect, Fault, output};
use crate::model::BucketName;
use crate::store::blobs::Blobs;

/// `lovage blob ...`.
#[derive(Subcommand)]
pub(super) enum Blob {
    /// Store a file, or stdin, as an object, in place of one of the same name.
    Put(Transfer),
    /// Write an object to a file, or to stdout.
    Get(Transfer),
    /// List the objects of a bucket.
    Ls(Ls),
    /// Remove an object.
    Rm(One),
}

/// An object of a bucket.
#[derive(Args)]
pub(super) struct One {
    /// The bucket.
    bucket: BucketName,

    /// The object's name.
    #[arg(value_parser = key)]
    name: String,

    #[command(flatten)]
    connect: Connect,
}

/// An object, and a file.
#[derive(Args)]
pub(super) struct Transfer {
    #[command(flatten)]
    one: One,

    /// The file; - for stdin or stdout.
    #[arg(default_value = "-")]
    file: PathBuf,
}

/// `lovage blob ls`.
#[derive(Args)]
pub(super) struct Ls {
    /// The bucket.
    bucket: BucketName,

    /// Only objects whose names begin so.
    #[arg(long, default_value = "")]
    prefix: String,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

impl Blob {
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Put(transfer) => transfer.put().await,
            Self::Get(transfer) => transfer.get().await,
            Self::Ls(ls) => ls.run().await,
            Self::Rm(One { bucket, name, connect }) => {
                let (nats, client) = connect.client().await?;
                let (broker, tenant) = (&nats.broker(), client.tenant());
                if !(Blobs { broker, tenant, bucket: &bucket }.remove(&name).await?) {
                    return Err(Fault::usage(format!("bucket {bucket} has no object {name:?}")));
                }
                eprintln!("removed {name}");
                Ok(())
            }
        }
    }
}

impl Transfer {
    fn failed(&self, error: &std::io::Error) -> Fault {
        Fault::usage(format!("failed to use {}: {error}", self.file.display()))
    }

    async fn put(self) -> Result<(), Fault> {
        let One { bucket, name, connect } = &self.one;
        let mut reader: Box<dyn tokio::io::AsyncRead + Send + Unpin> = if self.file.as_os_str() == "-" {
            Box::new(tokio::io::stdin())
        } else {
            Box::new(tokio::fs::File::open(&self.file).await.map_err(|error| self.failed(&error))?)
        };
        let (nats, client) = connect.client().await?;
        let (broker, tenant) = (&nats.broker(), client.tenant());
        let info = Blobs { broker, tenant, bucket }.write(name, &mut reader).await?;
        eprintln!("stored {name}, {}", output::size(info.size));
        Ok(())
    }

    async fn get(self) -> Result<(), Fault> {
        let One { bucket, name, connect } = &self.one;
        let (nats, client) = connect.client().await?;
        let (broker, tenant) = (&nats.broker(), client.tenant());
        let Some(mut reader) = (Blobs { broker, tenant, bucket }).open(name).await? else {
            return Err(Fault::usage(format!("bucket {bucket} has no object {name:?}")));
        };
        let copied = if self.file.as_os_str() == "-" {
            tokio::io::copy(&mut reader, &mut tokio::io::stdout()).await
        } else {
            let mut file = tokio::fs::File::create(&self.file).await.map_err(|error| self.failed(&error))?;
            let copied = tokio::io::copy(&mut reader, &mut file).await;
            copied.and(file.sync_all().await.map(|()| 0))
        };
        copied.map(drop).map_err(|error| self.failed(&error))
    }
}

impl Ls {
    async fn run(self) -> Result<(), Fault> {
        let (nats, client) = self.connect.client().await?;
        let (broker, tenant) = (&nats.broker(), client.tenant());
        let objects = Blobs { broker, tenant, bucket: &self.bucket }.list(&self.prefix).await?;
        if self.json {
            let all: Vec<Json> = objects
                .iter()
                .map(|(name, info)| json!({"name": name, "size": info.size, "stored_at": info.time}))
                .collect();
            return output::json(&all);
        }
        let row = |(name, info): &(String, crate::broker::ObjectInfo)| {
            vec![name.clone(), output::size(info.size), info.time.to_string()]
        };
        output::table(&["OBJECT", "SIZE", "STORED"], &objects.iter().map(row).collect::<Vec<_>>())
    }
}
