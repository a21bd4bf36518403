#![cfg(test)]
//! What JSON stands for which value: tables, both ways, with what is refused and where.

use serde_json::{Value, json};
use wasmtime::component::Val;

use super::arguments;
use super::failure::failure;
use super::read::{VALUES_MAX, read};
use super::schema;
use super::shape::{Integer, Shape, Signature};
use super::write::{Unwritten, write};
use crate::model::Kind;

fn boxed(shape: Shape) -> Box<Shape> {
    Box::new(shape)
}

fn option(shape: Shape) -> Shape {
    Shape::Option(boxed(shape))
}

fn some(value: Val) -> Val {
    Val::Option(Some(Box::new(value)))
}

fn text(text: &str) -> Val {
    Val::String(text.to_owned())
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn size() -> Shape {
    Shape::Record(vec![
        ("width".to_owned(), Shape::Integer(Integer::U32)),
        ("max-height".to_owned(), option(Shape::Integer(Integer::U8))),
    ])
}

fn fit() -> Shape {
    Shape::Variant(vec![("whole".to_owned(), None), ("crop".to_owned(), Some(size()))])
}

fn written(shape: &Shape, value: &Val) -> String {
    String::from_utf8(write(shape, value, usize::MAX).unwrap()).unwrap()
}

#[test]
fn each_type_has_its_json() {
    let byte = |byte| Val::U8(byte);
    let height = |height: Option<u8>| {
        let height = Val::Option(height.map(|height| Box::new(byte(height))));
        Val::Record(vec![("width".to_owned(), Val::U32(7)), ("max-height".to_owned(), height)])
    };
    let result = Shape::Result { ok: Some(boxed(Shape::Bool)), err: None };
    let table: Vec<(Shape, &str, Val)> = vec![
        (Shape::Bool, "true", Val::Bool(true)),
        (Shape::Integer(Integer::S8), "-128", Val::S8(-128)),
        (Shape::Integer(Integer::U64), "9007199254740991", Val::U64(9_007_199_254_740_991)),
        (Shape::Integer(Integer::U64), "\"9007199254740992\"", Val::U64(9_007_199_254_740_992)),
        (Shape::Integer(Integer::S64), "\"-9223372036854775808\"", Val::S64(i64::MIN)),
        (Shape::Float32, "0.1", Val::Float32(0.1)),
        (Shape::Float64, "-2.5e-7", Val::Float64(-2.5e-7)),
        (Shape::Float64, "\"-Infinity\"", Val::Float64(f64::NEG_INFINITY)),
        (Shape::Char, "\"é\"", Val::Char('é')),
        (Shape::String, "\"a \\\"b\\\" \\u0001\"", text("a \"b\" \u{1}")),
        (Shape::Bytes, "\"/wA=\"", Val::List(vec![byte(255), byte(0)])),
        (Shape::List(boxed(Shape::Bool)), "[true,false]", Val::List(vec![Val::Bool(true), Val::Bool(false)])),
        (Shape::List(boxed(Shape::Bool)), "[]", Val::List(vec![])),
        (size(), r#"{"width":7,"max-height":9}"#, height(Some(9))),
        (size(), r#"{"width":7,"max-height":null}"#, height(None)),
        (Shape::Tuple(vec![Shape::Bool, Shape::String]), r#"[true,"x"]"#, Val::Tuple(vec![Val::Bool(true), text("x")])),
        (fit(), "\"whole\"", Val::Variant("whole".to_owned(), None)),
        (
            fit(),
            r#"{"crop":{"width":7,"max-height":1}}"#,
            Val::Variant("crop".to_owned(), Some(Box::new(height(Some(1))))),
        ),
        (Shape::Enum(names(&["a", "b"])), "\"b\"", Val::Enum("b".to_owned())),
        (Shape::Flags(names(&["a", "b", "c"])), r#"["a","c"]"#, Val::Flags(names(&["a", "c"]))),
        (option(Shape::Bool), "null", Val::Option(None)),
        (option(Shape::Bool), "true", some(Val::Bool(true))),
        (option(option(Shape::Bool)), "null", Val::Option(None)),
        (option(option(Shape::Bool)), r#"{"some":null}"#, some(Val::Option(None))),
        (option(option(Shape::Bool)), r#"{"some":false}"#, some(some(Val::Bool(false)))),
        (result.clone(), r#"{"ok":true}"#, Val::Result(Ok(Some(Box::new(Val::Bool(true)))))),
        (result, r#"{"err":null}"#, Val::Result(Err(None))),
    ];
    for (shape, text, value) in table {
        assert_eq!(written(&shape, &value), text, "{shape:?}");
        assert_eq!(read(&shape, text.as_bytes()).unwrap(), value, "{shape:?} {text}");
    }
}

#[test]
fn a_value_may_be_written_in_more_than_one_way() {
    let u64 = Shape::Integer(Integer::U64);
    let bytes = Val::List(vec![Val::U8(255), Val::U8(0)]);
    let table: Vec<(Shape, &str, Val)> = vec![
        (u64.clone(), "18446744073709551615", Val::U64(u64::MAX)),
        (u64.clone(), "\"18446744073709551615\"", Val::U64(u64::MAX)),
        (u64.clone(), "\"5\"", Val::U64(5)),
        (u64, "3.0", Val::U64(3)),
        (Shape::Integer(Integer::S16), "-1e2", Val::S16(-100)),
        (Shape::Float64, "3", Val::Float64(3.0)),
        (option(Shape::Float64), "-5.952062611459069e-209", some(Val::Float64(-5.952_062_611_459_069e-209))),
        (Shape::Float32, "-3", Val::Float32(-3.0)),
        (Shape::Bytes, "[255, 0]", bytes.clone()),
        (Shape::Bytes, "\"/wA\"", bytes),
        (size(), r#"{"width":7}"#, read(&size(), br#"{"max-height":null,"width":7}"#).unwrap()),
        (fit(), r#"{"whole":null}"#, Val::Variant("whole".to_owned(), None)),
        (Shape::Flags(names(&["a", "b"])), r#"["b","a"]"#, Val::Flags(names(&["a", "b"]))),
    ];
    for (shape, text, value) in table {
        assert_eq!(read(&shape, text.as_bytes()).unwrap(), value, "{shape:?} {text}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    let list = Shape::List(boxed(size()));
    let table: Vec<(Shape, &str, &str)> = vec![
        (Shape::Bool, "1", "the input: a number where true or false is wanted"),
        (Shape::Integer(Integer::U8), "256", "the input: 256 is no u8: a whole number from 0 to 255"),
        (Shape::Integer(Integer::U8), "-1", "the input: -1 is no u8: a whole number from 0 to 255"),
        (
            Shape::Integer(Integer::S32),
            "1.5",
            "the input: 1.5 is no s32: a whole number from -2147483648 to 2147483647",
        ),
        (Shape::Integer(Integer::S32), "\"5\"", "the input: a string where a whole number"),
        (Shape::Integer(Integer::U64), "18446744073709551616", "is no u64: a whole number from 0 to"),
        (Shape::Integer(Integer::U64), "\"1e3\"", "the input: \"1e3\" is no u64"),
        (Shape::Float32, "1e300", "out of the range of f32"),
        (Shape::Float64, "-1e400", "-1e400 is out of the range of f64"),
        (Shape::Float64, "[1]", "an array where a number is wanted"),
        (Shape::Float64, "\"inf\"", "a string where a number is wanted"),
        (Shape::Char, "\"ab\"", "\"ab\" where a string of one character is wanted"),
        (Shape::Char, "\"\"", "\"\" where a string of one character is wanted"),
        (Shape::String, "null", "null where a string is wanted"),
        (Shape::Bytes, "\"a b\"", "not base64: "),
        (Shape::Bytes, "[1, 999]", "/1: 999 is no u8"),
        (list.clone(), r#"[{"width":1},{"width":"x"}]"#, "/1/width: a string where a whole number"),
        (list.clone(), r#"[{"width":1},{}]"#, "/1: field \"width\" is missing"),
        (list.clone(), r#"[{"widht":1}]"#, "/0: no field \"widht\": the record has width, max-height"),
        (list, r#"[{"width":1,"width":2}]"#, "/0: field \"width\" is there twice"),
        (Shape::Tuple(vec![Shape::Bool, Shape::Bool]), "[true]", "the input: 1 values where 2 are wanted"),
        (Shape::Tuple(vec![Shape::Bool]), "[true, true]", "the input: more than the 1 values that are wanted"),
        (fit(), "\"crop\"", "case \"crop\" has a value: write {\"crop\": ...}"),
        (fit(), "\"fill\"", "no case \"fill\": there is whole, crop"),
        (fit(), r#"{"crop":{"width":-1}}"#, "/crop/width: -1 is no u32"),
        (fit(), r#"{"whole":1}"#, "/whole: a value where null is wanted"),
        (fit(), r#"{"whole":null,"crop":null}"#, "the input: an object of one key is wanted"),
        (fit(), "{}", "the input: an object of one key is wanted"),
        (Shape::Enum(names(&["a", "b"])), "\"c\"", "no case \"c\": there is a, b"),
        (Shape::Flags(names(&["a", "b"])), r#"["a","c"]"#, "/1: no flag \"c\": there is a, b"),
        (Shape::Flags(names(&["a", "b"])), r#"["a","a"]"#, "/1: flag \"a\" is there twice"),
        (option(Shape::Bool), "\"x\"", "a string where true or false is wanted"),
        (option(option(Shape::Bool)), "true", "a truth value where null or null or true or false is wanted"),
        (Shape::Result { ok: None, err: None }, r#"{"no":1}"#, "no \"no\" in a result: there is ok, err"),
        (Shape::Record(vec![("a/b".to_owned(), Shape::Bool)]), r#"{"a/b":1}"#, "/a~1b: a number"),
        (Shape::Bool, "trux", "the input: not JSON: expected"),
        (Shape::Bool, "true false", "the input: not JSON: trailing"),
        (Shape::String, "\"\u{ff}\\ud800\"", "the input: not JSON: "),
    ];
    for (shape, json, expected) in table {
        let mismatch = read(&shape, json.as_bytes()).unwrap_err().to_string();
        assert!(mismatch.contains(expected), "{shape:?} {json}: {mismatch}");
    }
}

#[test]
fn what_an_input_may_hold_is_bounded() {
    let json = format!("[{}0]", "0,".repeat(VALUES_MAX));
    let refused = read(&Shape::Bytes, json.as_bytes()).unwrap_err();
    assert!(refused.message.contains("more than 2097152 values"), "{refused}");
    let base64 = format!("\"{}\"", "AAAA".repeat(VALUES_MAX / 3 + 1));
    let refused = read(&Shape::Bytes, base64.as_bytes()).unwrap_err();
    assert!(refused.message.contains("more than 2097152 values"), "{refused}");
    let deep = "[".repeat(10_000);
    assert!(read(&Shape::List(boxed(Shape::Bool)), deep.as_bytes()).is_err());
    assert!(size_of::<Val>() <= 40, "the bound counts on it: {}", size_of::<Val>());
}

#[test]
fn what_an_output_may_hold_is_bounded() {
    let value = Val::List(vec![Val::Bool(true); 10]);
    let shape = Shape::List(boxed(Shape::Bool));
    assert_eq!(write(&shape, &value, 50), Err(Unwritten::TooLarge));
    assert_eq!(write(&shape, &value, 51).unwrap().len(), 51);
    assert_eq!(write(&Shape::Bytes, &Val::List(vec![Val::U8(0); 300]), 300), Err(Unwritten::TooLarge));
    assert_eq!(write(&Shape::Bool, &Val::U8(0), 300), Err(Unwritten::OtherShape));
}

fn arguments_of(params: &[(&str, Shape)], input: &str) -> Result<Vec<Val>, String> {
    let params: Vec<(String, Shape)> = params.iter().map(|(name, shape)| ((*name).to_owned(), shape.clone())).collect();
    arguments::read(&params, input.as_bytes()).map_err(|mismatch| mismatch.to_string())
}

#[test]
fn arguments_come_by_name_or_by_position() {
    let u8 = || Shape::Integer(Integer::U8);
    let two = [("a", u8()), ("b", option(u8()))];
    let (one, none) = (Val::U8(1), Val::Option(None));
    for (input, expected) in [
        (r#"{"a":1,"b":2}"#, vec![one.clone(), some(Val::U8(2))]),
        (r#"{"b":null,"a":1}"#, vec![one.clone(), none.clone()]),
        (r#"{"a":1}"#, vec![one.clone(), none.clone()]),
        ("[1,2]", vec![one.clone(), some(Val::U8(2))]),
        ("[1]", vec![one, none]),
    ] {
        assert_eq!(arguments_of(&two, input).unwrap(), expected, "{input}");
    }
    for (input, expected) in [
        (r#"{"a":1,"c":2}"#, "the input: no parameter \"c\": the function has a, b"),
        (r#"{"b":1}"#, "the input: parameter \"a\" is missing"),
        (r#"{"a":1,"a":1}"#, "the input: parameter \"a\" is there twice"),
        ("[1,2,3]", "the input: more than the 2 values that are wanted"),
        ("[]", "the input: 0 values where 2 are wanted"),
        ("[1,300]", "/1: 300 is no u8: a whole number from 0 to 255"),
        ("1", "the input: a number where an object or array of a, b is wanted"),
        ("null", "the input: null where an object or array of a, b is wanted"),
        ("", "the input: null where an object or array of a, b is wanted"),
        ("[1,2] 3", "the input: not JSON: trailing characters at line 1 column 7"),
    ] {
        assert_eq!(arguments_of(&two, input).unwrap_err(), expected, "{input}");
    }
    for input in ["", "null", "[]", "{}"] {
        assert_eq!(arguments_of(&[], input).unwrap(), vec![], "{input}");
    }
    assert_eq!(arguments_of(&[], "{\"x\":1}").unwrap_err(), "the input: no parameter \"x\": the function has none");
}

#[test]
fn the_only_argument_may_stand_for_itself() {
    let numbers = Shape::List(boxed(Shape::Integer(Integer::U8)));
    let of = |name: &str, shape: &Shape, input: &str| arguments_of(&[(name, shape.clone())], input);
    let three = Ok(vec![Val::List(vec![Val::U8(1), Val::U8(2), Val::U8(3)])]);
    assert_eq!(of("numbers", &numbers, "[1,2,3]"), three);
    assert_eq!(of("numbers", &numbers, r#"{"numbers":[1,2,3]}"#), three);
    assert_eq!(
        of("numbers", &numbers, r#"{"n":[1]}"#).unwrap_err(),
        "the input: no parameter \"n\": the function has numbers"
    );
    assert_eq!(of("name", &Shape::String, "\"x\""), Ok(vec![text("x")]));
    assert_eq!(of("name", &Shape::String, "[\"x\"]"), Ok(vec![text("x")]));
    assert_eq!(of("name", &Shape::String, " {\"name\":\"x\"}"), Ok(vec![text("x")]));
    assert_eq!(of("maybe", &option(Shape::String), ""), Ok(vec![Val::Option(None)]));
    let seven = read(&size(), br#"{"width":7}"#).map(|value| vec![value]).map_err(|error| error.to_string());
    for input in [r#"{"width":7}"#, r#"{"size":{"width":7}}"#, r#"[{"width":7}]"#] {
        assert_eq!(of("size", &size(), input), seven, "{input}");
    }
    // A record that has a field of the parameter's name is always itself.
    assert!(of("width", &size(), r#"{"width":{"width":7}}"#).unwrap_err().starts_with("/width: "));
    assert_eq!(of("width", &size(), r#"{"width":7}"#), seven);
    assert!(of("size", &size(), r#"{"size":{"width":"x"}}"#).unwrap_err().starts_with("/size/width: "));
}

#[test]
fn errors_become_failures() {
    let reason = |message: &str| Val::Record(vec![("message".to_owned(), text(message))]);
    let reason_shape = || Shape::Record(vec![("message".to_owned(), Shape::String)]);
    let retry = Shape::Record(vec![
        ("reason".to_owned(), reason_shape()),
        ("delay-ms".to_owned(), option(Shape::Integer(Integer::U32))),
    ]);
    let retry_value =
        Val::Record(vec![("reason".to_owned(), reason("busy")), ("delay-ms".to_owned(), some(Val::U32(1_500)))]);
    let cases = Shape::Variant(vec![
        ("retryable".to_owned(), Some(retry)),
        ("permanent".to_owned(), Some(Shape::String)),
        ("not-found".to_owned(), Some(Shape::String)),
        ("empty".to_owned(), None),
    ]);
    let variant = |case: &str, payload: Option<Val>| Val::Variant(case.to_owned(), payload.map(Box::new));
    let table: Vec<(Shape, Val, Kind, &str, Option<Value>)> = vec![
        (Shape::String, text("no"), Kind::Returned, "no", None),
        (Shape::Integer(Integer::U8), Val::U8(7), Kind::Returned, "7", Some(json!(7))),
        (reason_shape(), reason("why"), Kind::Returned, "why", Some(json!({"message": "why"}))),
        (
            cases.clone(),
            variant("permanent", Some(text("bad"))),
            Kind::Refused,
            "bad",
            Some(json!({"permanent": "bad"})),
        ),
        (
            cases.clone(),
            variant("not-found", Some(text("cat"))),
            Kind::Returned,
            "not-found: cat",
            Some(json!({"not-found": "cat"})),
        ),
        (cases.clone(), variant("empty", None), Kind::Returned, "empty", None),
        (Shape::Enum(names(&["permanent"])), Val::Enum("permanent".to_owned()), Kind::Refused, "permanent", None),
    ];
    for (shape, value, kind, message, detail) in table {
        let failure = failure(Some((&shape, &value)));
        assert_eq!((failure.kind, failure.message.as_str(), failure.detail), (kind, message, detail), "{value:?}");
    }
    let busy = failure(Some((&cases, &variant("retryable", Some(retry_value)))));
    assert_eq!((busy.kind, busy.message.as_str(), busy.retry_after_ms), (Kind::Returned, "busy", Some(1_500)));
    assert_eq!(failure(None).message, "the task failed");
}

#[test]
fn the_schema_of_an_input_names_its_parameters() {
    let signature = Signature {
        params: vec![("size".to_owned(), size()), ("fit".to_owned(), option(Shape::Enum(names(&["whole", "crop"]))))],
        result: Some(Shape::Result { ok: Some(boxed(Shape::Bytes)), err: Some(boxed(Shape::String)) }),
    };
    let u8 = json!({"type": "integer", "minimum": 0, "maximum": 255});
    let reference = |name: &str| json!({"$ref": format!("#/$defs/{name}")});
    assert_eq!(
        schema::input(&signature),
        json!({
            "$defs": {
                "size": {
                    "type": "object",
                    "properties": {
                        "width": {"type": "integer", "minimum": 0, "maximum": u32::MAX},
                        "max-height": {"anyOf": [{"type": "null"}, u8]},
                    },
                    "required": ["width"],
                    "additionalProperties": false,
                },
                "fit": {"anyOf": [{"type": "null"}, {"enum": ["whole", "crop"]}]},
            },
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"size": reference("size"), "fit": reference("fit")},
                    "required": ["size"],
                    "additionalProperties": false,
                },
                {"type": "array", "prefixItems": [reference("size"), reference("fit")], "minItems": 1, "maxItems": 2},
            ],
        })
    );
    assert_eq!(schema::output(&signature), json!({"type": "string", "contentEncoding": "base64"}));
}
