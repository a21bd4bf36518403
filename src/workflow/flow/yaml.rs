//! Reads YAML text as the JSON that it stands for, and remembers where each part stands.
//!
//! YAML 1.2 with its core schema: `no` and `on` are strings. Anchors and aliases are followed, within bounds; what is no JSON (keys
//! that are no strings, tags, several documents, infinite numbers) is refused, and so are merge keys, which YAML 1.2 dropped.
//!
//! **Invariant:** a tree is at most [`LEVELS_MAX`] levels high and stands for at most [`DOCUMENT_BYTES_MAX`] bytes of JSON, its
//! aliases written out: both are counted while it is built, before anything is written out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};

use super::DOCUMENT_BYTES_MAX;
use super::json::{LEVELS_MAX, TOO_DEEP};
use super::problem::{Problem, quoted};

type Position = (usize, usize);

/// A part of a document.
pub(super) struct Tree {
    /// The line and the column of its beginning.
    at: Position,
    /// Levels of lists and maps, itself included.
    height: usize,
    /// Bytes of JSON that it stands for, about.
    weight: usize,
    part: Part,
}

enum Part {
    Scalar(Value),
    List(Vec<Rc<Tree>>),
    /// With the place of each key.
    Map(BTreeMap<String, (Position, Rc<Tree>)>),
}

impl Tree {
    fn scalar(at: Position, value: Value) -> Self {
        let weight = value.to_string().len();
        Self { at, height: 0, weight, part: Part::Scalar(value) }
    }

    /// The JSON that it stands for.
    pub(super) fn to_json(&self) -> Value {
        match &self.part {
            Part::Scalar(value) => value.clone(),
            Part::List(list) => Value::Array(list.iter().map(|tree| tree.to_json()).collect()),
            Part::Map(map) => {
                Value::Object(map.iter().map(|(key, (_, tree))| (key.clone(), tree.to_json())).collect::<Map<_, _>>())
            }
        }
    }

    /// The line and column of what a JSON pointer names: of its key, where it has one.
    pub(super) fn locate(&self, pointer: &str) -> Option<Position> {
        let (mut tree, mut at) = (self, self.at);
        for token in pointer.split('/').skip(1) {
            (at, tree) = match &tree.part {
                Part::Scalar(_) => return Some(at),
                Part::List(list) => list.get(token.parse::<usize>().ok()?).map(|tree| (tree.at, &**tree))?,
                Part::Map(map) => {
                    let key = token.replace("~1", "/").replace("~0", "~");
                    map.get(&key).map(|(at, tree)| (*at, &**tree))?
                }
            };
        }
        Some(at)
    }
}

/// A list or map whose end has not come yet.
struct Open {
    at: Position,
    anchor: usize,
    height: usize,
    weight: usize,
    inner: Inner,
}

enum Inner {
    List(Vec<Rc<Tree>>),
    Map { done: BTreeMap<String, (Position, Rc<Tree>)>, key: Option<(Position, String)> },
}

/// What an anchor names.
enum Anchored {
    /// The list or map that the anchor stands on has not ended.
    Open,
    Done(Rc<Tree>),
}

/// Builds the tree from events, without recursion.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    root: Option<Rc<Tree>>,
    documents: usize,
}

/// Reads one document.
pub(super) fn read(text: &str) -> Result<Rc<Tree>, Problem> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event
            .map_err(|error| Problem::text(position(error.marker()), format!("it is not YAML: {}", error.info())))?;
        builder.take(event, span)?;
    }
    builder.root.ok_or_else(|| Problem::top("the document is empty"))
}

