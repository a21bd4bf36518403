#![cfg(test)]
//! Sources and values made to take too long, too much or too deep.

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::{Value as Json, json};

    use super::super::bounds::{NESTING_MAX, RESULT_BYTES_MAX};
    use super::super::{Expression, Template, Values, Variable};
    use crate::model::Datum;

    /// Generous: without bounds these take hours. Tests are built without optimisation, on shared machines.
    const LONGEST: Duration = Duration::from_secs(30);

    /// A thread's stack is 2 MiB; what parses and evaluates here must leave most of it.
    const STACK: usize = 1 << 20;

    fn within<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
        let started = Instant::now();
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(work).unwrap();
        let done = thread.join().expect("it does not panic");
        let took = started.elapsed();
        println!("{took:?} {what:.60}");
        assert!(took < LONGEST, "{what}: {took:?}");
        done
    }

    fn evaluate(source: &str, prev: &Json) -> Result<Datum, String> {
        let (template, prev) = (json!([format!("${{{source}}}")]), Datum::of_json(prev));
        within(source, move || {
            let template = Template::parse(&template).map_err(|error| error.message)?;
            template.evaluate(&Values::from([(Variable::Prev, prev)])).map_err(|error| error.message)
        })
    }

    /// Sources that nest or go on: at each length, because the bounds on bytes, tokens and brackets stop them at different ones.
    fn nests(times: usize) -> Vec<String> {
        let opened = [
            "(",
            "[",
            "{",
            "!",
            "-",
            "!-",
            "1?",
            "1?1:",
            "a.",
            "1+",
            "1<",
            "prev[",
            "prev.",
            "[1].",
            "a&&",
            "a||b&&",
            "f(",
            "'",
            "`",
            "{1:",
            "[1].map(x,",
            "[1].map(x,x).",
            "${",
            "\\",
            "x{a:",
            "x{",
            "/",
            "- ",
            "1-(1)-(",
        ];
        let closed = [
            ("(", ")"),
            ("[", "]"),
            ("{1:", "}"),
            ("size(", ")"),
            ("1+(", ")"),
            ("!(", ")"),
            ("-(", ")"),
            ("true?1:(", ")"),
            ("prev[", "]"),
            ("[1].map(x,", ")"),
        ];
        let goes_on =
            [("prev", ".a"), ("1", "+1"), ("'a'", ".size()"), ("true", "&&true"), ("prev", "[0]"), ("[]", ".map(x,x)")];
        let closed = closed.map(|(open, close)| format!("{}1{}", open.repeat(times), close.repeat(times)));
        let ended = ["1?1:", "!-", "1==1?1:"].map(|open| format!("{}1", open.repeat(times)));
        let goes_on = goes_on.map(|(first, next)| format!("{first}{}", next.repeat(times)));
        let opened = opened.map(|open| open.repeat(times));
        opened.into_iter().chain(closed).chain(ended).chain(goes_on).collect()
    }

    #[test]
    fn nesting_of_any_kind_ends_in_an_error_and_not_in_the_stack() {
        for times in [40, 100, 200, 300, 400, 500, 700, 750, 1000, 1500, 4000] {
            for source in nests(times) {
                let text = source.clone();
                let parsed = within(&source, move || Expression::parse(&text).map(|_| ()));
                assert!(parsed.is_err() || source.starts_with("true&&"), "{source:.40}");
            }
        }
    }

    #[test]
    fn the_deepest_that_is_taken_evaluates_within_a_stack() {
        let deep = NESTING_MAX - 3;
        let prev = json!({"a": {"a": {"a": 1}}});
        let sources = [
            format!("{}1{}", "[".repeat(deep), "]".repeat(deep)),
            format!("{}1{}", "{'a':".repeat(deep), "}".repeat(deep)),
            format!("1{}", "+1".repeat(deep)),
            format!("{}1", "1-".repeat(deep)),
            format!("{}true{}", "!(".repeat(deep), ")".repeat(deep)),
            format!("{}true{}", "true?(".repeat(deep), "):false".repeat(deep)),
            format!("{}1{}", "string(".repeat(deep).replace("string", "int"), ")".repeat(deep)),
            format!("[1].map(x, [1].map(y, {}1{}))", "[".repeat(deep - 8), "]".repeat(deep - 8)),
        ];
        for source in sources {
            let evaluated = evaluate(&source, &prev);
            assert!(evaluated.is_ok(), "{source}: {evaluated:?}");
        }
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let read = |depth| {
            let prev = Datum::parse(&nested(depth).into_bytes().into()).unwrap();
            within("deep value", move || {
                let template = Template::parse(&json!("${[prev, prev == prev, prev in [prev]]}")).unwrap();
                template.evaluate(&Values::from([(Variable::Prev, prev)])).map_err(|error| error.to_string())
            })
        };
        assert!(read(120).is_ok());
        let refused = read(10_000).unwrap_err();
        assert!(refused.starts_with("prev cannot be read: recursion limit exceeded"), "{refused}");
    }

    #[test]
    fn a_template_nests_to_a_depth() {
        let deep = (0..129).fold(json!(1), |inner, _| json!([inner]));
        assert!(Template::parse(&deep).unwrap_err().message.ends_with("a template nests 128 deep at most"));
    }

    #[test]
    fn what_works_too_much_is_stopped() {
        let numbers: Vec<u32> = (0..5000).collect();
        let text = "ab".repeat(1 << 19);
        let prev = json!({"n": numbers, "text": text, "fields": (0..500).map(|n| (n.to_string(), json!(n))).collect::<Json>()});
        let too_much = "it takes more work or memory than an expression may: what needs more is a task";
        let long = format!("x{}", " + x".repeat(20));
        let all_of_it = vec!["prev"; 700].join(",");
        let sources = [
            // Passes alone, and errors that `all` and `exists` put off, which cost no less.
            "prev.n.map(x, prev.n.map(y, x * y))".to_owned(),
            "prev.n.all(x, prev.n[1.5] == x || prev.n.all(y, prev.n[1.5] == y))".to_owned(),
            "prev.n.all(x, prev.n + 'a' == x)".to_owned(),
            "prev.n.all(x, prev.text == 1 || prev.text + 1 == x)".to_owned(),
            "prev.n.exists(x, prev < x)".to_owned(),
            // Comparisons and scans.
            "prev.n.map(x, prev.n == [x] || prev.n == prev.n)".to_owned(),
            "prev.n.map(x, size(prev.text))".to_owned(),
            "prev.n.map(x, prev.text.contains('ba' + string(x)))".to_owned(),
            "prev.n.map(x, prev.fields.map(k, k))".to_owned(),
            // Copies.
            "prev.n.map(x, prev)".to_owned(),
            "prev.n.map(x, prev.text + prev.text)".to_owned(),
            format!("[prev.text].map(x, [{long}].map(x, [{long}].size()))"),
            format!("[{all_of_it}]"),
            // Patterns, one and many.
            "prev.n.map(x, prev.text.matches('(a|b)*c'))".to_owned(),
            "prev.n.map(x, 'a'.matches('a' + string(x)))".to_owned(),
            "prev.n.exists(x, prev.text.matches('(((a*)*)*)*c'))".to_owned(),
        ];
        for source in sources {
            let stopped = evaluate(&source, &prev).map(|datum| datum.text().len()).unwrap_err();
            assert!(stopped.ends_with(too_much), "{source:.60}: {stopped}");
        }
    }

    #[test]
    fn patterns_are_bounded() {
        let message = |source: &str| evaluate(source, &Json::Null).unwrap_err();
        assert!(
            message("'a'.matches('(((a{50}){50}){50}){50}')").ends_with("matches: the pattern compiles to too much")
        );
        assert!(
            message(&format!("'a'.matches('{}')", "a".repeat(300)))
                .ends_with("matches: a pattern takes 256 bytes at most")
        );
        let nested = format!("'a'.matches('{}a{}')", "(".repeat(100), ")".repeat(100));
        assert!(message(&nested).contains("matches: error: exceed"), "{}", message(&nested));
    }

    #[test]
    fn a_million_items_are_filtered() {
        let numbers: Vec<u32> = (0..1_000_000).collect();
        let counted = evaluate("prev.filter(x, x < 500000).size()", &json!(numbers));
        assert_eq!(counted.unwrap().text(), "[500000]");
    }

    #[test]
    fn inputs_and_results_are_bounded() {
        let large = json!("x".repeat(RESULT_BYTES_MAX - 100));
        let refused = evaluate("[prev, prev]", &large).unwrap_err();
        assert_eq!(refused, "[prev, prev]: the result takes more than 16777216 bytes");
        let refused = evaluate("prev.size()", &json!("x".repeat(RESULT_BYTES_MAX))).unwrap_err();
        assert_eq!(refused, "the values that it looks into take more than 16777216 bytes");
        let many = Datum::parse(&format!("[{}0]", "0,".repeat(8_000_000)).into()).unwrap();
        let template = Template::parse(&json!("x${prev[0]}")).unwrap();
        let refused = template.evaluate(&Values::from([(Variable::Prev, many)])).unwrap_err();
        assert!(refused.message.ends_with("what needs more is a task"), "{refused}");
        let copies = vec!["${prev}"; 200];
        let half = Datum::of_json(&json!("x".repeat(100_000)));
        let refused = Template::parse(&json!(copies)).unwrap().evaluate(&Values::from([(Variable::Prev, half)]));
        assert_eq!(refused.unwrap_err().to_string(), "/167: the result takes more than 16777216 bytes");
    }
}
