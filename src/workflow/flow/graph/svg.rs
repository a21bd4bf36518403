//! The graph as SVG: nested boxes, laid out from the inside out.
//!
//! Each part is laid out on its own, with an axis on which it is entered at its top and left at its bottom; what is around it moves
//! it to its place. Colours are read on light and on dark ground. Each box carries `data-place`, the pointer of its node.

use std::fmt::Write as _;

use super::{Form, Look, Part, escape, picture};
use crate::workflow::flow::Document;

/// The width that a character takes: of 12 px monospace, a little generously.
const CHAR: i32 = 8;
/// The height of a line.
const LINE: i32 = 17;
/// Between a box and what is written in it, and between a frame and what stands in it.
const PAD: i32 = 12;
/// Between two parts, for an arrow.
const GAP: i32 = 26;
/// Between two parts side by side.
const BESIDE: i32 = 18;
/// Around the whole.
const MARGIN: i32 = 8;

const STYLE: &str = "text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#1c2733}\
.title{font-weight:600}.frame-title,.way{fill:#7d8994}.box{stroke:#7d8994;fill:#f4f6f8}\
.task{stroke:#3573d9}.wait{stroke:#c2850c;fill:#fdf3d8}.value{fill:#e9edf1}.flow{stroke:#8455c7;stroke-width:2.5}\
.note{fill:none;stroke-dasharray:2 3}.note-text{fill:#7d8994}\
.frame{fill:#7d8994;fill-opacity:.08;stroke:#7d8994;stroke-dasharray:5 3}\
.line{fill:none;stroke:#7d8994;stroke-width:1.3}.side{stroke-dasharray:4 3}";

const ARROW: &str = "<defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
orient=\"auto\"><path d=\"M0 0L8 4L0 8Z\" fill=\"#7d8994\"/></marker></defs>";

/// Draws a document as SVG.
#[must_use]
pub fn svg(document: &Document) -> String {
    let mut laid = part(&picture(document));
    laid.shift(MARGIN, MARGIN);
    let (width, height) = (laid.width + 2 * MARGIN, laid.height + 2 * MARGIN);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <style>{STYLE}</style>\n{ARROW}\n"
    );
    laid.shapes.iter().for_each(|shape| shape.write(&mut text));
    text.push_str("</svg>\n");
    text
}

