//! Documents that are made to hurt: too large, too deep, without end.

use lovage::workflow::flow::{DEPTH_MAX, DOCUMENT_BYTES_MAX, Document};
use serde_json::{Value, json};

fn first(result: Result<Document, Vec<lovage::workflow::flow::Problem>>) -> String {
    result.err().and_then(|problems| problems.first().map(ToString::to_string)).expect("it is refused")
}

/// A node with `depth` nodes around each other, by kinds that take many levels of JSON.
fn nested(depth: usize, around: impl Fn(Value) -> Value) -> Value {
    (1..depth).fold(json!({"value": 1}), |inner, _| around(inner))
}

#[test]
fn ten_million_members_are_refused_by_their_size() {
    let text = format!("{{\"group\":[{}{{\"value\":1}}]}}", "{\"value\":1},".repeat(10_000_000));
    let refusal = "at the top: the document has 120000023 bytes; 1 MiB (1048576) is allowed";
    assert_eq!(first(Document::parse_json(text.as_bytes())), refusal);
    assert_eq!(first(Document::parse_yaml(&text)), refusal);
    assert_eq!(first(Document::parse(text.as_bytes())), refusal);
}

#[test]
fn a_document_of_just_under_a_mebibyte_is_read() {
    let node = "{\"value\":1},";
    let text = format!("{{\"group\":[{}{{\"value\":1}}]}}", node.repeat(DOCUMENT_BYTES_MAX / node.len() - 2));
    assert!(Document::parse_json(text.as_bytes()).is_ok());
    assert!(Document::parse_yaml(&text).is_ok());
}

#[test]
fn nodes_nest_to_their_bound_by_whatever_kind() {
    let kinds: [fn(Value) -> Value; 5] = [
        |inner| json!({"chain": [inner]}),
        |inner| json!({"chord": {"header": [], "body": inner}}),
        |inner| json!({"choose": [{"when": "true", "then": inner}]}),
        |inner| json!({"chord": {"header": [inner], "body": {"value": 1}}}),
        |inner| json!({"value": 1, "catch": inner}),
    ];
    for around in kinds {
        let most = json!({"flow": nested(DEPTH_MAX, around)});
        assert!(Document::from_json(&most).is_ok());
        assert!(Document::parse_json(most.to_string().as_bytes()).is_ok());
        let more = nested(DEPTH_MAX + 1, around);
        assert!(first(Document::from_json(&more)).ends_with(": nodes are nested more than 64 deep"));
    }
}

#[test]
fn ten_thousand_levels_are_refused_without_a_full_stack() {
    let deep = |levels: usize| format!("{{\"value\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    let refusal = "lists and maps are nested more than 256 levels deep";
    assert_eq!(first(Document::parse_json(deep(10_000).as_bytes())), format!("at the top: {refusal}"));
    assert!(first(Document::parse_json("[".repeat(1_000_000).as_bytes())).contains("it is not JSON: EOF"));
    assert!(first(Document::parse_yaml(&deep(10_000))).starts_with("at 1:"));
    assert!(first(Document::parse_yaml(&"- ".repeat(10_000))).ends_with(refusal));
    let chains = format!("{}{{\"value\":1}}{}", "{\"chain\":[".repeat(10_000), "]}".repeat(10_000));
    assert_eq!(first(Document::parse_json(chains.as_bytes())), format!("at the top: {refusal}"));
}

#[test]
fn a_value_that_is_too_deep_is_refused_wherever_it_comes_from() {
    let deep = nested(1_000, |inner| json!([inner]));
    assert_eq!(first(Document::from_json(&deep)), "at the top: lists and maps are nested more than 256 levels deep");
    std::mem::forget(deep);
}

#[test]
fn anchors_neither_cycle_nor_explode() {
    assert_eq!(
        first(Document::parse_yaml("chain: &a\n  - chain: *a\n")),
        "at 2:12: an alias stands inside of what it names, which would never end"
    );
    let mut bomb = "a0: &a0 {value: 1}\n".to_owned();
    for n in 1..30 {
        bomb += &format!("a{n}: &a{n} {{group: [*a{0}, *a{0}]}}\n", n - 1);
    }
    assert!(first(Document::parse_yaml(&bomb)).ends_with("the document is larger than 1 MiB"));
}

#[test]
fn anchors_that_stay_within_bounds_are_welcome() {
    let yaml = "chain:\n  - &add {task: m/add, args: [1]}\n  - *add\n  - *add\n";
    let json = r#"{"chain":[{"task":"m/add","args":[1]},{"task":"m/add","args":[1]},{"task":"m/add","args":[1]}]}"#;
    assert_eq!(
        format!("{:?}", Document::parse_yaml(yaml).unwrap()),
        format!("{:?}", Document::parse_json(json.as_bytes()).unwrap())
    );
}

#[test]
fn text_of_either_form_is_recognised() {
    for text in
        ["{\"value\": 1}", " \n{ \"value\": 1}", "{value: 1}", "value: 1", "\u{feff}value: 1", "# a flow\n{value: 1}"]
    {
        assert!(Document::parse(text.as_bytes()).is_ok(), "{text}");
    }
    assert_eq!(first(Document::parse(b"{\"value\": }")), "at 1:11: it is not JSON: expected value");
    assert_eq!(first(Document::parse(b"value: \xff")), "at the top: it is not UTF-8 text");
    assert_eq!(first(Document::parse(b"")), "at the top: the document is empty");
}
