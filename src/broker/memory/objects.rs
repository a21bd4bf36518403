//! Objects in memory.

use std::io::Cursor;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Memory;
use super::state::Object;
use crate::broker::{Error, ObjectInfo, Objects, Result};
use crate::protocol::stream::Bucket;

#[async_trait]
impl Objects for Memory {
    async fn put(&self, bucket: Bucket, name: &str, reader: &mut (dyn AsyncRead + Send + Unpin)) -> Result<ObjectInfo> {
        let mut bytes = Vec::new();
        let read = reader.read_to_end(&mut bytes).await;
        read.map_err(|error| Error::Other(format!("read the object: {error}")))?;
        self.0.with(|state, now| {
            state.up()?;
            let object = Object { bytes: bytes.into(), time: now };
            let info = object.info();
            state.objects.insert((bucket, name.to_owned()), object);
            Ok(info)
        })
    }

    async fn open(&self, bucket: Bucket, name: &str) -> Result<Option<Box<dyn AsyncRead + Send + Unpin>>> {
        let object = self.object(bucket, name)?;
        Ok(object.map(|object| Box::new(Cursor::new(object.bytes)) as Box<dyn AsyncRead + Send + Unpin>))
    }

    async fn info(&self, bucket: Bucket, name: &str) -> Result<Option<ObjectInfo>> {
        Ok(self.object(bucket, name)?.map(|object| object.info()))
    }

    async fn remove(&self, bucket: Bucket, name: &str) -> Result<()> {
        self.0.with(|state, _| {
            state.up()?;
            state.objects.remove(&(bucket, name.to_owned()));
            Ok(())
        })
    }

    async fn list(&self, bucket: Bucket) -> Result<BoxStream<'static, Result<(String, ObjectInfo)>>> {
        let names: Vec<String> = self.0.with(|state, _| {
            state.up()?;
            let names = state.objects.keys().filter(|(of, _)| *of == bucket).map(|(_, name)| name.clone());
            Ok::<_, Error>(names.collect())
        })?;
        let mut there = Vec::new();
        for name in names {
            if let Some(object) = self.object(bucket, &name)? {
                there.push(Ok((name, object.info())));
            }
        }
        Ok(stream::iter(there).boxed())
    }
}

impl Memory {
    /// The object, unless it is older than its bucket keeps things.
    fn object(&self, bucket: Bucket, name: &str) -> Result<Option<Object>> {
        self.0.with(|state, now| {
            state.up()?;
            let object = state.objects.get(&(bucket, name.to_owned()));
            let fresh = |object: &&Object| bucket.age_max().is_none_or(|max| now.since(object.time) < max);
            Ok(object.filter(fresh).cloned())
        })
    }
}

impl Object {
    fn info(&self) -> ObjectInfo {
        ObjectInfo { size: self.bytes.len() as u64, time: self.time }
    }
}
