//! The graph in DOT, for Graphviz.

use super::text::{Language, lines};
use super::{Look, picture};
use crate::workflow::flow::Document;

/// Draws a document in DOT.
#[must_use]
pub fn dot(document: &Document) -> String {
    format!("digraph flow {{\n{HEAD}{}}}\n", lines::<Dot>(&picture(document)))
}

/// Greys that are read on light and on dark ground.
const HEAD: &str = r##"  bgcolor="transparent"; color="#7d8994"; fontcolor="#7d8994"; fontname="Helvetica";
  node [shape=box, style="rounded,filled", fillcolor="#f4f6f8", color="#7d8994", fontname="Helvetica"];
  edge [color="#7d8994", fontcolor="#7d8994", fontname="Helvetica"];
"##;

struct Dot;

impl Language for Dot {
    fn vertex(id: usize, look: Look, label: &str) -> String {
        let style = match look {
            Look::Task => "",
            Look::Wait => ", fillcolor=\"#fdf3d8\"",
            Look::Value => ", shape=note, style=filled",
            Look::Flow => ", peripheries=2",
            Look::Note => ", style=dashed, fontcolor=\"#7d8994\"",
        };
        format!("n{id} [label={}{style}];", quoted(label))
    }

    fn point(id: usize) -> String {
        format!("n{id} [shape=point];")
    }

    fn open(id: usize, label: &str) -> String {
        format!("subgraph cluster_{id} {{ label={}; style=\"rounded,dashed\";", quoted(label))
    }

    fn close() -> &'static str {
        "}"
    }

    fn edge(from: usize, to: usize, label: &str, dashed: bool) -> String {
        let label = (!label.is_empty()).then(|| format!("label={}", quoted(label)));
        let about: Vec<String> = label.into_iter().chain(dashed.then(|| "style=dashed".to_owned())).collect();
        if about.is_empty() {
            format!("n{from} -> n{to};")
        } else {
            format!("n{from} -> n{to} [{}];", about.join(", "))
        }
    }
}

/// A quoted string of DOT.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
