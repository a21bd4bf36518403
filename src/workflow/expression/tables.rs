#![cfg(test)]
//! What templates yield, and what is refused: tables, and the properties that hold for all of them.

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::super::{Expression, Template, Values, Variable};
    use crate::model::{Datum, Digest};

    fn step(name: &str) -> Variable {
        Variable::Step(name.parse().unwrap())
    }

    /// Values that most rows of the tables share.
    fn values() -> Values {
        let prev = json!({
            "total": 3, "name": "ada", "items": [{"n": 1, "tag": "a"}, {"n": 2, "tag": "b"}, {"n": 3, "tag": "a"}],
            "big": 9_007_199_254_740_993_i64, "huge": u64::MAX, "half": 0.5, "none": null, "odd key": true, "yes": true,
            "text": "a \"quoted\" ${text}",
        });
        Values::from([
            (Variable::Prev, Datum::of_json(&prev)),
            (Variable::Input, Datum::of_json(&json!({"to": "bob", "limit": 2}))),
            (step("load"), Datum::of_json(&json!([10, 20, 30]))),
            (Variable::Index, Datum::of_json(&json!(7))),
            (Variable::Item, Datum::of_json(&json!("it"))),
            (Variable::RunId, Datum::of_json(&json!("01j0000000000000000000000a"))),
            (Variable::RunStartedAt, Datum::of_json(&json!("2026-01-02T03:04:05Z"))),
        ])
    }

    fn evaluate(template: &Json) -> Result<Json, String> {
        let template = Template::parse(template).map_err(|error| error.to_string())?;
        let datum = template.evaluate(&values()).map_err(|error| error.to_string())?;
        Ok(datum.to_json().expect("a template of whole values yields a whole value"))
    }

    #[test]
    fn templates_yield_what_they_say() {
        let table = [
            // Literals and escapes.
            (json!("plain"), json!("plain")),
            (json!({"a": [1, 2.5, null, true, "$5 and $$"]}), json!({"a": [1, 2.5, null, true, "$5 and $$"]})),
            (json!("$${prev}"), json!("${prev}")),
            (json!("$$${prev.total}"), json!("$${prev.total}")),
            (json!("$$ ${prev.total}"), json!("$$ 3")),
            (json!({"${prev.total}": 1}), json!({"${prev.total}": 1})),
            // Values keep their types.
            (json!("${prev.total}"), json!(3)),
            (json!("${ prev.total }"), json!(3)),
            (json!("${prev.total + 1}"), json!(4)),
            (json!("${prev.big + 1}"), json!(9_007_199_254_740_994_i64)),
            (json!("${prev.big}"), json!(9_007_199_254_740_993_i64)),
            (json!("${prev.huge}"), json!(18_446_744_073_709_551_615.0)),
            (json!("${prev.half * 4.0}"), json!(2.0)),
            (json!("${uint(3)}"), json!(3)),
            (json!("${prev.none}"), json!(null)),
            (json!("${prev['odd key']}"), json!(true)),
            (json!("${steps.load[1]}"), json!(20)),
            (json!("${steps['load'] + [40]}"), json!([10, 20, 30, 40])),
            (json!("${steps[\"load\"].size()}"), json!(3)),
            (json!("${index + 1}"), json!(8)),
            (json!("${run.id}"), json!("01j0000000000000000000000a")),
            (json!("${error}"), json!(null)),
            (json!("${error == null}"), json!(true)),
            (json!(["${prev.total}", {"deep": "${input.to}"}]), json!([3, {"deep": "bob"}])),
            // Texts.
            (json!("to ${input.to}: ${prev.total}"), json!("to bob: 3")),
            (json!("${input.to}${prev.total}"), json!("bob3")),
            (json!("list ${steps.load}, ${prev.none}, ${prev.yes}"), json!("list [10,20,30], null, true")),
            (json!("${prev.text}!"), json!("a \"quoted\" ${text}!")),
            // Braces and quotes in the expression.
            (json!("${ {\"a\": \"}\"}.a }"), json!("}")),
            (json!("x${ {'a': '}'}.a }y${ r'\\' }z"), json!("x}y\\z")),
            (json!("${'''it's }'''}"), json!("it's }")),
            (json!("${1 // } the rest\n}"), json!(1)),
            (json!("${ {'b': 1, 'a': 2} }"), json!({"a": 2, "b": 1})),
            // Comprehensions, with names of their own.
            (json!("${prev.items.filter(x, x.tag == 'a').map(x, x.n)}"), json!([1, 3])),
            (json!("${prev.items.map(x, x.n > 1, x.n * 2)}"), json!([4, 6])),
            (json!("${prev.items.all(x, x.n > 0) && prev.items.exists(x, x.n == 2)}"), json!(true)),
            (json!("${prev.items.exists_one(x, x.tag == 'b')}"), json!(true)),
            (json!("${prev.items.map(item, item.n)}"), json!([1, 2, 3])),
            (json!("${prev.items.map(steps, steps.n)}"), json!([1, 2, 3])),
            (json!("${[1, 2].map(x, [3, 4].map(y, x * y))}"), json!([[3, 4], [6, 8]])),
            (json!("${ {'b': 1, 'a': 2, 'c': 0}.map(k, k) }"), json!(["a", "b", "c"])),
            (json!("${[1, 'a'].exists(x, x > 0)}"), json!(true)),
            (json!("${has(prev.total) && !has(prev.gone)}"), json!(true)),
            // Functions.
            (json!("${'abc'.matches('^[a-c]+$') && matches('abc', 'b')}"), json!(true)),
            (json!("${size('πέντε') + size([1]) + size({'a': 1})}"), json!(7)),
            (json!("${'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c')}"), json!(true)),
            (json!("${int('42') + int(2.9)}"), json!(44)),
            (json!("${string(1) + string(true) + string(b'x')}"), json!("1truex")),
            (json!("${type(prev.total) == int}"), json!(true)),
            (json!("${timestamp(run.started_at) - duration('24h')}"), json!("2026-01-01T03:04:05Z")),
            (json!("${timestamp(run.started_at).getFullYear()}"), json!(2026)),
            (json!("${duration('1h30m')}"), json!("5400s")),
            (json!("${20 in steps.load ? 'in' : 'out'}"), json!("in")),
        ];
        for (template, result) in table {
            assert_eq!(evaluate(&template), Ok(result), "{template}");
        }
    }

    #[test]
    fn what_fails_names_the_expression_and_why() {
        let table = [
            ("${prev.gone}", "prev.gone: no such key: gone"),
            ("${prev.none.x}", "prev.none.x: . does not take (null_type, string)"),
            ("${prev.total + 'a'}", "prev.total + 'a': + does not take (int, string)"),
            ("${prev.total / 0}", "prev.total / 0: division by zero"),
            ("${prev.total % 0}", "prev.total % 0: division by zero"),
            ("${9223372036854775807 + 1}", "9223372036854775807 + 1: the result of + is out of range"),
            ("${steps.load[3]}", "steps.load[3]: index 3 is out of bounds"),
            ("${steps.load[1.5]}", "steps.load[1.5]: []: an index is an int or a string, not a double"),
            ("${steps.load[prev.half]}", "steps.load[prev.half]: []: an index is an int or a string, not a double"),
            ("${prev < 1}", "prev < 1: < does not take (map, int)"),
            ("${prev.name && true}", "prev.name && true: && does not take (string, bool)"),
            ("${prev.total ? 1 : 2}", "prev.total ? 1 : 2: it needs bool, and this is int"),
            ("${prev.total.map(x, x)}", "prev.total.map(x, x): it needs iterable, and this is int"),
            ("${size(1)}", "size(1): size does not take (int)"),
            ("${1.0 / 0.0}", "1.0 / 0.0: NaN and infinity are no JSON"),
            ("${b'x'}", "b'x': a value of type bytes has no JSON form"),
            ("${int}", "int: a value of type type has no JSON form"),
            ("${ {1: 2} }", "{1: 2}: the keys of a map must be strings in JSON"),
            ("${ {'a': 1, 'a': 2} }", "{'a': 1, 'a': 2}: a key stands twice in a map"),
            ("${'a'.matches('(')}", "'a'.matches('('): matches: error: unclosed group"),
            ("${int('x')}", "int('x'): int: string parse error: invalid digit found in string"),
        ];
        for (template, message) in table {
            assert_eq!(evaluate(&json!(template)), Err(message.to_owned()), "{template}");
        }
        let template = json!({"a/b": [1, {"c~": "x ${prev.gone}"}]});
        assert_eq!(evaluate(&template), Err("/a~1b/1/c~0: prev.gone: no such key: gone".to_owned()));
    }

    #[test]
    fn what_is_not_ours_is_refused_when_it_is_read() {
        let scope = "in scope are prev, input, steps.<name>, item, index, error, run.id and run.started_at";
        let table = [
            ("previous.x", format!("previous.x: unknown name previous: {scope}")),
            (".prev", format!(".prev: unknown name .prev: {scope}")),
            ("[1].map(x, x) + [x]", format!("[1].map(x, x) + [x]: unknown name x: {scope}")),
            ("run.host", format!("run.host: there is no run.host: {scope}")),
            ("run", "run: run alone is not a value: write run.id or run.started_at".to_owned()),
            ("steps", "steps: steps alone is not a value: name a step, as in steps.name".to_owned()),
            (
                "steps[input.x]",
                "steps[input.x]: steps takes a name as it is written, as in steps[\"name\"], not a computed one".to_owned(),
            ),
            (
                "steps.Load",
                "steps.Load: invalid step name \"Load\": it takes 1 to 64 characters of a-z, 0-9 and '_', the first no digit"
                    .to_owned(),
            ),
            (
                "has(steps.load)",
                "has(steps.load): a step is always there, null if it yielded nothing: compare it with null".to_owned(),
            ),
            ("now()", "now(): there is no function now".to_owned()),
            ("prev.now()", "prev.now(): there is no function now".to_owned()),
            ("optional.of(1)", "optional.of(1): there is no function of".to_owned()),
            ("prev.?x", "prev.?x: unsupported syntax '.?' (at 1:5)".to_owned()),
            ("size(1, 2)", "size(1, 2): size does not take 2 arguments like this".to_owned()),
            ("[1].map(x)", "[1].map(x): map does not take 1 arguments like this".to_owned()),
            ("[1].map(1, 2)", "[1].map(1, 2): argument must be a simple name (at 1:9)".to_owned()),
            ("prev.int()", "prev.int(): int does not follow a value: write int(value)".to_owned()),
            ("contains('a')", "contains('a'): contains follows a value: write value.contains(...)".to_owned()),
            ("Thing{a: 1}", "Thing{a: 1}: messages as Thing{...} are not part of it".to_owned()),
            ("", "the expression is empty".to_owned()),
            ("1 +", "1 +: mismatched input '<EOF>' expecting expression (at 1:4)".to_owned()),
            ("prev prev", "prev prev: mismatched input 'prev' expecting <EOF> (at 1:6)".to_owned()),
            ("'a", "'a: unterminated string literal".to_owned()),
            ("a & b", "a & b: unexpected single '&', expected '&&'".to_owned()),
            ("ü", "ü: unexpected character".to_owned()),
            (
                "[1].map(a, [1].map(b, [1].map(c, c)))",
                "[1].map(a, [1].map(b, [1].map(c, c))): all, exists, exists_one, map and filter nest 2 deep at most".to_owned(),
            ),
        ];
        for (source, message) in table {
            let refused = Expression::parse(source).unwrap_err();
            assert_eq!(refused.to_string(), message, "{source}");
            assert_eq!(refused.place, "", "{source}");
        }
        let open = Template::parse(&json!({"a": ["x ${prev"]})).unwrap_err();
        assert_eq!((open.place.as_str(), open.message.as_str()), ("/a/0", "{prev: ${ is not closed"));
    }

    #[test]
    fn conditions_hold_or_not_and_nothing_else() {
        let holds = |source| Expression::parse(source).unwrap().holds(&values()).map_err(|error| error.to_string());
        assert_eq!(holds("prev.total == 3"), Ok(true));
        assert_eq!(holds("index > 7"), Ok(false));
        assert_eq!(holds("prev.yes"), Ok(true));
        assert_eq!(holds("prev.total"), Err("prev.total: it must be true or false, and is int".to_owned()));
    }

    #[test]
    fn what_is_read_is_known_and_only_that_must_be_whole() {
        let template = json!({
            "as_is": "${prev}", "also": ["${steps.load}", "${item}"], "inside": "${input.to}", "text": "n ${index}",
            "own": "${input.map(prev, prev)}", "by_name": "${steps['other'].x}",
        });
        let template = Template::parse(&template).unwrap();
        let inside = [Variable::Input, step("other"), Variable::Index];
        assert_eq!(template.looks_into(), inside.clone().into());
        let mut all = template.looks_into();
        all.extend([Variable::Prev, step("load"), Variable::Item]);
        assert_eq!(template.reads(), all);
        assert!(!template.is_literal());
        assert!(Template::parse(&json!({"a": ["$${x}", "b"]})).unwrap().is_literal());
    }

    #[test]
    fn values_pass_through_with_the_parts_that_stand_elsewhere() {
        let digest = Digest::of(b"far");
        let far = Datum::array([&Datum::stored(digest, 9), &Datum::of_json(&json!(1.0))]);
        let values = Values::from([(Variable::Prev, far.clone()), (Variable::Input, Datum::of_json(&json!({"n": 2})))]);
        let evaluate = |template| Template::parse(&template).unwrap().evaluate(&values);
        assert_eq!(evaluate(json!("${prev}")), Ok(far.clone()));
        let both = evaluate(json!({"n": "${input.n}", "x": ["${prev}", "${prev}"]})).unwrap();
        assert_eq!(both.text(), "{\"n\":2,\"x\":[[null,1.0],[null,1.0]]}");
        assert_eq!(both.elsewhere().len(), 2);
        assert_eq!(both.elsewhere()[1].digest, digest);
        let inside = evaluate(json!(["${prev[1]}"])).unwrap_err();
        assert_eq!(inside.to_string(), "a part of prev stands elsewhere and was not loaded");
        assert_eq!(evaluate(json!("${item}")), Ok(Datum::null()));
    }

    #[test]
    fn two_are_equal_if_their_texts_are() {
        const fn shared<T: Send + Sync + Clone + Eq + std::fmt::Debug>() {}
        shared::<Expression>();
        shared::<Template>();
        assert_eq!(Expression::parse("1+1"), Expression::parse("1+1"));
        assert_ne!(Expression::parse("1+1"), Expression::parse("2"));
        assert_eq!(format!("{:?}", Expression::parse("1+1").unwrap()), "Expression(\"1+1\")");
        assert_eq!(Template::parse(&json!(["${1}"])), Template::parse(&json!(["${1}"])));
    }

    fn any_json(text: &'static str) -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<i32>().prop_map(|number| Json::from(f64::from(number) / 64.0)),
            text.prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
                prop::collection::btree_map(text, inner, 0..6).prop_map(|map| map.into_iter().collect::<Json>()),
            ]
        })
    }

    /// Text that is nearly an expression.
    #[expect(clippy::too_many_lines, reason = "a list of words")]
    fn nearly() -> impl Strategy<Value = String> {
        let words = [
            "prev",
            "input.a",
            "steps.x",
            "steps",
            "[",
            "]",
            "(",
            ")",
            "{",
            "}",
            "${",
            "$",
            ".",
            ",",
            ":",
            "?",
            "!",
            "-",
            "+",
            "*",
            "/",
            "%",
            "<",
            "==",
            "&&",
            "||",
            " in ",
            "'",
            "\"",
            "r'",
            "b\"",
            "'''",
            "\\",
            "1",
            "2u",
            "0x",
            ".5",
            "1e9",
            "1e999",
            "-9223372036854775808",
            "map",
            "filter",
            "all",
            "exists_one",
            "has",
            "x",
            "size",
            "matches",
            "timestamp",
            "duration",
            "string",
            "int",
            "'1h'",
            "'2026-01-02T03:04:05Z'",
            ".map(x,",
            ".all(x,",
            ".matches('",
            "getHours",
            "//",
            "\n",
            "`",
            "é",
            "\u{0}",
            "null",
            "true",
            "for",
            "type",
            "dyn",
            "@result",
            "@meter",
            "_",
        ];
        prop::collection::vec(prop::sample::select(words.to_vec()), 0..24).prop_map(|words| words.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn json_without_dollars_is_literal_and_comes_back(json in any_json("[^$]{0,12}")) {
            let template = Template::parse(&json).unwrap();
            prop_assert!(template.is_literal());
            prop_assert_eq!(template.evaluate(&Values::new()).unwrap().to_json(), Some(json));
        }

        #[test]
        fn values_that_are_looked_into_come_back_equal(json in any_json(".{0,12}"), int in any::<i64>()) {
            let values = Values::from([(Variable::Prev, Datum::of_json(&json!({"v": json, "i": int})))]);
            let back = |text: &str| Template::parse(&json!([text])).unwrap().evaluate(&values).unwrap();
            let int_back = back("${prev.i}");
            prop_assert_eq!(int_back.text(), &format!("[{int}]"));
            let back = back("${prev.v}").to_json().unwrap();
            // Beyond 64 bits signed an integer is a double.
            if json.is_u64() && !json.is_i64() {
                let (back, whole) = (back[0].as_f64().unwrap(), json.as_f64().unwrap());
                prop_assert_eq!(back.to_bits(), whole.to_bits(), "{} {}", back, whole);
            } else if !json.is_array() && !json.is_object() {
                prop_assert_eq!(&back[0], &json);
            }
        }

        #[test]
        fn a_double_comes_back_to_the_last_bit(bits in any::<u64>()) {
            let double = f64::from_bits(bits);
            prop_assume!(double.is_finite());
            let values = Values::from([(Variable::Prev, Datum::of_json(&json!({"v": double})))]);
            for template in [json!([double]), json!(["${prev.v}"])] {
                let evaluated = Template::parse(&template).unwrap().evaluate(&values).unwrap();
                let back = evaluated.to_json().unwrap()[0].as_f64().unwrap();
                prop_assert_eq!(back.to_bits(), bits, "{} from {}", back, template);
            }
        }

        #[test]
        fn no_text_panics(source in nearly(), other in ".{0,40}") {
            for text in [&source, &other] {
                if let Ok(expression) = Expression::parse(text) {
                    let _held = expression.holds(&values());
                }
                for template in [json!(text), json!(format!("${{{text}}}")), json!(format!("a ${{{text}}} b"))] {
                    if let Err(error) = evaluate(&template) {
                        prop_assert!(!error.contains("failed"), "{error}");
                        prop_assert!(!error.contains('\n') && error.chars().count() < 500, "{error}");
                    }
                }
            }
        }
    }
}
