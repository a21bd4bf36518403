//! The limits across the fleet that a call is under: what its task declares, with the key that comes of its input.
//!
//! A key is a template over `input`, as in a flow: `${input.customer}`.

use serde_json::Value as Json;

use super::expression::{Template, Values, Variable};
use crate::model::limit::Limit;
use crate::model::module::Declared;
use crate::model::{Datum, TaskRef};

/// Why a call has no limit although its task declares one, or why a declaration is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit key of {task}: {problem}")]
pub struct NoKey {
    task: String,
    problem: String,
}

fn no_key(task: &str, problem: impl std::fmt::Display) -> NoKey {
    NoKey { task: task.to_owned(), problem: problem.to_string().chars().take(400).collect() }
}

/// Checks what a module declares of a task.
///
/// # Errors
/// A rule out of its bounds, and a key that is no template over `input`.
pub fn check(task: &str, declared: &Declared) -> Result<(), NoKey> {
    declared.rule().checked().map_err(|unfit| no_key(task, unfit))?;
    let Some(key) = &declared.key else { return Ok(()) };
    let template = parse(task, key)?;
    match template.reads().iter().find(|variable| **variable != Variable::Input) {
        Some(_) => Err(no_key(task, format!("{key:?} may read nothing but input"))),
        None => Ok(()),
    }
}

fn parse(task: &str, key: &str) -> Result<Template, NoKey> {
    Template::parse(&Json::String(key.to_owned())).map_err(|error| no_key(task, error))
}

/// Whether the key of a call is found in its input.
#[must_use]
pub fn looks_at_input(declared: &Declared, given: Option<&str>) -> bool {
    given.is_none() && declared.key.as_ref().is_some_and(|key| key.contains("${"))
}

/// The limit that a task declares, for a call with this input; `given` is a key of the caller's in place of the declared one.
///
/// # Errors
/// A key that cannot be computed, or is no text or number, or is too long.
pub fn limit(task: &TaskRef, declared: &Declared, given: Option<&str>, input: &Datum) -> Result<Limit, NoKey> {
    let name = format!("{}/{}", task.module, task.task);
    let key = match (given, &declared.key) {
        (Some(given), _) => Some(given.to_owned()),
        (None, Some(key)) => Some(computed(&name, key, input)?),
        (None, None) => None,
    };
    Limit::of_task(&name, key.as_deref(), declared.rule()).map_err(|unfit| no_key(&name, unfit))
}

fn computed(task: &str, key: &str, input: &Datum) -> Result<String, NoKey> {
    let values: Values = [(Variable::Input, input.clone())].into();
    let value = parse(task, key)?.evaluate(&values).map_err(|error| no_key(task, error))?;
    match value.to_json() {
        Some(Json::String(text)) => Ok(text),
        Some(plain @ (Json::Number(_) | Json::Bool(_))) => Ok(plain.to_string()),
        Some(Json::Null) => Err(no_key(task, format!("{key:?} yields null, it takes text or a number"))),
        Some(Json::Array(_) | Json::Object(_)) | None => {
            Err(no_key(task, format!("{key:?} yields a list or an object, it takes text or a number")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn declared(key: Option<&str>) -> Declared {
        Declared { concurrency: Some(1), key: key.map(str::to_owned), ..Declared::default() }
    }

    fn name(key: Option<&str>, given: Option<&str>, input: &Json) -> Result<String, String> {
        let task = "m@2/t".parse().unwrap();
        limit(&task, &declared(key), given, &Datum::of_json(input))
            .map(|limit| limit.name)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_comes_of_the_input_or_of_the_caller() {
        let input = json!({"customer": "acme", "n": 7});
        for (key, given, expected) in [
            (None, None, "task m/t"),
            (Some("${input.customer}"), None, "task m/t key acme"),
            (Some("c-${input.n}"), None, "task m/t key c-7"),
            (Some("${input.n > 5}"), None, "task m/t key true"),
            (Some("fixed"), None, "task m/t key fixed"),
            (Some("${input.customer}"), Some("other"), "task m/t key other"),
            (None, Some("mine"), "task m/t key mine"),
        ] {
            assert_eq!(name(key, given, &input).as_deref(), Ok(expected), "{key:?} {given:?}");
        }
    }

    #[test]
    fn a_key_that_fails_is_named_with_what_it_takes() {
        let input = json!({"o": {}, "none": null, "long": "x".repeat(1 << 20)});
        for (key, words) in [
            ("${input.customer}", "customer"),
            ("${input.o}", "a list or an object"),
            ("${[1, 2]}", "a list or an object"),
            ("${input.none}", "yields null"),
            ("${input.long}", "1 to 256 bytes of text, not 1048576"),
            ("${1 / 0}", "limit key of m/t"),
        ] {
            let error = name(Some(key), None, &input).unwrap_err();
            assert!(error.contains(words) && error.len() < 600, "{key}: {error}");
        }
        assert!(name(None, Some(""), &input).unwrap_err().contains("1 to 256 bytes"));
    }

    #[test]
    fn a_declaration_is_checked_when_it_is_uploaded() {
        let check = |declared: &Declared| check("m/t", declared).map_err(|error| error.to_string());
        assert_eq!(check(&declared(Some("${input.a}"))), Ok(()));
        for (declared, words) in [
            (declared(Some("${input.a")), "limit key of m/t"),
            (declared(Some("${prev.a}")), "nothing but input"),
            (declared(Some("${run.id}")), "nothing but input"),
            (Declared::default(), "a rate, a concurrency, or both"),
            (Declared { concurrency: Some(0), ..Declared::default() }, "invalid concurrency 0"),
        ] {
            let error = check(&declared).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