/// Something that is drawn.
enum Shape {
    Box { x: i32, y: i32, width: i32, height: i32, class: &'static str, place: String },
    Text { x: i32, y: i32, class: &'static str, centred: bool, text: String },
    Line { points: Vec<(i32, i32)>, arrow: bool, dashed: bool },
}

impl Shape {
    fn shift(&mut self, dx: i32, dy: i32) {
        match self {
            Self::Box { x, y, .. } | Self::Text { x, y, .. } => (*x, *y) = (*x + dx, *y + dy),
            Self::Line { points, .. } => points.iter_mut().for_each(|(x, y)| (*x, *y) = (*x + dx, *y + dy)),
        }
    }

    fn write(&self, out: &mut String) {
        // Writing to a String cannot fail.
        match self {
            Self::Box { x, y, width, height, class, place } => writeln!(
                out,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\" data-place=\"{}\"/>",
                escape(place)
            ),
            Self::Text { x, y, class, centred, text } => {
                let anchor = if *centred { " text-anchor=\"middle\"" } else { "" };
                writeln!(out, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\"{anchor}>{}</text>", escape(text))
            }
            Self::Line { points, arrow, dashed } => {
                let points: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
                let class = if *dashed { "line side" } else { "line" };
                let arrow = if *arrow { " marker-end=\"url(#arrow)\"" } else { "" };
                writeln!(out, "<polyline class=\"{class}\" points=\"{}\"{arrow}/>", points.join(" "))
            }
        }
        .ok();
    }
}

/// A part in its own place.
#[derive(Default)]
struct Laid {
    width: i32,
    height: i32,
    /// Where it is entered and left.
    axis: i32,
    shapes: Vec<Shape>,
}

impl Laid {
    fn shift(&mut self, dx: i32, dy: i32) {
        self.shapes.iter_mut().for_each(|shape| shape.shift(dx, dy));
    }

    /// Takes the shapes of another part, moved.
    fn take(&mut self, mut other: Self, dx: i32, dy: i32) {
        other.shift(dx, dy);
        self.shapes.append(&mut other.shapes);
    }

    fn line(&mut self, points: Vec<(i32, i32)>, arrow: bool, dashed: bool) {
        self.shapes.push(Shape::Line { points, arrow, dashed });
    }
}

/// How wide a text is. Characters beyond ASCII may be wide ones.
fn width(text: &str) -> i32 {
    text.chars().map(|c| if c.is_ascii() || c == '…' { CHAR } else { 2 * CHAR }).sum()
}

fn part(part: &Part<'_>) -> Laid {
    let laid = match &part.form {
        Form::Leaf(look) => leaf(part, *look),
        Form::Column { parts, framed: false } => column(parts),
        Form::Column { parts, framed: true } => frame(part, column(parts)),
        Form::Row(parts) => frame(part, row(parts)),
        Form::Body { part: body, again } => frame(part, body_of(body, *again)),
    };
    with_asides(laid, &part.asides)
}

fn leaf(part: &Part<'_>, look: Look) -> Laid {
    let lines = std::iter::once(&part.title).chain(&part.notes);
    let inner = lines.clone().map(|line| width(line)).max().unwrap_or(0);
    let (width, mut height) = (inner + 2 * PAD, PAD);
    let class = match look {
        Look::Task => "box task",
        Look::Wait => "box wait",
        Look::Value => "box value",
        Look::Flow => "box flow",
        Look::Note => "box note",
    };
    let mut texts = Vec::new();
    for (n, line) in lines.enumerate() {
        height += LINE;
        let class = match (look, n) {
            (Look::Note, _) => "note-text",
            (_, 0) => "title",
            _ => "detail",
        };
        texts.push(Shape::Text { x: width / 2, y: height - PAD / 2, class, centred: true, text: line.clone() });
    }
    height += PAD / 2;
    let mut shapes = vec![Shape::Box { x: 0, y: 0, width, height, class, place: part.place.to_owned() }];
    shapes.append(&mut texts);
    Laid { width, height, axis: width / 2, shapes }
}

/// Parts below each other, on one axis.
fn column(parts: &[Part<'_>]) -> Laid {
    let laid: Vec<Laid> = parts.iter().map(part).collect();
    let axis = laid.iter().map(|laid| laid.axis).max().unwrap_or(0);
    let right = laid.iter().map(|laid| laid.width - laid.axis).max().unwrap_or(0);
    let mut whole = Laid { width: axis + right, height: 0, axis, shapes: Vec::new() };
    for (n, laid) in laid.into_iter().enumerate() {
        if n > 0 {
            whole.line(vec![(axis, whole.height), (axis, whole.height + GAP)], true, false);
            whole.height += GAP;
        }
        let (dx, dy) = (axis - laid.axis, whole.height);
        whole.height += laid.height;
        whole.take(laid, dx, dy);
    }
    whole
}

/// Parts side by side, with ways from a common beginning to a common end.
fn row(parts: &[(Option<String>, Part<'_>)]) -> Laid {
    let named = parts.iter().any(|(label, _)| label.is_some());
    let top = if named { GAP + LINE } else { GAP };
    let mut whole = Laid::default();
    let mut laid = Vec::new();
    for (label, inner) in parts {
        let inner = part(inner);
        let text = label.as_deref().unwrap_or_default();
        // A way's label is centred on it, and may be wider than the part.
        let left = (width(text) / 2).max(inner.axis);
        let right = (width(text) / 2).max(inner.width - inner.axis);
        whole.width += if laid.is_empty() { 0 } else { BESIDE };
        laid.push((whole.width + left, inner, text));
        whole.width += left + right;
    }
    let tallest = laid.iter().map(|(_, inner, _)| inner.height).max().unwrap_or(0);
    whole.axis = whole.width / 2;
    whole.height = top + tallest + GAP;
    let (fork, join) = (GAP / 2, whole.height - GAP / 2);
    for (x, inner, text) in laid {
        whole.line(vec![(whole.axis, 0), (whole.axis, fork), (x, fork), (x, top)], true, false);
        let end = vec![(x, top + inner.height), (x, join), (whole.axis, join), (whole.axis, whole.height)];
        whole.line(end, false, false);
        if !text.is_empty() {
            let (y, text) = (fork + LINE - 2, text.to_owned());
            whole.shapes.push(Shape::Text { x: x + 5, y, class: "way", centred: false, text });
        }
        let dx = x - inner.axis;
        whole.take(inner, dx, top);
    }
    whole
}

/// A body that runs more than once; a line leads back where an iteration receives the one before.
fn body_of(body: &Part<'_>, again: bool) -> Laid {
    let inner = part(body);
    if !again {
        return inner;
    }
    let mut whole =
        Laid { width: inner.width + BESIDE, height: inner.height + 2 * PAD, axis: inner.axis, shapes: Vec::new() };
    let (x, axis, bottom) = (inner.width + BESIDE - 2, inner.axis, PAD + inner.height);
    whole.line(
        vec![
            (axis, bottom),
            (axis, bottom + PAD / 2),
            (x, bottom + PAD / 2),
            (x, PAD / 2),
            (axis, PAD / 2),
            (axis, PAD),
        ],
        true,
        true,
    );
    whole.take(inner, 0, PAD);
    whole
}

/// A frame with a title around a part.
fn frame(part: &Part<'_>, inner: Laid) -> Laid {
    let lines: Vec<&String> = std::iter::once(&part.title).chain(&part.notes).collect();
    let titles = lines.iter().map(|line| width(line)).max().unwrap_or(0);
    let head = PAD / 2 + LINE * i32::try_from(lines.len()).unwrap_or(1) + PAD / 2;
    let free = (titles - inner.width).max(0);
    let (width, height) = (inner.width + free + 2 * PAD, head + inner.height + PAD);
    let (dx, place) = (PAD + free / 2, part.place.to_owned());
    let mut whole = Laid { width, height, axis: inner.axis + dx, shapes: Vec::new() };
    whole.shapes.push(Shape::Box { x: 0, y: 0, width, height, class: "frame", place });
    let mut y = PAD / 2;
    for line in lines {
        y += LINE;
        let text = line.clone();
        whole.shapes.push(Shape::Text { x: PAD, y: y - 4, class: "frame-title", centred: false, text });
    }
    whole.take(inner, dx, head);
    whole
}

/// Handlers stand to the right of their node, below each other.
fn with_asides(main: Laid, asides: &[(&'static str, Part<'_>)]) -> Laid {
    if asides.is_empty() {
        return main;
    }
    let (axis, left) = (main.axis, main.width + BESIDE);
    let mut whole = Laid { width: main.width, height: main.height, axis, shapes: Vec::new() };
    let (from, middle, bottom) = (main.width, main.height / 2, main.height);
    whole.take(main, 0, 0);
    let mut y = 0;
    for (what, aside) in asides {
        let laid = part(aside);
        let top = y + LINE;
        let to = top + laid.height.min(2 * LINE) / 2;
        let turn = from + BESIDE / 2;
        whole.line(vec![(from, middle), (turn, middle), (turn, to), (left, to)], true, true);
        whole.shapes.push(Shape::Text { x: left, y: top - 4, class: "way", centred: false, text: (*what).to_owned() });
        whole.width = whole.width.max(left + laid.width.max(width(what)));
        y = top + laid.height + PAD;
        whole.take(laid, left, top);
    }
    whole.height = whole.height.max(y - PAD);
    if whole.height > bottom {
        let end = whole.height;
        whole.line(vec![(axis, bottom), (axis, end)], false, false);
    }
    whole
}
