//! The bus in memory.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Memory;
use super::state::{Listener, State};
use crate::broker::{Bus, Message, Publish, Result};
use crate::protocol::{Headers, Stream};

/// Messages that a listener may be behind.
const BEHIND_MAX: usize = 65_536;

#[async_trait]
impl Bus for Memory {
    async fn send(&self, subject: &str, headers: Headers, payload: Bytes) -> Result<()> {
        self.0.with(|state, now| {
            state.up()?;
            if Stream::of(subject).is_none() {
                state.hear(subject, &headers, &payload, None);
                return Ok(());
            }
            let publish = Publish { subject: subject.to_owned(), headers, payload, ..Publish::default() };
            // Nobody waits for an acknowledgement.
            drop(state.publish(publish, now));
            Ok(())
        })
    }

    async fn ask(&self, subject: &str, payload: Bytes, patience: Duration, answers_max: usize) -> Result<Vec<Message>> {
        let deadline = Instant::now() + patience;
        let mut receiver = self.0.with(|state, _| {
            state.up()?;
            state.inboxes += 1;
            let inbox = format!("_INBOX.{}", state.inboxes);
            let receiver = subscribe(state, &inbox);
            let heard = state.hear(subject, &Headers::new(), &payload, Some(&inbox));
            Ok((heard > 0).then_some(receiver))
        })?;
        let mut answers = Vec::new();
        while let Some(receiver) = receiver.as_mut().filter(|_| answers.len() < answers_max) {
            match tokio::time::timeout_at(deadline, receiver.recv()).await {
                Ok(Some(answer)) => answers.push(answer),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(answers)
    }

    async fn listen(&self, subject: &str) -> Result<BoxStream<'static, Message>> {
        let receiver = self.0.with(|state, _| state.up().map(|()| subscribe(state, subject)))?;
        Ok(stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|m| (m, receiver)) }).boxed())
    }

    async fn flush(&self) -> Result<()> {
        self.0.with(|state, _| state.up())
    }
}

fn subscribe(state: &mut State, filter: &str) -> mpsc::Receiver<Message> {
    let (sender, receiver) = mpsc::channel(BEHIND_MAX);
    state.listeners.push(Listener { filter: filter.to_owned(), sender });
    receiver
}
