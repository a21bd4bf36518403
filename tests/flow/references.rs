//! Names of steps, and which of them can have run where they are read.

use crate::{accepted, problems};

/// A node that reads `steps.<name>`.
fn reads(name: &str) -> String {
    format!("{{value: '${{steps.{name}}}'}}")
}

/// Checks a list of documents in which `READ` stands for a node that reads `steps.a`.
fn check(table: &[(&str, Option<&str>)]) {
    for (yaml, refused) in table {
        let yaml = yaml.replace("READ", &reads("a"));
        let expected: Vec<String> = refused.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(problems(&yaml), expected, "{yaml}");
    }
}

#[test]
fn what_stands_earlier_in_a_chain_can_have_run() {
    check(&[
        ("chain: [{value: 1, name: a}, READ]", None),
        ("chain: [{value: 1, name: a}, {group: [READ, {chain: [READ]}]}]", None),
        ("chain: [{chain: [{group: [{value: 1, name: a}, {value: 2}]}]}, READ]", None),
        ("chain: [{value: 1, name: a}, {map: {chain: [READ, {loop: READ, while: 'false', max: 1}]}}]", None),
        ("chord: {header: [{value: 1, name: a}], body: READ}", None),
        ("chain: [{choose: [{when: true, then: {value: 1, name: a}}]}, READ]", None),
        ("chain: [{choose: [], else: {value: 1, name: a}}, READ]", None),
        ("chain: [{value: 1, catch: {value: 1, name: a}}, READ]", None),
        (
            "chain: [{value: 1, name: a}, {task: m/t, args: [1, '${steps.a}'], limit_key: '${steps.a}', idempotency_key: '${steps.a}'}]",
            None,
        ),
        ("chain: [{value: 1, name: a}, {sleep: '${steps.a}s'}, {choose: [{when: steps.a > 1, then: READ}]}]", None),
        (
            "chain: [{value: 1, name: a}, {map: {value: 1}, over: '${steps.a}'}, {value: 1, input: '${steps[\"a\"]}'}]",
            None,
        ),
    ]);
}

#[test]
fn later_and_neighbouring_steps_cannot_have_run() {
    check(&[
        (
            "chain: [READ, {value: 1, name: a}]",
            Some("at /chain/0/value: steps.a, at /chain/1, cannot have run before this"),
        ),
        (
            "chain: [{value: 1}, {map: READ}, {value: 1, name: a}]",
            Some("at /chain/1/map/value: steps.a, at /chain/2, cannot have run before this"),
        ),
        (
            "group: [{value: 1, name: a}, READ]",
            Some("at /group/1/value: steps.a, at /group/0, cannot have run before this"),
        ),
        (
            "chord: {header: [{value: 1, name: a}, READ], body: {value: 1}}",
            Some("at /chord/header/1/value: steps.a, at /chord/header/0, cannot have run before this"),
        ),
        (
            "chord: {header: [READ], body: {value: 1, name: a}}",
            Some("at /chord/header/0/value: steps.a, at /chord/body, cannot have run before this"),
        ),
        (
            "choose: [{when: true, then: {value: 1, name: a}}, {when: true, then: READ}]",
            Some("at /choose/1/then/value: steps.a, at /choose/0/then, cannot have run before this"),
        ),
        (
            "choose: [{when: steps.a > 1, then: {value: 1, name: a}}]",
            Some("at /choose/0/when: steps.a, at /choose/0/then, cannot have run before this"),
        ),
        ("{value: '${steps.a}', name: a}", Some("at /value: steps.a, at the top, cannot have run before this")),
        ("{chain: [READ], name: a}", Some("at /chain/0/value: steps.a, at the top, cannot have run before this")),
        (
            "{chain: [{value: 1, name: a}], input: '${steps.a}'}",
            Some("at /input: steps.a, at /chain/0, cannot have run before this"),
        ),
    ]);
}

