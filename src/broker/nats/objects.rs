//! Objects in the layout of NATS's object store (ADR-20), so that its own tools read them: chunks under `$O.<bucket>.C.<id>`,
//! then one record under `$O.<bucket>.M.<name in base64>`.
//!
//! Written here over publish and batched reads rather than with the client's own store, whose reader waits for ever for the
//! chunks of an object that was replaced meanwhile, and whose writer makes a chunk of whatever one read yields.

use std::io;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE;
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;

use super::link::{Link, Refusal};
use super::{read, wire};
use crate::broker::{Error, ObjectInfo, Objects, Result};
use crate::protocol::stream::Bucket;

/// A chunk: half a megabyte was the fastest of 128 KiB, 512 KiB and 4 MiB.
const CHUNK_LEN: usize = 512 << 10;

/// The record of an object.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    name: String,
    bucket: String,
    nuid: String,
    size: u64,
    chunks: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    #[serde(default)]
    options: Option<serde_json::Value>,
}

#[async_trait]
impl Objects for Link {
    async fn put(&self, bucket: Bucket, name: &str, reader: &mut (dyn AsyncRead + Send + Unpin)) -> Result<ObjectInfo> {
        let old = self.record(bucket, name).await?.map(|(record, _)| record);
        let inbox = self.client.new_inbox();
        let nuid = inbox.rsplit('.').next().unwrap_or_default().to_owned();
        let written = self.put_chunks(&chunk_subject(bucket, &nuid), reader).await;
        let (size, chunks, digest) = match written {
            Ok(written) => written,
            Err(error) => {
                // What was written is of no use; if it cannot be removed it stays as long as the bucket keeps things.
                drop(self.purge_chunks(bucket, &nuid).await);
                return Err(error);
            }
        };
        let record = Record {
            name: name.to_owned(),
            bucket: bucket.name().to_owned(),
            nuid,
            size,
            chunks,
            digest: Some(format!("SHA-256={}", BASE64_URL_SAFE.encode(digest))),
            deleted: false,
            options: Some(json!({ "max_chunk_size": CHUNK_LEN })),
        };
        self.put_record(bucket, &record).await?;
        if let Some(old) = old.filter(|old| !old.deleted) {
            self.purge_chunks(bucket, &old.nuid).await?;
        }
        match self.record(bucket, name).await? {
            Some((record, time)) => Ok(ObjectInfo { size: record.size, time }),
            None => Err(Error::NotFound(name.to_owned())),
        }
    }

    async fn open(&self, bucket: Bucket, name: &str) -> Result<Option<Box<dyn AsyncRead + Send + Unpin>>> {
        let Some((record, _)) = self.record(bucket, name).await?.filter(|(record, _)| !record.deleted) else {
            return Ok(None);
        };
        if record.chunks == 0 {
            return Ok(Some(Box::new(tokio::io::empty())));
        }
        let chunks = read::batches(self, &stream(bucket), &chunk_subject(bucket, &record.nuid), 1).await?;
        let mut missing = record.size;
        let bytes = chunks.map_err(io::Error::other).map_ok(|chunk| Some(chunk.payload));
        // The end of the chunks must be the end of the object: another put may have removed the rest.
        let bytes = bytes.chain(futures::stream::once(async { Ok(None) })).try_filter_map(move |chunk| {
            if let Some(chunk) = &chunk {
                missing = missing.saturating_sub(chunk.len() as u64);
            }
            let cut = chunk.is_none() && missing > 0;
            async move {
                match cut {
                    true => {
                        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the object was replaced while it was read"))
                    }
                    false => Ok(chunk),
                }
            }
        });
        Ok(Some(Box::new(StreamReader::new(bytes.boxed()))))
    }

    async fn info(&self, bucket: Bucket, name: &str) -> Result<Option<ObjectInfo>> {
        let record = self.record(bucket, name).await?.filter(|(record, _)| !record.deleted);
        Ok(record.map(|(record, time)| ObjectInfo { size: record.size, time }))
    }

    async fn remove(&self, bucket: Bucket, name: &str) -> Result<()> {
        let Some((record, _)) = self.record(bucket, name).await?.filter(|(record, _)| !record.deleted) else {
            return Ok(());
        };
        // ADR-20 leaves a record that says "deleted", for those who watch a bucket; nobody does, and such records would stay for
        // ever in a bucket without an age.
        self.purge_in(bucket, &record_subject(bucket, name)).await?;
        self.purge_chunks(bucket, &record.nuid).await
    }

