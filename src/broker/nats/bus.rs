//! The bus on core NATS: no storage, no acknowledgement.

use std::time::Duration;

use async_nats::Subscriber;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::time::Instant;

use super::link::Link;
use super::wire;
use crate::broker::{Bus, Error, Message, Result};
use crate::protocol::Headers;

/// "Nobody listens", as a status.
const NO_RESPONDERS: u16 = 503;

#[async_trait]
impl Bus for Link {
    async fn send(&self, subject: &str, headers: Headers, payload: Bytes) -> Result<()> {
        let headers = if headers.is_empty() { None } else { Some(wire::header_map(&headers)?) };
        Self::send(self, subject, None, headers, payload).await
    }

    async fn ask(&self, subject: &str, payload: Bytes, patience: Duration, answers_max: usize) -> Result<Vec<Message>> {
        let mut answers = Vec::new();
        let deadline = Instant::now() + patience;
        let inbox = self.client.new_inbox();
        let mut subscriber = self.subscribe(&inbox).await?;
        Self::send(self, subject, Some(&inbox), None, payload).await?;
        while answers.len() < answers_max {
            match tokio::time::timeout_at(deadline, subscriber.next()).await {
                Ok(Some(answer)) if answer.status.is_some_and(|status| status.as_u16() == NO_RESPONDERS) => break,
                Ok(Some(answer)) => answers.push(wire::heard(answer)),
                Ok(None) => return Err(Error::Unavailable("the connection is closed".to_owned())),
                Err(_) => break,
            }
        }
        Ok(answers)
    }

    /// A server handles what comes over one connection in order: no round trip is needed before what follows is heard.
    async fn listen(&self, subject: &str) -> Result<BoxStream<'static, Message>> {
        Ok(self.subscribe(subject).await?.map(wire::heard).boxed())
    }

    /// Nobody listens to a fresh inbox, and the server says so when it has handled all that was sent before.
    async fn flush(&self) -> Result<()> {
        match self.request(&self.client.new_inbox(), None, Bytes::new()).await {
            Ok(_) | Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Link {
    async fn subscribe(&self, subject: &str) -> Result<Subscriber> {
        let subscribed = self.client.subscribe(subject.to_owned()).await;
        subscribed.map_err(|error| Error::Unavailable(error.to_string()))
    }
}