#[test]
fn names_that_nobody_has_are_told() {
    check(&[
        ("READ", Some("at /value: there is no step \"a\" that is seen from here")),
        (
            "chain: [{value: 1, name: load}, {value: '${steps.laod}'}]",
            Some("at /chain/1/value: there is no step \"laod\" that is seen from here (did you mean \"load\"?)"),
        ),
        (
            "chain: [{value: 1}, {task: m/t, args: [{b: ['${steps.a}']}]}]",
            Some("at /chain/1/args/0: there is no step \"a\" that is seen from here"),
        ),
    ]);
}

#[test]
fn bodies_open_scopes_that_see_those_around_them() {
    check(&[
        (
            "chain: [{map: {value: 1, name: a}}, READ]",
            Some("at /chain/1/value: there is no step \"a\" that is seen from here"),
        ),
        ("chain: [{map: {chain: [{value: 1, name: a}, READ]}}]", None),
        (
            "loop: {chain: [READ, {value: 1, name: a}]}\nwhile: 'true'\nmax: 3",
            Some("at /loop/chain/0/value: steps.a, at /loop/chain/1, cannot have run before this"),
        ),
        (
            "loop: {value: 1, name: a}\nwhile: steps.a > 1\nmax: 3",
            Some("at /while: there is no step \"a\" that is seen from here"),
        ),
        (
            "poll: {value: 1, name: a}\nuntil: steps.a > 1\nevery: 1s\ntimeout: 1m",
            Some("at /until: there is no step \"a\" that is seen from here"),
        ),
        // The inner a hides the outer one, before it has run too.
        (
            "chain: [{value: 1, name: a}, {map: {chain: [READ, {value: 2, name: a}]}}]",
            Some("at /chain/1/map/chain/0/value: steps.a, at /chain/1/map/chain/1, cannot have run before this"),
        ),
        ("chain: [{value: 1, name: a}, {map: {chain: [{value: 2, name: a}, READ]}}, READ]", None),
    ]);
}

#[test]
fn a_name_stands_once_in_its_scope() {
    check(&[
        (
            "chain: [{value: 1, name: a}, {value: 2, name: a}]",
            Some("at /chain/1/name: the name \"a\" is taken by the node at /chain/0"),
        ),
        (
            "{value: 1, name: a, catch: {value: 2, name: a}}",
            Some("at /catch/name: the name \"a\" is taken by the node at the top"),
        ),
        (
            "choose: [{when: true, then: {value: 1, name: a}}]\nelse: {value: 1, name: a}",
            Some("at /else/name: the name \"a\" is taken by the node at /choose/0/then"),
        ),
        (
            "map: {group: [{value: 1, name: a}, {value: 2, name: a}]}",
            Some("at /map/group/1/name: the name \"a\" is taken by the node at /map/group/0"),
        ),
        (
            "group: [{map: {value: 1, name: a}}, {starmap: {value: 1, name: a}}, {chunks: {value: [], name: a}, size: 1}, {value: 1, name: a}]",
            None,
        ),
    ]);
}

#[test]
fn handlers_see_what_their_node_saw_and_what_is_inside_of_it() {
    check(&[
        (
            "chain: [{value: 1, name: a}, {value: 1, catch: READ, compensate: READ, on_success: READ, on_failure: READ}]",
            None,
        ),
        ("{chain: [{value: 1, name: a}], catch: READ, compensate: READ, on_success: READ, on_failure: READ}", None),
        ("{value: 1, name: a, compensate: READ, on_success: READ}", None),
        ("{value: 1, name: a, catch: READ}", Some("at /catch/value: steps.a, at the top, cannot have run before this")),
        (
            "{value: 1, name: a, on_failure: READ}",
            Some("at /on_failure/value: steps.a, at the top, cannot have run before this"),
        ),
        (
            "chain: [{value: 1, on_success: {value: 1, name: a}}, READ]",
            Some("at /chain/1/value: steps.a, at /chain/0/on_success, cannot have run before this"),
        ),
        (
            "chain: [{value: 1, on_failure: {value: 1, name: a}}, READ]",
            Some("at /chain/1/value: steps.a, at /chain/0/on_failure, cannot have run before this"),
        ),
        (
            "chain: [{value: 1, compensate: {value: 1, name: a}}, READ]",
            Some("at /chain/1/value: steps.a, at /chain/0/compensate, cannot have run before this"),
        ),
        ("chain: [{value: 1, compensate: {chain: [{value: 1, name: a}, READ]}}]", None),
        (
            "chain: [{value: 1, catch: READ}, {value: 1, name: a}]",
            Some("at /chain/0/catch/value: steps.a, at /chain/1, cannot have run before this"),
        ),
    ]);
}

