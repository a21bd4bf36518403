//! What is fuzzed: each function takes any bytes, and panics where a promise is broken.
//!
//! Shared by the targets of cargo-fuzz and by a short run in the tests.

use bytes::Bytes;
use lovage::protocol::subject::TaskSubject;
use lovage::protocol::task::{TaskMessage, read_composed};
use lovage::protocol::{Headers, record, step};
use lovage::workflow::flow::{Document, fits, graph, schema_problems};
use lovage::workflow::wire;

/// An upload is accepted or refused, and what was accepted is accepted again as it is stored.
pub(super) fn upload(bytes: &[u8]) {
    let Ok(found) = lovage::sandbox::inspect(bytes) else { return };
    let again = lovage::sandbox::inspect(&found.stored).expect("what is stored is accepted");
    assert_eq!(again.contract, found.contract);
}

/// JSON fits the types of a function or is refused; what fits is written so that it reads the same.
pub(super) fn values(bytes: &[u8]) {
    if let Err(fault) = lovage::sandbox::typed_trial(bytes) {
        panic!("{fault}");
    }
}

/// A message is read or refused, whoever wrote it; what is read is written so that it reads the same. The bytes are a subject,
/// headers of a line each, an empty line, and the body.
pub(super) fn envelope(bytes: &[u8]) {
    let (subject, headers, body) = message(bytes);
    drop(TaskSubject::read(&subject));
    if let Ok(task) = TaskMessage::decode(&headers, &body) {
        let (headers, body) = task.encode();
        assert_eq!(TaskMessage::decode(&headers, &body).as_ref(), Ok(&task));
    }
    if let Ok(read) = record::decode(&headers, &body) {
        let (headers, body) = record::encode(&read);
        assert_eq!(record::decode(&headers, &body).as_ref(), Ok(&read));
    }
    if let Ok(read) = step::decode(&headers, &body) {
        let (headers, body) = step::encode(&read);
        assert_eq!(step::decode(&headers, &body).as_ref(), Ok(&read));
    }
    drop(read_composed(&body));
}

/// A document is read or refused; what was read has a normal form that reads as the same document, and can be drawn.
pub(super) fn flow(bytes: &[u8]) {
    let Ok(document) = Document::parse(bytes) else { return };
    let normal = document.to_json();
    let again = Document::from_json(&normal).expect("the normal form is a document");
    assert_eq!(again.to_json(), normal);
    drop((graph::dot(&document), graph::mermaid(&document), graph::svg(&document)));
    drop(schema_problems(&document, std::str::from_utf8(bytes).ok()));
}

/// A schema and an input, `[schema, input]`, are checked within the budget.
pub(super) fn schema(bytes: &[u8]) {
    let Ok(pair) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let part = |at: usize| pair.get(at).cloned().unwrap_or_default();
    drop(fits(&part(0), &part(1)));
}

/// A record of a journal is read or refused; what was read is written so that it reads the same.
pub(super) fn journal(bytes: &[u8]) {
    let (subject, headers, body) = message(bytes);
    drop(wire::place(&subject));
    let Ok(name) = wire::name(&subject) else { return };
    let Ok(event) = wire::decode(&name, &headers, &body) else { return };
    if let Some((headers, body)) = wire::encode(&event) {
        assert_eq!(wire::decode(&name, &headers, &body).as_ref(), Ok(&event));
    }
}

/// A subject, headers and a body.
fn message(bytes: &[u8]) -> (String, Headers, Bytes) {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(end);
    let head = String::from_utf8_lossy(head).into_owned();
    let mut lines = head.lines();
    let subject = lines.next().unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| line.split_once(": ")).collect();
    (subject, headers, Bytes::copy_from_slice(body.get(2..).unwrap_or_default()))
}
