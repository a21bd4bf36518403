//! Messages that are heard and not stored.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use lovage::broker::{Bus, Message};
use lovage::protocol::Headers;

use super::{Rig, soon, text};

const QUESTIONS: &str = "lvg.ctl.find.>";
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn a_listener_hears_what_is_sent_and_stored(rig: Rig) {
    let mut control = rig.broker.bus.listen("lvg.ctl.>").await.unwrap();
    let mut results = rig.broker.bus.listen("lvg.default.res.*").await.unwrap();
    let headers = Headers::new().with("A", "1");
    rig.broker.bus.send("lvg.ctl.cancel.t.x", headers.clone(), Bytes::from_static(b"word")).await.unwrap();
    let word = soon(control.next()).await.unwrap();
    assert_eq!((word.subject.as_str(), text(&word), &word.headers), ("lvg.ctl.cancel.t.x", "word", &headers));
    assert_eq!((word.sequence, word.reply), (0, None));
    rig.put("lvg.default.res.a", "stored").await;
    assert_eq!(text(&soon(results.next()).await.unwrap()), "stored");
    // What is sent to a stream's subject is stored, with nobody to say so.
    rig.broker.bus.send("lvg.default.res.b", Headers::new(), Bytes::from_static(b"sent")).await.unwrap();
    assert_eq!(text(&soon(results.next()).await.unwrap()), "sent");
    soon(async { while rig.broker.streams.last("lvg.default.res.b").await.unwrap().is_none() {} }).await;
}

/// Answers each question with itself.
async fn echo(bus: Arc<dyn Bus>, mut questions: BoxStream<'static, Message>) {
    while let Some(question) = questions.next().await {
        bus.send(&question.reply.unwrap(), Headers::new(), question.payload).await.unwrap();
    }
}

pub(super) async fn an_asker_gets_as_many_answers_as_it_takes(rig: Rig) {
    let questions = [rig.broker.bus.listen(QUESTIONS).await.unwrap(), rig.broker.bus.listen(QUESTIONS).await.unwrap()];
    let answers = futures::future::join_all(questions.map(|questions| echo(rig.broker.bus.clone(), questions)));
    let asking = async {
        let ask = async |patience, max| {
            let answers =
                rig.broker.bus.ask("lvg.ctl.find.t.x", Bytes::from_static(b"?"), patience, max).await.unwrap();
            answers.iter().map(|answer| text(answer).to_owned()).collect::<Vec<_>>()
        };
        assert!(ask(PATIENCE, 0).await.is_empty());
        assert_eq!(ask(PATIENCE, 1).await, ["?"]);
        assert_eq!(ask(PATIENCE, 2).await, ["?", "?"]);
        // There are but two: patience ends it.
        assert_eq!(ask(Duration::from_millis(300), 3).await, ["?", "?"]);
    };
    tokio::select! { _ = answers => unreachable!(), () = soon(asking) => {} }
}

pub(super) async fn nobody_answers_at_once(rig: Rig) {
    let begin = tokio::time::Instant::now();
    let answers = rig.broker.bus.ask("lvg.ctl.find.t.x", Bytes::new(), PATIENCE, 1).await.unwrap();
    assert!(answers.is_empty());
    assert!(begin.elapsed() < PATIENCE, "nobody listens, and that is known at once");
}

pub(super) async fn after_a_flush_nothing_of_others_is_missed(rig: Rig) {
    let other = rig.other().await;
    for round in 0..20 {
        let subject = format!("lvg.ctl.find.t.{round}");
        let mut words = rig.broker.bus.listen(&subject).await.unwrap();
        rig.broker.bus.flush().await.unwrap();
        other.bus.send(&subject, Headers::new(), Bytes::from_static(b"word")).await.unwrap();
        assert_eq!(text(&soon(words.next()).await.unwrap()), "word", "{round}");
    }
}