#[test]
fn item_index_and_error_are_known_where_they_are() {
    check(&[
        ("map: {value: '${item} ${index}'}", None),
        ("map: {group: [{loop: {value: '${item} ${index}'}, while: item > index, max: 3}]}", None),
        ("loop: {value: '${index}'}\nwhile: index < 3\nmax: 3", None),
        ("{value: 1, catch: {value: '${error.kind}'}, on_failure: {chain: [{value: '${error.message}'}]}}", None),
        ("value: '${run.id} ${run.started_at} ${input} ${prev}'", None),
        ("value: '${item}'", Some("at /value: item is only known inside of map, starmap and chunks")),
        ("{map: {value: 1}, over: '${item}'}", Some("at /over: item is only known inside of map, starmap and chunks")),
        (
            "{loop: {value: '${item}'}, while: 'false', max: 1}",
            Some("at /loop/value: item is only known inside of map, starmap and chunks"),
        ),
        ("{poll: {value: '${index}'}, until: 'true', every: 1s, timeout: 1m}", None),
        ("{poll: {value: 1}, until: index > 1, every: 1s, timeout: 1m}", None),
        (
            "{map: {value: 1}, catch: {value: '${index}'}}",
            Some("at /catch/value: index is only known inside of map, starmap, chunks, loop and poll"),
        ),
        (
            "{value: '${error}', catch: {value: 1}}",
            Some("at /value: error is only known inside of catch and on_failure"),
        ),
        (
            "{value: 1, on_success: {value: '${error}'}}",
            Some("at /on_success/value: error is only known inside of catch and on_failure"),
        ),
        (
            "{value: 1, compensate: {value: '${error}'}}",
            Some("at /compensate/value: error is only known inside of catch and on_failure"),
        ),
    ]);
}

#[test]
fn expressions_that_cannot_be_read_are_told_at_their_string() {
    for (yaml, place) in [
        ("value: {a: [1, '${prev +}']}", "at /value/a/1: "),
        ("{task: m/t, args: [1, {'b/c': '${)}'}]}", "at /args/1/b~1c: "),
        ("choose: [{when: prev >, then: {value: 1}}]", "at /choose/0/when: "),
        ("{sleep: '${'}", "at /sleep: "),
        ("{value: 1, input: '${nobody.knows}'}", "at /input: "),
    ] {
        let told = problems(yaml);
        assert!(told.len() == 1 && told[0].starts_with(place) && !told[0].contains('\n'), "{told:?}");
    }
}

#[test]
fn large_documents_are_checked_in_time() {
    // Each of many steps reads one of many others: slow only if the check looks through all of them.
    let steps: Vec<String> =
        (1..8_000).map(|n| format!("{{\"value\":\"${{steps.a{}}}\",\"name\":\"a{n}\"}}", n - 1)).collect();
    accepted(&format!("{{\"chain\":[{{\"value\":1,\"name\":\"a0\"}},{}]}}", steps.join(",")));
    let nested = (0..20).fold(
        format!(
            "{{\"group\":[{}]}}",
            steps.iter().map(|s| s.replace("${steps", "$${steps")).collect::<Vec<_>>().join(",")
        ),
        |inner, _| format!("{{\"group\":[{inner}]}}"),
    );
    accepted(&nested);
}
