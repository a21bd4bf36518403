//! What a task declares of its calls, for one call: the limit across the fleet that it is under, and the key of its singleton or
//! its debounce.
//!
//! A key is a template over `input`, as in a flow: `${input.customer}`.

use serde_json::Value as Json;

use super::expression::{Template, Values, Variable};
use crate::model::limit::Limit;
use crate::model::module::{Declared, Manifest};
use crate::model::{Datum, TaskName, TaskRef, call_key};

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// A limit across the fleet.
    Limit,
    /// A singleton.
    Singleton,
    /// A debounce.
    Debounce,
}

impl For {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Singleton => "singleton",
            Self::Debounce => "debounce",
        }
    }
}

/// Why a call has no limit, singleton or debounce although its task declares one, or why a declaration is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} key of {task}: {problem}", what.as_str())]
pub struct NoKey {
    what: For,
    task: String,
    problem: String,
}

fn no_key((what, task): (For, &str), problem: impl std::fmt::Display) -> NoKey {
    NoKey { what, task: task.to_owned(), problem: problem.to_string().chars().take(400).collect() }
}

/// Checks what a module declares of its tasks, which `known` tells; `module` is its name.
///
/// # Errors
/// What is wrong, with the place: a task that there is none of, a rule or time out of its bounds, a key that is no template over
/// `input`, and a task that is a singleton and debounced.
pub fn check_all(module: &str, manifest: &Manifest, known: impl Fn(&TaskName) -> bool) -> Result<(), String> {
    let Manifest { fleet, singleton, debounce, .. } = manifest;
    let declared = fleet.keys().map(|task| (task, "fleet"));
    let declared = declared.chain(singleton.keys().map(|task| (task, "singleton")));
    for (task, place) in declared.chain(debounce.keys().map(|task| (task, "debounce"))) {
        if !known(task) {
            return Err(format!("{place}.{task}: the module has no such task"));
        }
    }
    for (task, declared) in fleet {
        check(&format!("{module}/{task}"), declared).map_err(|error| error.to_string())?;
    }
    for (task, declared) in singleton {
        if debounce.contains_key(task) {
            return Err(format!("debounce.{task}: a task is a singleton or debounced, not both"));
        }
        let of = format!("{module}/{task}");
        check_key((For::Singleton, &of), declared.key.as_deref()).map_err(|error| error.to_string())?;
    }
    for (task, declared) in debounce {
        declared.timing().checked().map_err(|unfit| format!("debounce.{task}: {unfit}"))?;
        let of = format!("{module}/{task}");
        check_key((For::Debounce, &of), declared.key.as_deref()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Checks a limit that a module declares of a task.
///
/// # Errors
/// A rule out of its bounds, and a key that is no template over `input`.
pub fn check(task: &str, declared: &Declared) -> Result<(), NoKey> {
    declared.rule().checked().map_err(|unfit| no_key((For::Limit, task), unfit))?;
    check_key((For::Limit, task), declared.key.as_deref())
}

fn check_key(of: (For, &str), key: Option<&str>) -> Result<(), NoKey> {
    let Some(key) = key else { return Ok(()) };
    let template = parse(of, key)?;
    match template.reads().iter().find(|variable| **variable != Variable::Input) {
        Some(_) => Err(no_key(of, format!("{key:?} may read nothing but input"))),
        None => Ok(()),
    }
}

fn parse(of: (For, &str), key: &str) -> Result<Template, NoKey> {
    Template::parse(&Json::String(key.to_owned())).map_err(|error| no_key(of, error))
}

/// Whether the key of a call is found in its input, where `declared` is the declared key.
#[must_use]
pub fn reads_input(declared: Option<&str>, given: Option<&str>) -> bool {
    given.is_none() && declared.is_some_and(|key| key.contains("${"))
}

/// Whether the key of a limit is found in its input.
#[must_use]
pub fn looks_at_input(declared: &Declared, given: Option<&str>) -> bool {
    reads_input(declared.key.as_deref(), given)
}

/// What the calls are called that belong together with this one: of a key that is `declared`, or that the caller has `given` in its
/// place.
///
/// # Errors
/// A key that cannot be computed, or is no text or number, or is too long.
pub fn name(
    what: For,
    task: &TaskRef,
    (declared, given): (Option<&str>, Option<&str>),
    input: &Datum,
) -> Result<String, NoKey> {
    let task = format!("{}/{}", task.module, task.task);
    let key = match (given, declared) {
        (Some(given), _) => Some(given.to_owned()),
        (None, Some(key)) => Some(computed((what, &task), key, input)?),
        (None, None) => None,
    };
    call_key::name(&task, key.as_deref()).map_err(|invalid| no_key((what, &task), invalid))
}

/// The limit that a task declares, for a call with this input; `given` is a key of the caller's in place of the declared one.
///
/// # Errors
/// A key that cannot be computed, or is no text or number, or is too long.
pub fn limit(task: &TaskRef, declared: &Declared, given: Option<&str>, input: &Datum) -> Result<Limit, NoKey> {
    let name = format!("{}/{}", task.module, task.task);
    let of = (For::Limit, name.as_str());
    let key = match (given, &declared.key) {
        (Some(given), _) => Some(given.to_owned()),
        (None, Some(key)) => Some(computed(of, key, input)?),
        (None, None) => None,
    };
    Limit::of_task(&name, key.as_deref(), declared.rule()).map_err(|unfit| no_key(of, unfit))
}

fn computed(of: (For, &str), key: &str, input: &Datum) -> Result<String, NoKey> {
    let values: Values = [(Variable::Input, input.clone())].into();
    let value = parse(of, key)?.evaluate(&values).map_err(|error| no_key(of, error))?;
    match value.to_json() {
        Some(Json::String(text)) => Ok(text),
        Some(plain @ (Json::Number(_) | Json::Bool(_))) => Ok(plain.to_string()),
        Some(Json::Null) => Err(no_key(of, format!("{key:?} yields null, it takes text or a number"))),
        Some(Json::Array(_) | Json::Object(_)) | None => {
            Err(no_key(of, format!("{key:?} yields a list or an object, it takes text or a number")))
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

    fn named(key: Option<&str>, given: Option<&str>, input: &Json) -> Result<String, String> {
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
            assert_eq!(named(key, given, &input).as_deref(), Ok(expected), "{key:?} {given:?}");
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
            let error = named(Some(key), None, &input).unwrap_err();
            assert!(error.contains(words) && error.len() < 600, "{key}: {error}");
        }
        assert!(named(None, Some(""), &input).unwrap_err().contains("1 to 256 bytes"));
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

    #[test]
    fn singletons_and_debounces_have_names_of_their_own_task() {
        let (task, input) = ("m@2/t".parse().unwrap(), Datum::of_json(&json!({"doc": 7, "list": []})));
        let name = |declared, given| name(For::Debounce, &task, (declared, given), &input);
        for (declared, given, expected) in [
            (None, None, "m/t"),
            (Some("${input.doc}"), None, "m/t key 7"),
            (Some("${input.doc}"), Some("mine"), "m/t key mine"),
            (None, Some("mine"), "m/t key mine"),
        ] {
            assert_eq!(name(declared, given).as_deref(), Ok(expected), "{declared:?} {given:?}");
        }
        for (declared, given, words) in [
            (Some("${input.list}"), None, "debounce key of m/t: \"${input.list}\" yields a list"),
            (Some("${input.nothing}"), None, "debounce key of m/t"),
            (None, Some(""), "1 to 256 bytes"),
        ] {
            let error = name(declared, given).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_manifest_is_checked_with_the_place_of_what_is_wrong() {
        let check = |text: &str| {
            let manifest: Manifest = serde_json::from_str(text).unwrap();
            check_all("m", &manifest, |task| task.as_str() == "t")
        };
        assert_eq!(check(r#"{"singleton":{"t":{"key":"${input.a}","mode":"cancel"}}}"#), Ok(()));
        assert_eq!(check(r#"{"debounce":{"t":{"key":"${input.a}","period":"5s","timeout":"1m"}}}"#), Ok(()));
        for (text, words) in [
            (r#"{"fleet":{"u":{"concurrency":1}}}"#, "fleet.u: the module has no such task"),
            (r#"{"singleton":{"u":{}}}"#, "singleton.u: the module has no such task"),
            (
                r#"{"singleton":{"t":{"key":"${prev}"}}}"#,
                "singleton key of m/t: \"${prev}\" may read nothing but input",
            ),
            (r#"{"debounce":{"t":{"period":"0s"}}}"#, "debounce.t: invalid period 0ms"),
            (r#"{"debounce":{"t":{"period":"9s","timeout":"1s"}}}"#, "debounce.t: invalid timeout 1s"),
            (r#"{"debounce":{"t":{"period":"9s","key":"${input.a"}}}"#, "debounce key of m/t"),
            (r#"{"singleton":{"t":{}},"debounce":{"t":{"period":"9s"}}}"#, "a singleton or debounced, not both"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
