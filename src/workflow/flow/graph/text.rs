//! What DOT and Mermaid share: lines of vertices in nested frames, then lines of edges.

use super::{Form, Look, Part};

/// How a language of graphs writes things. Vertices and frames are numbered.
pub(super) trait Language {
    /// A vertex with a label.
    fn vertex(id: usize, look: Look, label: &str) -> String;
    /// A vertex where ways part or meet.
    fn point(id: usize) -> String;
    /// The beginning of a frame.
    fn open(id: usize, label: &str) -> String;
    /// The end of a frame.
    fn close() -> &'static str;
    /// An edge; dashed ones are not the main way.
    fn edge(from: usize, to: usize, label: &str, dashed: bool) -> String;
}

/// The lines of a picture.
pub(super) fn lines<L: Language>(picture: &Part<'_>) -> String {
    let mut writer: Writer<L> =
        Writer { text: String::new(), edges: String::new(), count: 0, depth: 1, language: std::marker::PhantomData };
    writer.part(picture);
    writer.text + &writer.edges
}

/// Where edges come in and go out.
#[derive(Clone, Copy)]
struct Ends {
    entry: usize,
    exit: usize,
}

struct Writer<L> {
    text: String,
    edges: String,
    count: usize,
    depth: usize,
    language: std::marker::PhantomData<L>,
}

impl<L: Language> Writer<L> {
    fn line(&mut self, line: &str) {
        self.text.push_str(&"  ".repeat(self.depth));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn next(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    fn edge(&mut self, from: usize, to: usize, label: &str, dashed: bool) {
        self.edges.push_str("  ");
        self.edges.push_str(&L::edge(from, to, label, dashed));
        self.edges.push('\n');
    }

    fn part(&mut self, part: &Part<'_>) -> Ends {
        let ends = match &part.form {
            Form::Leaf(look) => {
                let id = self.next();
                self.line(&L::vertex(id, *look, &label(part)));
                Ends { entry: id, exit: id }
            }
            Form::Column { parts, framed: false } => self.column(parts),
            Form::Column { parts, framed: true } => self.frame(part, |writer| writer.column(parts)),
            Form::Row(parts) => self.frame(part, |writer| writer.row(parts)),
            Form::Body { part: body, again } => self.frame(part, |writer| {
                let ends = writer.part(body);
                if *again {
                    writer.edge(ends.exit, ends.entry, "again", true);
                }
                ends
            }),
        };
        for (what, aside) in &part.asides {
            let aside = self.part(aside);
            self.edge(ends.exit, aside.entry, what, true);
        }
        ends
    }

    fn frame(&mut self, part: &Part<'_>, inner: impl FnOnce(&mut Self) -> Ends) -> Ends {
        let id = self.next();
        self.line(&L::open(id, &label(part)));
        self.depth += 1;
        let ends = inner(self);
        self.depth -= 1;
        self.line(L::close());
        ends
    }

    fn column(&mut self, parts: &[Part<'_>]) -> Ends {
        let mut whole: Option<Ends> = None;
        for part in parts {
            let ends = self.part(part);
            whole = Some(match whole {
                None => ends,
                Some(before) => {
                    self.edge(before.exit, ends.entry, "", false);
                    Ends { entry: before.entry, exit: ends.exit }
                }
            });
        }
        whole.unwrap_or_else(|| self.point())
    }

    fn row(&mut self, parts: &[(Option<String>, Part<'_>)]) -> Ends {
        let (fork, join) = (self.point(), self.point());
        for (label, part) in parts {
            let ends = self.part(part);
            self.edge(fork.exit, ends.entry, label.as_deref().unwrap_or_default(), false);
            self.edge(ends.exit, join.entry, "", false);
        }
        Ends { entry: fork.entry, exit: join.exit }
    }

    fn point(&mut self) -> Ends {
        let id = self.next();
        self.line(&L::point(id));
        Ends { entry: id, exit: id }
    }
}

fn label(part: &Part<'_>) -> String {
    std::iter::once(&part.title).chain(&part.notes).map(String::as_str).collect::<Vec<_>>().join("\n")
}
