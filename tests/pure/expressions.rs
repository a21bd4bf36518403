//! The functions and operators of expressions, one by one: what each yields, and what it refuses in which words.
#![cfg(test)]

use lovage::model::Datum;
use lovage::workflow::expression::{Template, Values, Variable};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::config;

/// The value of an expression as JSON text, or why it has none.
fn result_of(source: &str) -> String {
    let input = json!({
        "at": "2026-01-02T03:04:05.678Z", "list": [3, 1, 2], "map": {"b": 2, "a": 1}, "text": "naïve", "none": null,
    });
    let values = Values::from([(Variable::Input, Datum::of_json(&input))]);
    let template = match Template::parse(&Json::from(format!("${{{source}}}"))) {
        Ok(template) => template,
        Err(error) => return format!("refused: {}", error.message),
    };
    match template.evaluate(&values) {
        Ok(value) => String::from_utf8(value.text().to_vec()).unwrap(),
        // The expression is quoted in front of what is wrong with it.
        Err(error) => format!("fails: {}", error.message.trim_start_matches(source).trim_start_matches(": ")),
    }
}

/// Tells of all rows that differ at once.
fn yields(rows: &[(&str, &str)]) {
    let differ: Vec<String> = rows
        .iter()
        .map(|(source, expected)| (source, expected, result_of(source)))
        .filter(|(_, expected, result)| result != *expected)
        .map(|(source, expected, result)| format!("{source}\n  yields   {result}\n  expected {expected}"))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn booleans_are_made_of_words() {
    yields(&[
        ("bool('true')", "true"),
        ("bool('false')", "false"),
        ("bool(true)", "true"),
        ("bool('yes')", "fails: bool: Type conversion error from 'string' to 'bool'"),
        ("bool(1)", "fails: bool does not take (int)"),
        ("bool(null)", "fails: bool does not take (null_type)"),
        ("!true", "false"),
        ("!1", "fails: ! does not take (int)"),
        ("true && 1", "fails: && does not take (bool, int)"),
    ]);
}

#[test]
fn integers_are_made_of_numbers_texts_and_times() {
    yields(&[
        ("int('-5')", "-5"),
        ("int('9223372036854775807')", "9223372036854775807"),
        ("int('9223372036854775808')", "fails: int: string parse error: number too large to fit in target type"),
        ("int('')", "fails: int: string parse error: cannot parse integer from empty string"),
        ("int(' 1')", "fails: int: string parse error: invalid digit found in string"),
        ("int('1.5')", "fails: int: string parse error: invalid digit found in string"),
        ("int(2.9)", "2"),
        ("int(-2.9)", "-2"),
        ("int(9.3e18)", "fails: int: integer overflow"),
        ("int(-9.3e18)", "fails: int: integer overflow"),
        ("int(0.0 / 0.0)", "fails: int: integer overflow"),
        ("int(7u)", "7"),
        ("int(18446744073709551615u)", "fails: int: integer overflow"),
        ("int(timestamp(input.at))", "1767323045"),
        ("int(true)", "fails: int does not take (bool)"),
        ("int([1])", "fails: int does not take (list)"),
        ("uint('7')", "7"),
        ("uint(2.9)", "2"),
        ("uint(-1)", "fails: uint: unsigned integer overflow"),
        ("uint(-1.0)", "fails: uint: unsigned integer overflow"),
        ("uint('-1')", "fails: uint: string parse error: invalid digit found in string"),
        ("uint(18446744073709551615u)", "18446744073709551615"),
        ("uint('18446744073709551616')", "fails: uint: string parse error: number too large to fit in target type"),
    ]);
}

#[test]
fn doubles_are_made_of_numbers_and_texts() {
    yields(&[
        ("double(1)", "1.0"),
        ("double(3u)", "3.0"),
        ("double('1.5')", "1.5"),
        ("double('1e3')", "1000.0"),
        ("double('x')", "fails: double: string parse error: invalid float literal"),
        ("double('')", "fails: double: string parse error: cannot parse float from empty string"),
        ("double(true)", "fails: double does not take (bool)"),
        ("double('NaN')", "fails: NaN and infinity are no JSON"),
        ("double('inf')", "fails: NaN and infinity are no JSON"),
        ("-double('0')", "-0.0"),
        ("1e999", "refused: 1e999: invalid double literal (at 1:1)"),
    ]);
}

#[test]
fn texts_are_made_of_what_has_a_text() {
    yields(&[
        ("string(-1)", "\"-1\""),
        ("string(7u)", "\"7\""),
        ("string(1.5)", "\"1.5\""),
        ("string(1.0)", "\"1\""),
        ("string(true)", "\"true\""),
        ("string('é')", "\"é\""),
        ("string(b'\\xc3\\xa9')", "\"é\""),
        ("string(b'\\xff')", "fails: string: invalid UTF-8 in bytes, cannot convert to string"),
        ("string(timestamp(input.at))", "\"2026-01-02T03:04:05.678Z\""),
        ("string(duration('90s'))", "\"90s\""),
        ("string(null)", "fails: string does not take (null_type)"),
        ("string([1])", "fails: string does not take (list)"),
        ("string({})", "fails: string does not take (map)"),
        ("size(bytes('é'))", "2"),
        ("bytes('a') == b'a'", "true"),
        ("bytes(1)", "fails: bytes does not take (int)"),
        ("size(b'\\x00abc')", "4"),
    ]);
}

#[test]
fn sizes_count_characters_bytes_items_and_keys() {
    yields(&[
        ("size('')", "0"),
        ("size('👍é')", "2"),
        ("input.text.size()", "5"),
        ("size([])", "0"),
        ("input.list.size()", "3"),
        ("size(input.map)", "2"),
        ("size(null)", "fails: size does not take (null_type)"),
        ("size(true)", "fails: size does not take (bool)"),
        ("input.none.size()", "fails: size does not take (null_type)"),
        ("duration('1s').size()", "fails: size does not take (duration)"),
    ]);
}

#[test]
fn texts_are_searched_by_part_and_by_pattern() {
    yields(&[
        ("'abc'.contains('')", "true"),
        ("'abc'.contains('bc')", "true"),
        ("'abc'.contains('B')", "false"),
        ("'abc'.startsWith('ab')", "true"),
        ("'abc'.startsWith('abcd')", "false"),
        ("'abc'.endsWith('bc')", "true"),
        ("'abc'.endsWith('')", "true"),
        ("'abc'.contains(1)", "fails: contains does not take (string, int)"),
        ("'abc'.startsWith(null)", "fails: startsWith does not take (string, null_type)"),
        ("[1].endsWith('a')", "fails: endsWith does not take (list, string)"),
        ("1.contains('a')", "fails: contains does not take (int, string)"),
        ("'order-17'.matches('[0-9]+')", "true"),
        ("'order-17'.matches('^[0-9]+$')", "false"),
        ("matches('É', '(?i)é')", "true"),
        ("matches('a\\nb', 'a.b')", "false"),
        ("matches('a\\nb', '(?s)a.b')", "true"),
        ("matches('', '')", "true"),
        ("matches(1, 'a')", "fails: matches does not take (int, string)"),
        ("'a'.matches(1)", "fails: matches does not take (string, int)"),
        ("'a'.matches('[')", "fails: matches: error: unclosed character class"),
        ("'a'.matches('(a)\\\\1')", "fails: matches: error: backreferences are not supported"),
        (
            "'a'.matches('a(?=b)')",
            "fails: matches: error: look-around, including look-ahead and look-behind, is not supported",
        ),
    ]);
}

#[test]
fn a_point_in_time_is_told_in_parts() {
    yields(&[
        // A Friday. Days of the month and of the year, and months, count from 0 as CEL has it; a date from 1.
        ("timestamp(input.at).getFullYear()", "2026"),
        ("timestamp(input.at).getMonth()", "0"),
        ("timestamp(input.at).getDate()", "2"),
        ("timestamp(input.at).getDayOfMonth()", "1"),
        ("timestamp(input.at).getDayOfYear()", "1"),
        ("timestamp(input.at).getDayOfWeek()", "5"),
        ("timestamp('2026-01-04T00:00:00Z').getDayOfWeek()", "0"),
        ("timestamp(input.at).getHours()", "3"),
        ("timestamp(input.at).getMinutes()", "4"),
        ("timestamp(input.at).getSeconds()", "5"),
        ("timestamp(input.at).getMilliseconds()", "678"),
        ("timestamp('2028-12-31T23:59:59Z').getDayOfYear()", "365"),
        ("timestamp(input.at).getHours('Asia/Tokyo')", "12"),
        ("timestamp('2026-01-01T23:30:00Z').getDate('Europe/Berlin')", "2"),
        ("timestamp('2026-07-01T00:30:00Z').getHours('Europe/Berlin')", "2"),
        ("timestamp('2026-12-31T20:00:00Z').getFullYear('+05:30')", "2027"),
        ("timestamp(input.at).getHours('Mars/Phobos')", "fails: timezone: unknown time zone Mars/Phobos"),
        ("timestamp(input.at).getHours(1)", "fails: getHours does not take (timestamp, int)"),
        ("input.at.getHours()", "fails: getHours does not take (string)"),
        (
            "timestamp(input.at).getHours('a', 'b')",
            "refused: timestamp(input.at).getHours('a', 'b'): getHours does not take 2 arguments like this",
        ),
    ]);
}

#[test]
fn points_in_time_are_written_in_utc() {
    yields(&[
        ("timestamp('2026-01-02T03:04:05Z')", "\"2026-01-02T03:04:05Z\""),
        ("timestamp('2026-01-02T03:04:05+02:00')", "\"2026-01-02T01:04:05Z\""),
        ("timestamp('2026-01-02T03:04:05.5Z')", "\"2026-01-02T03:04:05.5Z\""),
        ("timestamp('2028-02-29T00:00:00Z')", "\"2028-02-29T00:00:00Z\""),
        ("timestamp('2026-02-29T00:00:00Z')", "fails: timestamp: input is out of range"),
        ("timestamp('2026-01-02')", "fails: timestamp: premature end of input"),
        ("timestamp('soon')", "fails: timestamp: premature end of input"),
        ("timestamp('')", "fails: timestamp: premature end of input"),
        ("timestamp(0)", "\"1970-01-01T00:00:00Z\""),
        ("timestamp(true)", "fails: timestamp does not take (bool)"),
        ("timestamp('10000-01-01T00:00:00Z')", "fails: timestamp: input contains invalid characters"),
        ("timestamp('9999-12-31T23:59:59Z') + duration('1s')", "fails: the result of + is out of range"),
        ("timestamp('0001-01-01T00:00:00Z') - duration('1s')", "fails: the result of - is out of range"),
    ]);
}

#[test]
fn lengths_of_time_are_written_in_seconds() {
    yields(&[
        ("duration('1.5s')", "\"1.5s\""),
        ("duration('-1h')", "\"-3600s\""),
        ("duration('100ms')", "\"0.1s\""),
        ("duration('1h1m1s1ms')", "\"3661.001s\""),
        ("duration('0s')", "\"0s\""),
        ("duration('1ns')", "\"0.000000001s\""),
        ("duration('1d')", "fails: duration: it takes numbers with the units h, m, s, ms, us and ns, as in 1h30m"),
        ("duration('1')", "fails: duration: it takes numbers with the units h, m, s, ms, us and ns, as in 1h30m"),
        ("duration('')", "fails: duration: it takes numbers with the units h, m, s, ms, us and ns, as in 1h30m"),
        ("duration('h')", "fails: duration: it takes numbers with the units h, m, s, ms, us and ns, as in 1h30m"),
        ("duration(1)", "fails: duration does not take (int)"),
        ("duration('90m').getHours()", "1"),
        ("duration('90m').getMinutes()", "90"),
        ("duration('90m').getSeconds()", "5400"),
        ("duration('1.234s').getMilliseconds()", "1234"),
        ("duration('1h').getDate()", "fails: getDate does not take (duration)"),
    ]);
}

#[test]
fn times_are_counted_with() {
    yields(&[
        ("timestamp('2026-03-01T00:00:00Z') - timestamp('2026-02-01T00:00:00Z')", "\"2419200s\""),
        ("timestamp('2026-01-01T00:00:00Z') + duration('36h')", "\"2026-01-02T12:00:00Z\""),
        ("duration('36h') + timestamp('2026-01-01T00:00:00Z')", "\"2026-01-02T12:00:00Z\""),
        ("duration('1h') - duration('90m')", "\"-1800s\""),
        ("duration('60s') == duration('1m')", "true"),
        ("duration('61s') > duration('1m')", "true"),
        ("timestamp('2026-01-01T00:00:00Z') < timestamp('2026-01-01T00:00:00.001Z')", "true"),
        ("timestamp('2026-01-01T01:00:00+01:00') == timestamp('2026-01-01T00:00:00Z')", "true"),
        (
            "timestamp('2026-01-01T00:00:00Z') + timestamp('2026-01-01T00:00:00Z')",
            "fails: + does not take (timestamp, timestamp)",
        ),
        ("duration('1h') * 2", "fails: * does not take (duration, int)"),
        ("timestamp('2026-01-01T00:00:00Z') + 1", "fails: + does not take (timestamp, int)"),
        ("duration('1h') - timestamp('2026-01-01T00:00:00Z')", "fails: - does not take (duration, timestamp)"),
        ("-duration('1h')", "fails: - does not take (duration)"),
    ]);
}

#[test]
fn numbers_are_counted_with_and_never_wrap() {
    yields(&[
        ("-5 / 2", "-2"),
        ("-5 % 2", "-1"),
        ("5 % -2", "1"),
        ("7 / 2.0", "fails: / does not take (int, double)"),
        ("7.0 / 2.0", "3.5"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("2u * 3u", "6"),
        ("2u * 3", "fails: * does not take (uint, int)"),
        ("7u - 8u", "fails: the result of - is out of range"),
        ("18446744073709551615u + 1u", "fails: the result of + is out of range"),
        ("9223372036854775807 * 2", "fails: the result of * is out of range"),
        ("-9223372036854775808 - 1", "fails: the result of - is out of range"),
        ("-(-9223372036854775808)", "fails: the result of - is out of range"),
        ("-9223372036854775808 / -1", "fails: the result of / is out of range"),
        ("9223372036854775808", "refused: 9223372036854775808: invalid int literal (at 1:1)"),
        ("1u / 0u", "fails: division by zero"),
        ("1u % 0u", "fails: division by zero"),
        ("5.0 % 2.0", "fails: % does not take (double, double)"),
        ("-1.0 / 0.0", "fails: NaN and infinity are no JSON"),
        ("-(1u)", "fails: - does not take (uint)"),
        ("-'a'", "fails: - does not take (string)"),
        ("0x1F + 1", "32"),
        ("1 + null", "fails: + does not take (int, null)"),
    ]);
}

#[test]
fn what_is_equal_and_what_is_less() {
    yields(&[
        ("1 == 1.0", "true"),
        ("1 == 1u", "true"),
        ("1 == '1'", "false"),
        ("null == false", "false"),
        ("[1, [2]] == [1, [2]]", "true"),
        ("[1, 2] == [2, 1]", "false"),
        ("{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", "true"),
        ("{'a': 1} != {'a': 2}", "true"),
        ("input.map == {'a': 1, 'b': 2}", "true"),
        ("1 < 1.5", "true"),
        ("-1 < 1u", "true"),
        ("'Z' < 'a'", "true"),
        ("'é' > 'z'", "true"),
        ("b'a' < b'b'", "true"),
        ("false < true", "true"),
        ("0.0 == -0.0", "true"),
        ("0.0 / 0.0 == 0.0 / 0.0", "false"),
        ("null < 1", "fails: < does not take (null_type, int)"),
        ("'a' < 1", "fails: < does not take (string, int)"),
        ("[1] < [2]", "fails: < does not take (list, list)"),
        ("type(1) == type(1.0)", "false"),
        ("type(null) == null_type", "true"),
        ("type(input.list) == list && type(input.map) == map && type(b'') == bytes", "true"),
        ("type(type(1)) == type", "true"),
        ("dyn(1) == 1", "true"),
    ]);
}

#[test]
fn what_decides_is_enough() {
    yields(&[
        ("false && 1 / 0 > 0", "false"),
        ("1 / 0 > 0 && false", "false"),
        ("true || 1 / 0 > 0", "true"),
        ("1 / 0 > 0 || true", "true"),
        ("1 / 0 > 0 || false", "fails: division by zero"),
        ("true && 1 / 0 > 0", "fails: division by zero"),
        ("true ? 1 : 1 / 0", "1"),
        ("false ? 1 / 0 : 2", "2"),
        ("null ? 1 : 2", "fails: it needs bool, and this is null_type"),
        ("'a' ? 1 : 2", "fails: it needs bool, and this is string"),
        ("1 / 0 > 0 ? 1 : 2", "fails: division by zero"),
        ("true ? 'a' : 1", "\"a\""),
    ]);
}

#[test]
fn members_are_found_by_key_and_by_number() {
    yields(&[
        ("input.list[0]", "3"),
        ("input.list[-1]", "fails: index -1 is out of bounds"),
        ("input.list[3]", "fails: index 3 is out of bounds"),
        ("input.list['a']", "fails: [] does not take (list, string)"),
        ("input.list.a", "fails: . does not take (list, string)"),
        ("input.map['a']", "1"),
        ("input.map['c']", "fails: no such key: c"),
        ("input.map[0]", "fails: no such key: 0"),
        ("{1: 'a'}[1]", "\"a\""),
        ("{true: 'a'}[true]", "\"a\""),
        ("{1u: 'a'}[1]", "\"a\""),
        ("input.text[0]", "fails: [] does not take (string, int)"),
        ("input.none.a", "fails: . does not take (null_type, string)"),
        ("input.none['a']", "fails: [] does not take (null_type, string)"),
        ("'a' in input.map", "true"),
        ("'c' in input.map", "false"),
        ("2 in input.list", "true"),
        ("2.0 in input.list", "true"),
        ("'2' in input.list", "false"),
        ("'a' in 'abc'", "fails: in does not take (string, string)"),
        ("1 in null", "fails: in does not take (int, null_type)"),
        ("has(input.none)", "true"),
        ("has(input.gone)", "false"),
        ("has(input.map.a)", "true"),
        ("has(input.gone.a)", "fails: no such key: gone"),
        ("has(input.list.a)", "fails: . does not take (list, string)"),
        ("has(input)", "refused: has(input): invalid argument to has() macro (at 1:5)"),
        ("[1, 2] + [3]", "[1,2,3]"),
        ("[] + []", "[]"),
        ("[1] + 1", "fails: + does not take (list, int)"),
        ("{'a': 1} + {'b': 2}", "fails: + does not take (map, map)"),
    ]);
}

#[test]
fn lists_and_maps_are_gone_over() {
    yields(&[
        ("[].all(x, x > 0)", "true"),
        ("[].exists(x, x > 0)", "false"),
        ("[].exists_one(x, x > 0)", "false"),
        ("[].map(x, x)", "[]"),
        ("input.list.all(x, x > 1)", "false"),
        ("input.list.exists(x, x > 2)", "true"),
        ("input.list.exists_one(x, x > 1)", "false"),
        ("input.list.exists_one(x, x > 2)", "true"),
        ("input.list.existsOne(x, x > 2)", "true"),
        ("input.list.filter(x, x != 1)", "[3,2]"),
        ("input.list.map(x, x * x)", "[9,1,4]"),
        ("input.list.map(x, x > 1, string(x))", "[\"3\",\"2\"]"),
        ("input.map.map(k, input.map[k])", "[1,2]"),
        ("input.map.filter(k, k > 'a')", "[\"b\"]"),
        ("input.map.all(k, k < 'c')", "true"),
        ("input.list.map(x, x + 'a')", "fails: + does not take (int, string)"),
        ("input.list.filter(x, x)", "fails: it needs bool, and this is int"),
        ("input.list.all(x, x)", "fails: && does not take (bool, int)"),
        ("input.text.map(c, c)", "fails: it needs iterable, and this is string"),
        ("input.none.filter(x, true)", "fails: it needs iterable, and this is null_type"),
        ("[0, 1].all(x, 1 / x > 1)", "false"),
        ("[0, 1].exists(x, 1 / x == 1)", "true"),
        ("[0, 2].exists(x, 1 / x == 1)", "fails: division by zero"),
        ("input.list.map(x, input.list.filter(y, y < x).size())", "[2,0,1]"),
    ]);
}

#[test]
fn texts_are_quoted_in_every_form_of_cel() {
    yields(&[
        (r"'\u00e9\n\t\\'", r#""é\n\t\\""#),
        (r"'\U0001F44D'", "\"👍\""),
        (r"'\x41\101'", "\"AA\""),
        (r"r'\n'", r#""\\n""#),
        (r#""it's""#, "\"it's\""),
        (r#"'say "x"'"#, r#""say \"x\"""#),
        ("'''a'b'''", "\"a'b\""),
        ("'a' + 'b' + \"c\"", "\"abc\""),
        (r"'\q'", "refused: '\\q': unable to unescape string (at 1:1)"),
        (r"'\ud800'", "refused: '\\ud800': invalid unicode code point (at 1:1)"),
        ("'\\u00e9' == 'é'", "true"),
    ]);
}

/// What an expression over `input` comes to, or its error.
fn over(input: &Json, source: &str) -> Result<Json, String> {
    let values = Values::from([(Variable::Input, Datum::of_json(input))]);
    let template = Template::parse(&Json::from(format!("${{{source}}}"))).unwrap();
    template.evaluate(&values).map(|value| value.to_json().unwrap()).map_err(|error| error.message)
}

/// Whole numbers of all sizes, those at the edges among them.
fn whole() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -20..20_i64, Just(i64::MIN), Just(i64::MAX)]
}

proptest! {
    #![proptest_config(config())]

    /// Integers are those of Rust: exact, or out of range.
    #[test]
    fn integers_are_counted_with_as_the_machine_does(one in whole(), other in whole()) {
        let input = json!({"a": one, "b": other});
        for (source, expected) in [
            ("input.a + input.b", one.checked_add(other)),
            ("input.a - input.b", one.checked_sub(other)),
            ("input.a * input.b", one.checked_mul(other)),
            ("input.a / input.b", one.checked_div(other)),
            ("input.a % input.b", one.checked_rem(other)),
            ("-input.a", one.checked_neg()),
        ] {
            match (over(&input, source), expected) {
                (Ok(value), Some(expected)) => prop_assert_eq!(value, json!(expected), "{}", source),
                (Err(told), None) if other == 0 => prop_assert!(told.ends_with("division by zero"), "{}", told),
                (Err(told), None) => prop_assert!(told.ends_with("is out of range"), "{}", told),
                (value, expected) => prop_assert!(false, "{} of {}: {:?}, not {:?}", source, input, value, expected),
            }
        }
        let compared = over(&input, "[input.a < input.b, input.a <= input.b, input.a == input.b, input.a != input.b]");
        prop_assert_eq!(compared, Ok(json!([one < other, one <= other, one == other, one != other])));
    }

    #[test]
    fn texts_are_looked_into_as_rust_does(text in "[abé👍]{0,6}", part in "[abé👍]{0,2}") {
        let input = json!({"text": text, "part": part});
        let all = "[input.text.contains(input.part), input.text.startsWith(input.part), input.text.endsWith(input.part)]";
        let expected = json!([text.contains(&part), text.starts_with(&part), text.ends_with(&part)]);
        prop_assert_eq!(over(&input, all), Ok(expected));
        prop_assert_eq!(over(&input, "size(input.text)"), Ok(json!(text.chars().count())));
        prop_assert_eq!(over(&input, "size(bytes(input.text))"), Ok(json!(text.len())));
        prop_assert_eq!(over(&input, "input.text + input.part"), Ok(json!(format!("{text}{part}"))));
        prop_assert_eq!(over(&input, "string(bytes(input.text)) == input.text"), Ok(json!(true)));
    }

    #[test]
    fn lists_are_gone_over_as_iterators_do(list in prop::collection::vec(-9..9_i64, 0..8), than in -9..9_i64) {
        let input = json!({"list": list, "than": than});
        let more: Vec<i64> = list.iter().copied().filter(|item| *item > than).collect();
        for (source, expected) in [
            ("input.list.filter(x, x > input.than)", json!(more)),
            ("input.list.map(x, x > input.than, x * 2)", json!(more.iter().map(|item| item * 2).collect::<Vec<_>>())),
            ("input.list.all(x, x > input.than)", json!(more.len() == list.len())),
            ("input.list.exists(x, x > input.than)", json!(!more.is_empty())),
            ("input.list.exists_one(x, x > input.than)", json!(more.len() == 1)),
            ("input.than in input.list", json!(list.contains(&than))),
            ("size(input.list + [input.than])", json!(list.len() + 1)),
        ] {
            prop_assert_eq!(over(&input, source), Ok(expected), "{}", source);
        }
    }
}