    async fn list(&self, bucket: Bucket) -> Result<BoxStream<'static, Result<(String, ObjectInfo)>>> {
        let records = read::batches(self, &stream(bucket), &format!("$O.{}.M.>", bucket.name()), 1).await?;
        let listed = records.try_filter_map(|message| async move {
            // What cannot be read is none of ours.
            let record = serde_json::from_slice::<Record>(&message.payload).ok().filter(|record| !record.deleted);
            Ok(record.map(|record| (record.name, ObjectInfo { size: record.size, time: message.time })))
        });
        Ok(listed.boxed())
    }
}

impl Link {
    /// The record of an object, and when it was stored. Asked of the leader: who has just stored an object must find it.
    async fn record(&self, bucket: Bucket, name: &str) -> Result<Option<(Record, crate::model::Timestamp)>> {
        let message =
            self.ask_leader(&stream(bucket), &json!({ "last_by_subj": record_subject(bucket, name) })).await?;
        let Some(message) = message else { return Ok(None) };
        let record = serde_json::from_slice(&message.payload)
            .map_err(|error| Error::Other(format!("the record of object {name}: {error}")))?;
        Ok(Some((record, message.time)))
    }

    /// Replaces the record of an object.
    async fn put_record(&self, bucket: Bucket, record: &Record) -> Result<()> {
        let mut headers = async_nats::HeaderMap::new();
        wire::append(&mut headers, "Nats-Rollup", "sub")?;
        let json = serde_json::to_vec(record).map_err(|error| Error::Other(error.to_string()))?;
        self.store(&record_subject(bucket, &record.name), Some(headers), json.into()).await
    }

    /// Publishes all that the reader yields; returns its size, the number of chunks, and its digest.
    async fn put_chunks(
        &self,
        subject: &str,
        reader: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<(u64, u64, [u8; 32])> {
        let unreadable = |error| Error::Other(format!("read the object: {error}"));
        let mut digest = Sha256::new();
        let (mut size, mut chunks) = (0, 0);
        let mut chunk = next_chunk(reader).await.map_err(unreadable)?;
        while !chunk.is_empty() {
            digest.update(&chunk);
            size += chunk.len() as u64;
            chunks += 1;
            // One write at a time keeps the chunks in order; the next one is read meanwhile.
            let (stored, next) = futures::join!(self.store(subject, None, chunk), next_chunk(reader));
            stored?;
            chunk = next.map_err(unreadable)?;
        }
        Ok((size, chunks, digest.finalize().into()))
    }

    async fn purge_chunks(&self, bucket: Bucket, nuid: &str) -> Result<()> {
        self.purge_in(bucket, &chunk_subject(bucket, nuid)).await
    }

    async fn purge_in(&self, bucket: Bucket, subject: &str) -> Result<()> {
        let verb = format!("STREAM.PURGE.{}", stream(bucket));
        self.api::<serde::de::IgnoredAny>(&verb, &json!({ "filter": subject })).await.map(drop)
    }

    /// Publishes with acknowledgement.
    async fn store(&self, subject: &str, headers: Option<async_nats::HeaderMap>, payload: Bytes) -> Result<()> {
        let answer = self.request(subject, headers, payload).await?;
        match serde_json::from_slice::<Stored>(&answer.payload) {
            Ok(Stored { error: None }) => Ok(()),
            Ok(Stored { error: Some(refusal) }) => Err(refusal.into_error(subject)),
            Err(error) => Err(Error::Other(format!("publish to {subject} answered: {error}"))),
        }
    }
}

#[derive(Deserialize)]
struct Stored {
    error: Option<Refusal>,
}

/// Reads until a chunk is full or the reader is at its end.
async fn next_chunk(reader: &mut (dyn AsyncRead + Send + Unpin)) -> io::Result<Bytes> {
    let mut chunk = BytesMut::new();
    while chunk.len() < CHUNK_LEN {
        let room = CHUNK_LEN - chunk.len();
        if (&mut *reader).take(room as u64).read_buf(&mut chunk).await? == 0 {
            break;
        }
    }
    Ok(chunk.freeze())
}

pub(super) fn stream(bucket: Bucket) -> String {
    format!("OBJ_{}", bucket.name())
}

fn chunk_subject(bucket: Bucket, nuid: &str) -> String {
    format!("$O.{}.C.{nuid}", bucket.name())
}

/// Names may hold anything: base64 makes one token of them.
fn record_subject(bucket: Bucket, name: &str) -> String {
    format!("$O.{}.M.{}", bucket.name(), BASE64_URL_SAFE.encode(name))
}
