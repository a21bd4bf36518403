//! Flow documents: what is read, what is refused and with which words.
//!
//! | file | what |
//! |---|---|
//! | `accepted` | every kind and field, and what they become |
//! | `refused` | every problem, with its exact text |
//! | `references` | names, and which steps can have run |
//! | `hostile` | documents that are made to hurt |
//! | `documents` | the flows of examples and of the page for people from Celery |
//! | `graph` | pictures |
//! | `schema` | the schema against what the parser accepts |
#![cfg(test)]

mod accepted;
mod documents;
mod graph;
mod hostile;
mod references;
mod refused;
mod schema;

use lovage::workflow::flow::Document;

/// Whole documents, with every kind and field among them.
const EXAMPLES: &[(&str, &str)] =
    &[("etl", include_str!("examples/etl.yaml")), ("canvas", include_str!("examples/canvas.yaml"))];

/// The problems of a document in YAML, without their lines and columns.
fn problems(yaml: &str) -> Vec<String> {
    let problems = Document::parse_yaml(yaml).err().unwrap_or_default();
    problems
        .into_iter()
        .map(|mut problem| {
            problem.line_column = None;
            problem.to_string()
        })
        .collect()
}

/// A document that has to be accepted.
fn accepted(yaml: &str) -> Document {
    Document::parse_yaml(yaml).unwrap_or_else(|problems| panic!("{yaml}\n{problems:#?}"))
}
