//! The graph in Mermaid, which many forges and wikis draw.

use super::text::{Language, lines};
use super::{Look, picture};
use crate::workflow::flow::Document;

/// Draws a document in Mermaid.
#[must_use]
pub fn mermaid(document: &Document) -> String {
    format!("flowchart TD\n{}", lines::<Mermaid>(&picture(document)))
}

struct Mermaid;

impl Language for Mermaid {
    fn vertex(id: usize, look: Look, label: &str) -> String {
        let label = quoted(label);
        match look {
            Look::Task => format!("n{id}[{label}]"),
            Look::Wait => format!("n{id}([{label}])"),
            Look::Value => format!("n{id}[/{label}/]"),
            Look::Flow => format!("n{id}[[{label}]]"),
            Look::Note => format!("n{id}({label})"),
        }
    }

    fn point(id: usize) -> String {
        format!("n{id}(( ))")
    }

    fn open(id: usize, label: &str) -> String {
        format!("subgraph s{id} [{}]", quoted(label))
    }

    fn close() -> &'static str {
        "end"
    }

    fn edge(from: usize, to: usize, label: &str, dashed: bool) -> String {
        let arrow = if dashed { "-.->" } else { "-->" };
        if label.is_empty() {
            format!("n{from} {arrow} n{to}")
        } else {
            format!("n{from} {arrow}|{}| n{to}", quoted(label))
        }
    }
}

/// A quoted label. What Mermaid, Markdown or the HTML that it makes would read is written as an entity.
fn quoted(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '\n' => "<br/>".to_owned(),
            c if c.is_alphanumeric() || !c.is_ascii() || " .,:;/@=+-!?$'^".contains(c) => c.to_string(),
            c => format!("#{};", u32::from(c)),
        })
        .collect();
    format!("\"{escaped}\"")
}