fn position(marker: &Marker) -> Position {
    (marker.line(), marker.col() + 1)
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let at = position(&span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 { Err(Problem::text(at, "a file holds one document")) } else { Ok(()) }
            }
            Event::Alias(anchor) => self.alias(at, anchor),
            Event::Scalar(text, style, anchor, tag) => self.scalar(at, text, style, (anchor, tag.as_deref())),
            Event::SequenceStart(anchor, tag) => self.begin(at, anchor, tag.as_deref(), Inner::List(Vec::new())),
            Event::MappingStart(anchor, tag) => {
                self.begin(at, anchor, tag.as_deref(), Inner::Map { done: BTreeMap::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn begin(&mut self, at: Position, anchor: usize, tag: Option<&Tag>, inner: Inner) -> Result<(), Problem> {
        refuse_tag(at, tag)?;
        if self.open.len() >= LEVELS_MAX {
            return Err(too_deep(at));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, Anchored::Open);
        }
        // Two brackets, and one separator less than there are members.
        self.open.push(Open { at, anchor, height: 0, weight: 1, inner });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(Open { at, anchor, height, weight, inner }) = self.open.pop() else { return Ok(()) };
        let part = match inner {
            Inner::List(list) => Part::List(list),
            Inner::Map { done, .. } => Part::Map(done),
        };
        self.put(at, anchor, Rc::new(Tree { at, height: height + 1, weight, part }))
    }

    fn alias(&mut self, at: Position, anchor: usize) -> Result<(), Problem> {
        match self.anchors.get(&anchor) {
            Some(Anchored::Done(tree)) => {
                let tree = Rc::clone(tree);
                self.put(at, 0, tree)
            }
            Some(Anchored::Open) => {
                Err(Problem::text(at, "an alias stands inside of what it names, which would never end"))
            }
            None => Err(Problem::text(at, "an alias names no anchor before it")),
        }
    }

    fn scalar(
        &mut self,
        at: Position,
        text: Cow<'_, str>,
        style: ScalarStyle,
        (anchor, tag): (usize, Option<&Tag>),
    ) -> Result<(), Problem> {
        let is_str = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        if !is_str {
            refuse_tag(at, tag)?;
        }
        let plain = style == ScalarStyle::Plain && !is_str;
        if plain && text == "<<" && self.key_is_next() {
            return Err(Problem::text(at, "merge keys (<<) are not part of YAML 1.2: write the fields out"));
        }
        let value = if plain { resolve(&text).map_err(|message| Problem::text(at, message))? } else { text.into() };
        self.put(at, anchor, Rc::new(Tree::scalar(at, value)))
    }

    fn key_is_next(&self) -> bool {
        matches!(self.open.last(), Some(Open { inner: Inner::Map { key: None, .. }, .. }))
    }

    /// Puts a finished part where it belongs.
    fn put(&mut self, at: Position, anchor: usize, tree: Rc<Tree>) -> Result<(), Problem> {
        if anchor > 0 {
            self.anchors.insert(anchor, Anchored::Done(Rc::clone(&tree)));
        }
        let levels = self.open.len() + tree.height;
        let Some(open) = self.open.last_mut() else {
            self.root = Some(tree);
            return Ok(());
        };
        if levels > LEVELS_MAX {
            return Err(too_deep(at));
        }
        open.height = open.height.max(tree.height);
        open.weight = open.weight.saturating_add(tree.weight).saturating_add(1);
        if open.weight > DOCUMENT_BYTES_MAX {
            return Err(Problem::text(at, "written out as JSON, with its aliases, the document is larger than 1 MiB"));
        }
        match &mut open.inner {
            Inner::List(list) => list.push(tree),
            Inner::Map { done, key } => match key.take() {
                Some((at, key)) => {
                    done.insert(key, (at, tree));
                }
                None => *key = Some((at, checked_key(at, &tree, done)?)),
            },
        }
        Ok(())
    }
}

fn checked_key(at: Position, tree: &Tree, done: &BTreeMap<String, (Position, Rc<Tree>)>) -> Result<String, Problem> {
    match &tree.part {
        Part::Scalar(Value::String(key)) if done.contains_key(key) => {
            Err(Problem::text(at, format!("the field {} is written twice", quoted(key))))
        }
        Part::Scalar(Value::String(key)) => Ok(key.clone()),
        Part::Scalar(other) => {
            Err(Problem::text(at, format!("a key is a string: write {} in quotes", quoted(&other.to_string()))))
        }
        Part::List(_) | Part::Map(_) => Err(Problem::text(at, "a key is a string, no list or map")),
    }
}

fn too_deep(at: Position) -> Problem {
    Problem::text(at, TOO_DEEP)
}

fn refuse_tag(at: Position, tag: Option<&Tag>) -> Result<(), Problem> {
    match tag {
        None => Ok(()),
        Some(tag) => Err(Problem::text(at, format!("the tag {} is not supported", quoted(&tag.to_string())))),
    }
}

/// The value of a plain scalar by the core schema.
fn resolve(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if let Some(number) = text.strip_prefix("0x").and_then(|digits| radix(digits, 16)) {
        return Ok(number);
    }
    if let Some(number) = text.strip_prefix("0o").and_then(|digits| radix(digits, 8)) {
        return Ok(number);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Err(format!("{text} is no number of JSON"));
    }
    if !is_decimal(unsigned) {
        return Ok(text.into());
    }
    let number = text.strip_prefix('+').unwrap_or(text);
    let whole = number.parse::<i64>().map(Number::from).or_else(|_| number.parse::<u64>().map(Number::from));
    let number = whole.ok().or_else(|| Number::from_f64(number.parse().ok()?));
    number.map(Value::Number).ok_or_else(|| format!("{} is too large a number", quoted(text)))
}

fn radix(digits: &str, radix: u32) -> Option<Value> {
    let plain = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten().map(Value::from)
}

/// `[0-9]+`, or a float: `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let some = !whole.is_empty() || !fraction.is_empty();
    let exponent = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    some && digits(whole) && digits(fraction) && exponent
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(text: &str) -> Value {
        read(text).unwrap_or_else(|problem| panic!("{problem} in {text}")).to_json()
    }

    fn refused(text: &str) -> String {
        read(text).err().unwrap_or_else(|| panic!("{text} was read")).to_string()
    }

    #[test]
    fn scalars_are_those_of_the_core_schema() {
        let list = value("[~, null, '', , true, True, no, on, y, 1, -1, +1, 0x1f, 0o17, 017, 1.5, .5, 1., 1e3, -2.5e-1, 1_000, 1.2.3, 'x', \"a\\tb\", 0b1, e5, ., 18446744073709551615, 1h30m]".replace(", ,", ",").as_str());
        assert_eq!(
            list,
            json!([
                null,
                null,
                "",
                true,
                true,
                "no",
                "on",
                "y",
                1,
                -1,
                1,
                31,
                15,
                17,
                1.5,
                0.5,
                1.0,
                1000.0,
                -0.25,
                "1_000",
                "1.2.3",
                "x",
                "a\tb",
                "0b1",
                "e5",
                ".",
                18446744073709551615_u64,
                "1h30m"
            ])
        );
        assert_eq!(value("a:\nb: |\n  two\n  lines\nc: !!str 5\n"), json!({"a": null, "b": "two\nlines\n", "c": "5"}));
    }

    #[test]
    fn anchors_are_followed() {
        assert_eq!(
            value("a: &x {b: [1]}\nc: *x\nd: [*x, *x]\ne: &y word\nf: *y"),
            json!({"a": {"b": [1]}, "c": {"b": [1]}, "d": [{"b": [1]}, {"b": [1]}], "e": "word", "f": "word"})
        );
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for (text, expected) in [
            ("", "at the top: the document is empty"),
            ("# nothing\n", "at the top: the document is empty"),
            ("a: 1\n---\nb: 2\n", "at 2:1: a file holds one document"),
            ("a: 1\nb: 2\na: 3\n", "at 3:1: the field \"a\" is written twice"),
            ("{1: a}", "at 1:2: a key is a string: write \"1\" in quotes"),
            ("{true: a}", "at 1:2: a key is a string: write \"true\" in quotes"),
            ("? [a]\n: b\n", "at 1:3: a key is a string, no list or map"),
            ("a: &x {b: 1}\nc:\n  <<: *x\n", "at 3:3: merge keys (<<) are not part of YAML 1.2: write the fields out"),
            ("a: .inf", "at 1:4: .inf is no number of JSON"),
            ("a: 1e999", "at 1:4: \"1e999\" is too large a number"),
            ("a: !!binary aGk=", "at 1:4: the tag \"tag:yaml.org,2002:!binary\" is not supported"),
            ("a: !mine {}", "at 1:4: the tag \"!mine\" is not supported"),
            ("&a [1, *a]", "at 1:8: an alias stands inside of what it names, which would never end"),
            ("a: &x\n  b: {c: *x}\n", "at 2:10: an alias stands inside of what it names, which would never end"),
        ] {
            assert_eq!(refused(text), expected, "{text}");
        }
        assert!(refused("a: *nothing").starts_with("at 1:4: it is not YAML: "), "{}", refused("a: *nothing"));
        assert!(refused("a: [1").contains("it is not YAML: "));
        assert!(refused("a:\n\tb: 1").contains("it is not YAML: "));
    }

    #[test]
    fn anchor_bombs_are_refused_before_they_go_off() {
        // A billion of the first line's items.
        let mut wide = "a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol,lol]\n".to_owned();
        for n in 1..10 {
            let alias = format!("*a{}", n - 1);
            wide += &format!("a{n}: &a{n} [{}]\n", vec![alias; 10].join(","));
        }
        assert!(refused(&wide).ends_with("written out as JSON, with its aliases, the document is larger than 1 MiB"));
        // Each line one level higher.
        let mut high = "a0: &a0 []\n".to_owned();
        for n in 1..10_000 {
            high += &format!("a{n}: &a{n} [*a{}]\n", n - 1);
        }
        assert!(refused(&high).ends_with("lists and maps are nested more than 256 levels deep"));
        let text = format!("a: &a {}\nb: [{}]", "x".repeat(1_000), vec!["*a"; 2_000].join(","));
        assert!(refused(&text).ends_with("the document is larger than 1 MiB"));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(value(&nested(200)).to_string(), nested(200));
        let block = |levels: usize| "- ".repeat(levels) + "1";
        assert_eq!(value(&block(LEVELS_MAX)).to_string(), nested(LEVELS_MAX));
        for text in [block(LEVELS_MAX + 1), block(10_000)] {
            assert!(refused(&text).ends_with("lists and maps are nested more than 256 levels deep"));
        }
        assert!(!refused(&nested(10_000)).is_empty());
    }

    #[test]
    fn places_are_found_by_their_pointers() {
        let tree = read("flow:\n  chain:\n    - task: m/t\n    - sleep: 1s\n      na/me: x\n").unwrap();
        for (pointer, at) in [
            ("", Some((1, 1))),
            ("/flow", Some((1, 1))),
            ("/flow/chain", Some((2, 3))),
            ("/flow/chain/1", Some((4, 7))),
            ("/flow/chain/1/na~1me", Some((5, 7))),
            ("/flow/chain/1/sleep/deeper", Some((4, 7))),
            ("/flow/chain/2", None),
            ("/nothing", None),
        ] {
            assert_eq!(tree.locate(pointer), at, "{pointer}");
        }
    }
}
